"""assent objectives and assent explain, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assent import objectives
from assent.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    told = capsys.readouterr()
    return stopped.value.code, told.out, told.err


def test_the_list_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "objectives", "--json")
    assert code == 0 and out.count("\n") == 1
    found = json.loads(out)
    assert found["schema"] == 1 and {row["name"] for row in found["objectives"]} >= set(objectives())
    dpo = next(row for row in found["objectives"] if row["name"] == "dpo")
    assert dpo["defaults"] == {"beta": 0.1} and dpo["needs"] == ["reference"] and dpo["paper"] == "2305.18290"


def test_the_list_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "objectives")
    assert code == 0 and "dpo" in out and "simpo" in out


def test_explain_tells_formula_fields_and_curve(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "explain", "dpo")
    assert code == 0
    for part in (
        "dpo(beta=0.1)",
        "-log sigmoid(beta h)",
        "needs: reference",
        "label_smoothing",
        "margin from -40 to 40",
    ):
        assert part in out


def test_explain_draws_an_expression(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "explain", "lcpo(simpo()) + 0.1*sft()", "--json", "--out", str(tmp_path / "x.png"))
    found = json.loads(out)
    assert code == 0 and len(found["curves"]["margin"]) == len(found["curves"]["loss"]["loss"]) == 161
    assert found["needs"] == ["length"]
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert run(capsys, "explain", "dpo", "--out", str(tmp_path / "x.svg"))[0] == 0
    assert (tmp_path / "x.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["odpoo"], "did you mean 'odpo'"),
        (["dpo(beta=-1)"], "beta is -1"),
        (["dpo", "--out", "x.pdf"], "ends in .png or .svg"),
        (["dpo", "--out", "FILE/x.svg"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "file").write_text("no folder")
    code, out, err = run(capsys, "explain", *(word.replace("FILE", str(tmp_path / "file")) for word in words))
    assert code == 2 and out == "" and told in err and err.count("\n") == 1
