"""Which rows form which step: every row once an epoch, on any number of ranks."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_run import token_pairs
from torch.utils.data import DataLoader

from assent.data.tokens import TokenExample
from assent.training.batches import Filler, Rows, StepSampler, identity, planned_steps, rows_only, split


@given(
    rows=st.integers(1, 60), size=st.integers(1, 7), ranks=st.integers(1, 5), seed=st.integers(0, 9),
    epoch=st.integers(0, 3), drop=st.booleans(),
)  # fmt: skip
def test_every_row_is_dealt_once_and_fillers_only_even_out(rows, size, ranks, seed, epoch, drop) -> None:
    dealt = []
    for rank in range(ranks):
        sampler = StepSampler(rows, size, seed, rank=rank, ranks=ranks, drop_last=drop)
        sampler.set_epoch(epoch)
        dealt.append(list(sampler))
        assert len(dealt[-1]) == len(sampler)
    real = [i for steps in dealt for step in steps for i in step if i >= 0]
    assert sorted(real) == sorted(set(real)) and set(real) <= set(range(rows))
    assert len(real) == (rows // (size * ranks) * size * ranks if drop else rows)
    whole = StepSampler(rows, size * ranks, seed, drop_last=drop)
    whole.set_epoch(epoch)
    for number, step in enumerate(whole):
        shares = [steps[number] for steps in dealt]
        assert len({len(share.sizes) for share in shares}) == 1, "all ranks run as many micro-batches"
        assert [i for share in shares for i in share if i >= 0] == step, "ranks together hold the step of one rank"


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    sampler = StepSampler(50, 8, seed=1)
    first = sampler.order()
    assert sampler.order() == first != list(range(50))
    sampler.set_epoch(1)
    assert sampler.order() != first
    assert StepSampler(50, 3, seed=1).order() == first
    assert StepSampler(50, 3, seed=1, shuffle=False).order() == list(range(50))


def test_a_filler_is_its_row_at_weight_nothing() -> None:
    rows = Rows(token_pairs(3))
    filler = rows[-2]
    assert isinstance(filler, Filler) and filler.index == 1 and filler.weight == 0.0
    assert filler.chosen is rows[1].chosen and all(label[2] == 0.0 for label in filler.labels)
    assert pickle.loads(pickle.dumps(filler)).index == 1, "data loader workers send rows over pipes"
    batch = identity([rows[0], filler])
    assert batch.real == 1 and split(batch, 1) == [[rows[0]], [filler]] and batch.micro_batches() == [[rows[0], filler]]
    blank = rows_only([rows[1], filler])
    assert blank.weight.tolist() == [rows[1].weight, 0.0]
    assert blank.chosen.length.tolist() == [rows[1].chosen.mask.sum()] * 2


@pytest.mark.parametrize("workers", [0, 1])
def test_micro_batches_survive_the_data_loader(workers: int) -> None:
    rows = Rows(token_pairs(7))
    sampler = StepSampler(7, 4, seed=0, shuffle=False, deal=lambda step: [[step[:1], step[1:], [-1 - step[0]]]])
    loader = DataLoader(rows, batch_sampler=sampler, collate_fn=identity, num_workers=workers)
    found = [([[row.index for row in some] for some in batch.micro_batches()], batch.real) for batch in loader]
    assert found == [([[0], [1, 2, 3], [0]], 4), ([[4], [5, 6], [4]], 3)]


@pytest.mark.parametrize(
    ("epochs", "most", "steps", "planned"), [(1.0, -1, 7, 7), (2.5, -1, 7, 18), (1.0, 3, 7, 3), (0.1, -1, 5, 1)]
)
def test_planned_steps_are_those_of_transformers(epochs: float, most: int, steps: int, planned: int) -> None:
    assert planned_steps(SimpleNamespace(num_train_epochs=epochs, max_steps=most), steps) == planned


def test_labels_are_known_before_a_model_runs() -> None:
    pair = token_pairs(1)[0]
    rows = [TokenExample(pair.chosen, 2.0, True, 0), TokenExample(pair.rejected, 1.0, 0.25, 0)]
    blank = rows_only(rows)
    assert blank.columns["label"].tolist() == [1.0, 0.25] and blank.columns["weight"].tolist() == [2.0, 1.0]
    assert "label" not in rows_only([TokenExample(pair.chosen, 1.0, None, 0)]).columns
