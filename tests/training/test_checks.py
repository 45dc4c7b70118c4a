"""What is wrong with the rows is told before anything runs: columns, labels of one class, masks that leave nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import pair_dicts, save_small_model, write_jsonl

from assent import AssentError, train

QUICK = {"max_steps": 1, "per_device_train_batch_size": 4, "use_cpu": True, "disable_tqdm": True, "max_length": 64}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_small_model(tmp_path_factory.mktemp("model")))


def labelled(*labels: bool) -> list[dict]:
    return [
        {"prompt": "a cat", "completion": f" sees {word}", "label": l}
        for l, word in zip(labels, ("dog", "fish", "bird"), strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "labels", "words"),
    [
        ("kto()", (True, True, True), r"none of 3 rows is labelled false, and kto\(.*\) reads rows of both labels"),
        ("bco()", (False, False, False), r"none of 3 rows is labelled true, and bco\(.*\) reads rows of both labels"),
        ("npo()", (True, True, True), r"none of 3 rows is labelled false, and npo\(.*\) reads rows labelled false"),
        (
            "npo() + retain()",
            (False, False, False),
            r"none of 3 rows is labelled true, and retain\(.*\) reads rows",
        ),
    ],
)
def test_labels_of_one_class_are_refused(text: str, labels: tuple, words: str, model: str, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "d.jsonl", labelled(*labels))
    with pytest.raises(AssentError, match=words):
        train(model, str(data), text, tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists(), "nothing is left behind"


def test_forgetting_alone_needs_rows_to_forget_only(model: str, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "d.jsonl", labelled(False, False, False))
    assert train(model, str(data), "npo()", tmp_path / "out", **QUICK).steps == 1


@pytest.mark.parametrize("text", ["odpo()", "weighted(dpo(), 'confidence')"])
def test_a_column_that_some_rows_lack_is_named(text: str, model: str, tmp_path: Path) -> None:
    rows = [row | ({"margin": 1.0, "confidence": 0.5} if i else {}) for i, row in enumerate(pair_dicts(6))]
    name = "margin" if text.startswith("odpo") else "confidence"
    data = write_jsonl(tmp_path / "d.jsonl", rows)
    with pytest.raises(
        AssentError, match=rf"1 of 6 rows have no number in column '{name}'.*the first is row 0.*--columns"
    ):
        train(model, str(data), text, tmp_path / "out", **QUICK)


def test_a_group_of_one_is_refused_by_its_row(model: str, tmp_path: Path) -> None:
    rows = [
        {"prompt": "a cat", "completions": [" sees dog", " sees fish"], "scores": [1.0, 0.0]},
        {"prompt": "a dog", "completions": [" sees dog"], "scores": [1.0]},
    ]
    data = write_jsonl(tmp_path / "d.jsonl", rows)
    with pytest.raises(AssentError, match=r"1 completions; expected at least two"):
        train(model, str(data), "infonca()", tmp_path / "out", **QUICK)


def test_a_mask_that_empties_a_completion_is_refused_before_the_first_step(model: str, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "d.jsonl", pair_dicts(8))

    def heard(sequence) -> list[float]:
        return [0.0 if len(sequence.ids) > 10 else 1.0] * int(sequence.mask.sum())

    with pytest.raises(
        AssentError, match=r"the mask 'heard' of masked\(.*\) leaves no token of the \w+ completion of row \d"
    ):
        train(model, str(data), "masked(dpo(), 'heard')", tmp_path / "a", token_columns={"heard": heard}, **QUICK)
    same = [row | {"rejected": row["chosen"] + " dog", "chosen": row["chosen"]} for row in pair_dicts(4)]
    data = write_jsonl(tmp_path / "e.jsonl", same)
    with pytest.raises(AssentError, match=r"the mask 'differing' .* leaves no token of the chosen completion of row 0"):
        train(model, str(data), "masked(simpo(), 'differing')", tmp_path / "b", **QUICK)
    found = train(model, str(data), "masked(dpo(), 'differing')", tmp_path / "c", **QUICK)
    assert found.steps == 1, "without a length to divide by, an emptied side is 0"
