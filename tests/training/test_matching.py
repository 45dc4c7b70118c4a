"""BCO's matching column from the prompts: weights by hand, where they go, what is said and refused."""

from __future__ import annotations

import re
from math import log
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_run import exact_model, pair_dicts, save_small_model, token_pairs, write_jsonl

from assent import AssentError, parse, train
from assent.training.dry import dry_run
from assent.training.matching import made_columns, prompt_states, weights_of

QUICK = {"max_steps": 3, "warmup_steps": 0, "per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True,
         "max_length": 64, "learning_rate": 1e-3}  # fmt: skip
WHOLE = {"per_device_train_batch_size": 16}
KINDS = ("a cat sees", "the big dog finds")


def world(**column: float) -> list[dict]:
    """The first prompt is in 6 of 8 liked and 2 of 8 disliked rows, the second in the rest: W is 3 and 1/3."""
    rows = []
    for label, counts in ((True, (6, 2)), (False, (2, 6))):
        for kind, count in zip(KINDS, counts, strict=True):
            for i in range(count):
                row = {"prompt": kind, "completion": f" {'well' if label else 'then'} {'a ' * i}here", "label": label}
                rows.append(row | {name: values[KINDS.index(kind)] for name, values in column.items()})
    return rows


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    save_small_model(folder / "model")
    write_jsonl(folder / "plain.jsonl", world())
    return folder


def run(files: Path, out: Path, text: str, data: str = "plain.jsonl", **arguments):
    return train(str(files / "model"), str(files / data), text, out, **QUICK | arguments)


def test_the_column_is_computed_and_read(files: Path, tmp_path: Path, capsys) -> None:
    result = run(files, tmp_path / "out", "bco(match='prompts')", eval_data=str(files / "plain.jsonl"))
    said = capsys.readouterr().err
    rows = [*result.trainer.train_dataset.rows, *result.trainer.eval_dataset.rows]
    # the ridge draws W = 3 a little towards 1, and .5 is the lower bound of W = 1/3
    first = {row.columns["prompts"] for row in rows if row.sequence.prompt_length == rows[0].sequence.prompt_length}
    second = {row.columns["prompts"] for row in rows} - first
    assert len(rows) == 32 and len(first) == 1 == len(second)
    assert first.pop() == pytest.approx(3.0, rel=0.05) and second.pop() == 0.5
    # disliked: 2 rows of about 3 and 6 of .5: (6 + 3)^2 / (18 + 1.5) = 4.2
    (line,) = re.findall(r"matching: W of 2 prompts from their states, 0\.5 to (\S+) where disliked; (.*)", said)
    assert float(line[0]) == pytest.approx(3.0, rel=0.05) and re.match(
        r"effective sample size 4\.\d of 8 disliked", line[1]
    )
    weight = next(row.columns["prompts"] for row in rows if row.columns["prompts"] > 1)
    write_jsonl(files / "given.jsonl", world(w=(weight, 0.5)))
    given = run(files, tmp_path / "given", "bco(match='w')", "given.jsonl")
    plain = run(files, tmp_path / "none", "bco()")
    assert given.metrics["train_loss"] == pytest.approx(result.metrics["train_loss"], abs=1e-6)
    assert abs(plain.metrics["train_loss"] - result.metrics["train_loss"]) > 1e-3


def test_a_column_of_the_data_is_taken_as_it_is(files: Path, tmp_path: Path, capsys) -> None:
    write_jsonl(files / "own.jsonl", world(prompts=(2.0, 0.25)))
    result = run(files, tmp_path / "out", "bco(match='prompts')", "own.jsonl")
    assert {row.columns["prompts"] for row in result.trainer.train_dataset.rows} == {2.0, 0.25}
    assert "matching" not in capsys.readouterr().err
    rows = world(prompts=(2.0, 0.25))
    rows[3].pop("prompts")
    write_jsonl(files / "half.jsonl", rows)
    with pytest.raises(AssentError, match="1 of 16 rows have no number in column 'prompts'"):
        run(files, tmp_path / "half", "bco(match='prompts')", "half.jsonl")
    with pytest.raises(AssentError, match="16 of 16 rows have no number in column 'other'"):
        run(files, tmp_path / "other", "bco(match='other')")


def test_a_dry_run_knows_the_column(files: Path) -> None:
    found = dry_run(str(files / "model"), str(files / "plain.jsonl"), "bco(match='prompts')", "unused", **QUICK | WHOLE)
    # ln 2 from the liked rows, and mean W (2 of 3, 6 of .5: 9/8) from the disliked ones
    assert found.start.loss == pytest.approx(17 / 8 * log(2), rel=0.02) and "prompts" in found.first[0].columns


def test_one_class_alone_is_refused(files: Path, tmp_path: Path) -> None:
    write_jsonl(files / "liked.jsonl", world()[:8])
    with pytest.raises(AssentError, match="none of 8 rows is labelled false"):
        run(files, tmp_path / "out", "bco(match='prompts')", "liked.jsonl")
    states = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssentError, match="no row is disliked; add some or leave match out"):
        weights_of(states, torch.ones(3), torch.zeros(3))
    with pytest.raises(AssentError, match="no row is liked"):
        weights_of(states, torch.zeros(3), torch.ones(3))


def test_pairs_have_the_same_prompts_on_both_sides(files: Path, tmp_path: Path) -> None:
    write_jsonl(files / "pairs.jsonl", pair_dicts(12))
    result = run(files, tmp_path / "out", "bco(match='prompts')", "pairs.jsonl")
    assert [row.columns["prompts"] for row in result.trainer.train_dataset.rows] == pytest.approx([1.0] * 24, abs=1e-3)


def test_soft_labels_are_rows_of_both_classes() -> None:
    states = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    # prompt 0: liked 3, disliked 1; prompt 1: liked 1, disliked 1.  Shares .75 and .5, .25 and .5: W = 1.5 and .5
    found = weights_of(states, torch.tensor([3.0, 1.0]).double(), torch.tensor([1.0, 1.0]).double())
    assert found.tolist() == pytest.approx([1.5, 0.5], rel=0.01)


def test_states_are_those_of_the_prompt_alone() -> None:
    model, rows = exact_model(), token_pairs(40)
    found = prompt_states(model, [row.chosen for row in rows], 0)
    for row, state in zip(rows, found, strict=True):
        ids = torch.tensor(row.chosen.ids[: row.chosen.prompt_length].astype(np.int64))[None]
        with torch.no_grad():
            last = model.transformer(input_ids=ids).last_hidden_state[0, -1]
        expected = (last - last.mean()) / (last.var(unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(state, expected, rtol=0, atol=1e-10)


def test_only_a_bco_term_that_asks_makes_the_column() -> None:
    rows = [SimpleNamespace(columns={}), SimpleNamespace(columns={"prompts": None})]
    assert made_columns(parse("bco(match='prompts')"), rows) == {"prompts"}
    assert made_columns(parse("2.0*bco(match='prompts')"), rows) == {"prompts"}
    assert not made_columns(parse("bco(match='w')"), rows) and not made_columns(parse("bco()"), rows)
