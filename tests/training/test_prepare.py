"""Rows as an objective reads them: single completions made of pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import pair_dicts, save_small_model, write_jsonl

from assent import AssentError
from assent.objectives import DPO
from assent.objectives.kinds import GroupObjective, LabelledObjective
from assent.training.arguments import Settings
from assent.training.prepare import prepare


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


def test_a_labelled_objective_reads_both_sides_of_a_pair(model: Path, tmp_path: Path) -> None:
    rows = [row | {"p_chosen": p} for row, p in zip(pair_dicts(2), (1.0, 0.75), strict=True)]
    data = write_jsonl(tmp_path / "p.jsonl", rows)
    prepared = prepare(Settings(model=str(model), data=str(data), max_length=64), LabelledObjective(), 0, None)
    assert [(row.label, row.weight, row.index) for row in prepared.rows] == [
        (1.0, 1.0, 0), (0.0, 1.0, 0), (0.75, 1.0, 1), (0.25, 1.0, 1),
    ]  # fmt: skip


def test_an_objective_of_groups_refuses_pairs(model: Path, tmp_path: Path) -> None:
    class Listwise(GroupObjective):
        name = "listwise"

        def __str__(self) -> str:
            return "listwise()"

    data = write_jsonl(tmp_path / "p.jsonl", pair_dicts(3))
    with pytest.raises(AssentError, match=r"holds pairs rows; listwise\(\) reads groups rows"):
        prepare(Settings(model=str(model), data=str(data), max_length=64), Listwise(), 0, None)


def test_groups_become_pairs_where_pairing_says_how(model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "a cat", "completions": [" sees dog", " well", " likes fish"], "scores": [0, 1, 0]}] * 2
    data = write_jsonl(tmp_path / "g.jsonl", rows)
    ask = Settings(model=str(model), data=str(data), max_length=64)
    with pytest.raises(AssentError, match="--pairing best_worst"):
        prepare(ask, DPO(), 0, None)
    ask.pairing = "success_length"
    prepared = prepare(ask, DPO(), 0, None)
    assert len(prepared.rows) == 2 and prepared.report["groups paired"] == 2
    assert prepared.rows[0].columns == {"score_chosen": 1.0, "score_rejected": 0.0}
