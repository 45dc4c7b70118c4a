"""The way from a run's pairs back to the rows and texts of its data."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import assent
from assent.data.reading import read
from assent.data.splitting import split_by_prompt
from assent.errors import AssentError
from assent.training.arguments import Settings
from assent.training.provenance import read_labels, reread, write_labels

ROWS = [
    {"prompt": "p", "chosen": "a", "rejected": "b", "annotator": "anna"},
    {"prompt": "q", "chosen": "c", "rejected": "d", "annotator": "ben"},
    {"prompt": "p", "chosen": "b", "rejected": "a", "annotator": "ben"},
    {"prompt": "p", "chosen": "a", "rejected": "b", "annotator": "ben", "weight": 2},
    {"prompt": "p", "chosen": "a", "rejected": "b", "annotator": "carl", "gold": True},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_every_row_of_every_label_is_found_again(data: Path, tmp_path: Path) -> None:
    records = read(data)
    assert write_labels(tmp_path, records, Settings(data=str(data)), 3) == tmp_path / "labels.parquet"
    table, facts = read_labels(tmp_path)
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (0, 0, 0, "anna", 1.0, 1.0, False),
        (0, 1, 2, "ben", pytest.approx(2 / 3), 3.0, False),
        (0, 1, 3, "ben", pytest.approx(2 / 3), 3.0, False),
        (0, 2, 4, "carl", 1.0, 1.0, True),
        (1, 3, 1, "ben", 1.0, 1.0, False),
    ]
    assert (facts["source"], facts["rows"], facts["seed"]) == (str(data), 5, 3)
    assert facts["sha256"] == records.fingerprint
    assert [pair.prompt for pair in reread(tmp_path, facts)] == ["p", "q"]


def test_held_out_prompts_are_left_out_again(tmp_path: Path) -> None:
    data = tmp_path / "many.jsonl"
    data.write_text("".join(json.dumps(ROWS[0] | {"prompt": f"p{i}"}) + "\n" for i in range(40)))
    settings = Settings(data=data, eval_fraction=0.3, bad_rows="skip", columns=["who=annotator"])
    kept, _ = split_by_prompt(read(data), 0.3, 7)
    write_labels(tmp_path, kept, settings, 7)
    table, facts = read_labels(tmp_path)
    assert table.num_rows == len(kept) < 40
    again = reread(tmp_path, facts | {"columns": None})
    assert [pair.prompt for pair in again] == [pair.prompt for pair in kept.rows]
    rows = [pair.labels[0].rows[0] for pair in again]
    assert table["row"].to_pylist() == rows


def test_data_that_changed_are_gone_or_lay_in_memory_are_told(data: Path, tmp_path: Path) -> None:
    write_labels(tmp_path, read(data), Settings(data=data), 0)
    _, facts = read_labels(tmp_path)
    data.write_text(data.read_text() + "\n" + json.dumps(ROWS[0]))
    with pytest.raises(AssentError, match="another file now"):
        reread(tmp_path, facts)
    data.unlink()
    with pytest.raises(AssentError, match="no file or directory"):
        reread(tmp_path, facts)
    write_labels(tmp_path, read(ROWS), Settings(data=ROWS), 0)
    _, facts = read_labels(tmp_path)
    assert facts["source"] is None
    with pytest.raises(AssentError, match="in memory"):
        reread(tmp_path, facts)


def test_rows_that_are_no_pairs_leave_no_table_and_damage_is_told(tmp_path: Path) -> None:
    groups = read([{"prompt": "p", "completions": ["a", "b"], "scores": [1, 0]}])
    assert write_labels(tmp_path, groups, Settings(), 0) is None
    assert read_labels(tmp_path) is None
    (tmp_path / "labels.parquet").write_text("no table")
    with pytest.raises(AssentError, match="damaged"):
        read_labels(tmp_path)


def test_pairs_that_a_round_sampled_lead_back_to_the_round(tmp_path: Path) -> None:
    from small_run import count_a, save_model_and_prompts

    files = save_model_and_prompts(tmp_path / "files")
    assent.train(
        str(files / "model"), str(files / "prompts.jsonl"), "dpo()", tmp_path / "run", source="iterative", judge=count_a,
        rounds=2, samples=3, max_new_tokens=8, max_length=64, disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    for place in (tmp_path / "run", tmp_path / "run" / "rounds" / "round-000" / "policy"):
        table, facts = read_labels(place)
        assert facts["source"] is None and table["row"].null_count == table.num_rows
        pairs = pq.read_table(place / "pairs-epoch-1.parquet").to_pylist()
        again = reread(place, facts)
        assert [pair["pair"] for pair in pairs] == list(range(len(again)))
        assert [label["annotator"] for label in table.to_pylist()] == [p.labels[0].annotator for p in again]
        assert all(pair.chosen.count("a") > pair.rejected.count("a") for pair in again), "as the judge has it"
    moved = tmp_path / "moved"
    (tmp_path / "run").rename(moved)
    assert len(reread(moved, facts | {"round": "rounds/round-001"})) > 0, "a directory may be moved"
    with pytest.raises(AssentError, match="is gone"):
        reread(moved, facts | {"round": "rounds/round-009"})


def test_a_run_leaves_its_labels(small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    assent.train(
        str(small_folder), str(small_pairs), "dpo(beta=0.1)", tmp_path / "run", max_steps=1,
        per_device_train_batch_size=4, use_cpu=True, disable_tqdm=True, eval_fraction=0.3,
    )  # fmt: skip
    table, facts = read_labels(tmp_path / "run")
    pairs = pq.read_table(tmp_path / "run" / "pairs-epoch-1.parquet")["pair"].to_pylist()
    assert set(pairs) <= set(table["pair"].to_pylist())
    again = reread(tmp_path, facts)
    assert {len(again) - 1} == {max(table["pair"].to_pylist())}
