"""A run's looks at itself on its page: each figure with its sentence, and completions before and after."""

from __future__ import annotations

from pathlib import Path

import pytest

import assent
from assent.reporting import diagnosis_page, runs
from assent.reporting.metric_words import GROUPS, grouped
from reporting.html_check import Page
from reporting.run_samples import run_with_pairs

DOCS = Path(__file__).resolve().parents[2] / "docs" / "diagnostics.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_with_pairs(tmp_path_factory.mktemp("looks"))


def test_every_documented_figure_has_words() -> None:
    """Rows of the table of keys; ``_max`` after ``x/a_min`` is x/a_max, after ``x/mean`` it is x/max."""
    known = {key for _, metrics in GROUPS.values() for key in metrics}
    keys = set()
    for line in DOCS.read_text().splitlines():
        if line.startswith("| `") and "/" in line.split("|")[1] and "assent eval" not in line.split("|")[1]:
            first, *others = [name.strip("` ") for name in line.split("|")[1].split(",")]
            head, sep, _ = first.rpartition("_") if "_" in first else (*first.rpartition("/")[:2], "")
            keys |= {first, *(head + sep + name.removeprefix("_") if name.startswith("_") else name for name in others)}
    keys = {key for key in keys if "..." not in key and "--" not in key}
    assert len(keys) > 40
    assert keys - known == set()


def test_known_figures_come_in_order_and_unknown_ones_last() -> None:
    found = grouped({"made_up/x", "reward/margin", "reward/margin_se", "pairs", "ranking/new_one", "ranking/accuracy"})
    assert [(title, [key for key, _ in rows]) for title, rows in found] == [
        ("What the objective rewards", ["reward/margin"]),
        ("What the policy would write", ["ranking/accuracy", "ranking/new_one"]),
        ("Further figures", ["made_up/x"]),
    ]


def test_start_now_and_training_pairs_stand_side_by_side(run: Path) -> None:
    found = diagnosis_page.context([runs.read(run)])
    assert [head["name"] for head in found["columns"]] == ["step 0", "step 200", "step 200"]
    assert [head["note"] for head in found["columns"]] == ["held out", "held out", "training pairs"]
    row = found["tables"][0]["rows"][0]
    shown = [value.replace("\u202f", " ") for value in row["values"]]
    assert (row["key"], shown) == ("reward/accuracy", ["50.0 %", "70.0 %", "70.0 %"])
    assert row["errors"][0].replace("\u202f", " ") == "± 5.0 %"
    (detail,) = found["details"]
    assert detail["transition"]["wrong_right"] == {"count": 8, "share": 0.125}
    assert [figure.title for figure in detail["figures"]] == ["Calibration", "Accuracy by annotator"]


def test_the_page_shows_looks_and_completions(run: Path, tmp_path: Path) -> None:
    page = Page(assent.report(run, tmp_path / "page.html"))
    page.assert_harmless()
    for words in ("Pairs ranked by log-probability", "made up/<b>", "Completions before and after", "at 200 tpmorp nialp a",
                  "It had not ended when it was stopped", "step 200 1.50 nats", "rows in the file 7",
                  "right before 31.2 % 20 6.2 % 4"):  # fmt: skip
        assert words in page.text, words
    assert '<a href="#diagnostics">' in page.source and "⟦U+202E⟧" in page.text


def test_without_text_no_prompt_and_no_response_is_on_the_page(run: Path, tmp_path: Path) -> None:
    source = assent.report([run], tmp_path / "page.html", text=False).read_text()
    assert "a plain prompt" not in source and "Completions before and after" not in source
    assert '"texts":0' in source and '"withheld":true' in source


def test_several_runs_have_a_column_each(run: Path, tmp_path: Path) -> None:
    other = run_with_pairs(tmp_path, seed=1)
    found = diagnosis_page.context([runs.read(run, "one"), runs.read(other, "two")])
    assert [head["name"] for head in found["columns"]] == ["one", "two"]
    assert {len(row["values"]) for table in found["tables"] for row in table["rows"]} == {2}
    assert [figure.title for figure in found["details"][1]["figures"]] == [
        "Calibration two",
        "Accuracy by annotator two",
    ]


def test_runs_without_looks_have_no_such_part(tmp_path: Path) -> None:
    run = runs.read(run_with_pairs(tmp_path, looks=False))
    assert diagnosis_page.context([run]) is None and diagnosis_page.samples(run) is None
