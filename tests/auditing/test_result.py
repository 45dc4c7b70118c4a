"""What the audit leaves: views with hostile text as data, folders that cannot be written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assent.auditing import audit
from assent.auditing.result import length_sentence, write_aside
from assent.errors import AssentError

ROWS = [
    {"prompt": f"q{i}", "chosen": "a" * (5 + i % 3), "rejected": "<script>b</script>", "logit": 3.0 - 6.0 * (i % 5 == 0),
     "annotator": f"k{i % 2}"} for i in range(100)
]  # fmt: skip


def test_the_view_shows_the_most_suspicious_labels_first() -> None:
    view = audit(ROWS, scorer="logits:logit").view()
    doubts = view["suspicious"]
    assert len(doubts) == 20 and {d["row"] % 5 for d in doubts} == {0}
    assert [d["p_correct"] for d in doubts] == sorted(d["p_correct"] for d in doubts)
    assert doubts[0]["rejected"] == "<script>b</script>" and doubts[0]["length_gap"] < 0
    assert doubts[0]["logit"] < 0
    assert len(view["p_correct"]) == len(view["length_gap"]) == 100


def test_no_text_means_no_text() -> None:
    view = audit(ROWS, scorer="logits:logit").view(text=False)
    assert "script" not in json.dumps(view, default=str)


def test_counts_add_up() -> None:
    result = audit(ROWS, scorer="logits:logit")
    assert sum(result.decision_counts().values()) == 100
    assert result.details()["evidence"] == {"gold": 0, "shared": 0, "alone": 100}
    assert np.isnan(result.agreement).all() and result.details()["annotators"]["k0"]["agreement"] is None
    assert result.counts.tolist() == [50, 50]


def test_agreement_is_the_share_of_the_others_on_the_same_pairs() -> None:
    rows = [{**ROWS[i // 3], "annotator": "abc"[i % 3]} for i in range(30)]
    for i in (0, 3, 6):  # a turns three of its ten
        rows[i] = {**rows[i], "chosen": rows[i]["rejected"], "rejected": rows[i]["chosen"], "logit": -rows[i]["logit"]}
    result = audit(rows, scorer="logits:logit")
    assert result.agreement.tolist() == pytest.approx([0.7, 0.85, 0.85])


def test_length_in_words() -> None:
    assert length_sentence({"longer_preferred": 0.85, "nats_per_doubling": 1.234}) == (
        "85% of the labels prefer the longer response; doubling the length is worth 1.23 nats to them."
    )


def test_a_folder_that_is_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(AssentError, match="cannot write to --out"):
        audit(tmp_path / "absent.jsonl", out=tmp_path / "out")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_text("old")

    def fail(aside: Path) -> None:
        aside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(AssentError, match="No space left on device"):
        write_aside(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
