"""Decisions carried out, and cleaned copies, row by row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assent.auditing import audit
from assent.auditing.decisions import apply_decisions, default_clean_path, flipped, read_decisions, write_clean
from assent.data import iter_rows, read
from assent.errors import AssentError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": f"q{i}", "chosen": f"a{i}", "rejected": f"b{i}", "logit": 4.0 if i % 4 else -4.0, "extra_chosen": 1,
         "extra_rejected": 2} for i in range(80)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def _decide(data: Path, lines: list[dict], fingerprint: str | None = None) -> Path:
    path = data.parent / "decisions.jsonl"
    head = {"schema": 1, "sha256": fingerprint or read(data).fingerprint}
    path.write_text("\n".join(map(json.dumps, [head, *lines])))
    return path


def test_decisions_are_carried_out(data: Path) -> None:
    path = _decide(
        data, [{"row": 0, "decision": "flip"}, {"row": 1, "decision": "drop"}, {"row": 2, "decision": "right"}]
    )
    decisions = read_decisions(path, read(data).fingerprint, 80)
    counts = apply_decisions(data, decisions, data.parent / "out.jsonl")
    assert counts == {"right": 1, "flip": 1, "drop": 1, "rows": 79}
    rows = list(iter_rows(data.parent / "out.jsonl"))
    assert rows[0]["chosen"] == "b0" and rows[0]["rejected"] == "a0" and rows[0]["logit"] == 4.0
    assert rows[0]["gold"] is True and rows[0]["extra_chosen"] == 2
    assert rows[1]["prompt"] == "q2" and rows[1]["gold"] is True and "gold" not in rows[2]


@pytest.mark.parametrize(
    ("lines", "fingerprint", "words"),
    [
        ([], "0" * 64, "made for another file"),
        ([{"row": 80, "decision": "drop"}], None, "row is 80; expected a whole number from 0 to 79"),
        ([{"row": 1, "decision": "dropp"}], None, "did you mean 'drop'"),
        ([{"row": 1, "decision": "drop"}, {"row": 1, "decision": "flip"}], None, "is decided as 'drop' and as 'flip'"),
    ],
)
def test_decisions_that_do_not_fit_are_refused(data: Path, lines: list, fingerprint: str | None, words: str) -> None:
    path = _decide(data, lines, fingerprint)
    with pytest.raises(AssentError, match=words):
        read_decisions(path, read(data).fingerprint, 80)


def test_flipping_twice_gives_the_row_back() -> None:
    pair = {"prompt": "q", "chosen": "a", "rejected": "b", "margin": 1.0, "score_chosen": 3, "score_rejected": 2,
            "chosen_model": "m", "rejected_model": "n", "annotator": "x"}  # fmt: skip
    assert flipped(pair) == {
        "prompt": "q", "chosen": "b", "rejected": "a", "margin": -1.0, "score_chosen": 2, "score_rejected": 3,
        "chosen_model": "n", "rejected_model": "m", "annotator": "x",
    }  # fmt: skip
    assert flipped(flipped(pair)) == pair
    assert flipped({"response_a": "a", "response_b": "b", "p_b": 0.25})["p_b"] == 0.75


@pytest.mark.parametrize("how", ["drop", "flip", "weight"])
def test_cleaned_copies(data: Path, how: str) -> None:
    result = audit(data, scorer="logits:logit")
    dropped = set(result.table.row[result.decision == 2].tolist())
    assert dropped == {i for i in range(80) if i % 4 == 0}  # the labels against which the logits speak
    out = data.parent / default_clean_path(data, how)
    counts = write_clean(result, data, how, out)
    rows = list(iter_rows(out))
    assert counts["rows"] == len(rows)
    if how == "drop":
        assert counts["left_out"] == 20 and {r["prompt"] for r in rows} == {f"q{i}" for i in range(80) if i % 4}
    elif how == "flip":
        assert counts["changed"] == 20 and rows[4]["chosen"] == "b4" and rows[5]["chosen"] == "a5"
    else:
        j = int((result.table.row == 5).argmax())
        assert rows[5]["weight"] == pytest.approx(2 * result.p_correct[j] - 1)
        assert rows[4]["weight"] == 0.0


def test_an_unknown_way_to_clean_is_refused(data: Path) -> None:
    with pytest.raises(AssentError, match="did you mean 'flip'"):
        write_clean(audit(data, scorer="logits:logit"), data, "flp", data.parent / "x.jsonl")  # type: ignore[arg-type]
