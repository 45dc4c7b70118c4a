"""assent reproduce."""

from __future__ import annotations

import json

import pytest

from assent.cli import main
from assent.cli import reproduce as verb
from assent.papers import lcpo, registry


def call(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


@pytest.fixture
def short(monkeypatch):
    """The paper with its quickest statement alone."""
    from dataclasses import replace

    paper = replace(lcpo.PAPER, statements=(lcpo.population_operator,))
    monkeypatch.setattr(registry, "paper", lambda slug: paper)


def test_json_is_one_line_and_progress_goes_to_stderr(short, capsys):
    code, out, err = call(["reproduce", "lcpo", "--seed", "3", "--json"], capsys)
    found = json.loads(out)
    assert code == 0 and out.count("\n") == 1 and "population operator" in err
    assert set(found) == {"schema", "slug", "claims", "seconds"} and found["schema"] == 1 and found["slug"] == "lcpo"
    assert [c["name"] for c in found["claims"]] == ["theorem_any_start", "linear_rate", "linear_rate_figure"]
    assert abs(found["claims"][1]["measured"]["formula"] - 0.81339) < 1e-5


def test_table(short, capsys):
    code, out, _ = call(["reproduce", "lcpo"], capsys)
    assert code == 0 and "0.81339" in out and "paper: 1 supported, 0 refuted, 0 unclear" in out


@pytest.mark.parametrize("arguments", [["--all"], ["lcpo", "--publish"]])
def test_publishing_writes_the_pages(arguments, short, capsys, monkeypatch, tmp_path):
    from assent.papers import results

    monkeypatch.setattr(results, "checkout", lambda: tmp_path)
    monkeypatch.setattr(results, "store", lambda found: (tmp_path / "stored").write_text(json.dumps(found)))
    monkeypatch.setattr(results, "run_tests", lambda ids, root: {"passed": len(ids), "failed": 0, "skipped": 0})
    code, out, _ = call(["reproduce", *arguments, "--json"], capsys)
    assert code == 0 and json.loads(out)["papers"][0]["seed"] == verb.PUBLISHED == 100
    assert "linear_rate_figure: refuted" in (tmp_path / "docs/claims.md").read_text()
    assert "2509.24159" in (tmp_path / "docs/papers.md").read_text()
    assert json.loads((tmp_path / "stored").read_text())["lcpo"]["tests"]["formula"]["passed"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "one paper or --all"), (["lcpo", "--all"], "not both"),
     (["--all", "--publish"], "publishes already"), (["lcop"], "did you mean 'lcpo'"),
     (["lcpo", "--seed", "-1"], "seed is -1")],
)  # fmt: skip
def test_mistakes(arguments, message, capsys):
    code, out, err = call(["reproduce", *arguments], capsys)
    assert code == 2 and message in err and out == "" and "Traceback" not in err
