"""AOT by hand, and what its sheet says of permutations and bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from oracle import nls
from torch.testing import assert_close

from assent import AOT, DPO, AOTUnpaired, PairScores, Scores
from assent.objectives import step_loss
from assent.objectives.aot import quantile_plan
from hand import pair, value
from random_scores import pair_scores

F64 = torch.float64


def scores(chosen: list[float], rejected: list[float], ref: tuple[list[float], list[float]]) -> PairScores:
    number = lambda x: torch.tensor(x, dtype=F64)  # noqa: E731
    sides = [Scores(number(x).requires_grad_(), number(r)) for x, r in zip((chosen, rejected), ref, strict=True)]
    return PairScores(*sides)


def test_golden_values() -> None:
    # u = 3, 1; v = 2, -1: sorted 1 with -1 and 3 with 2, gaps 2 and 1 (the row of u = 3 first)
    both = scores([3.0, 1.0], [0.0, 0.0], ([-1.0, 2.0], [0.0, 0.0]))
    assert AOT(beta=1.0)(both).tolist() == pytest.approx([nls(1.0), nls(2.0)], abs=1e-12)
    # log-ratios 3, 1 chosen; 2, -1 rejected: 3 with 2 and 1 with -1
    both = scores([3.0, 1.0], [-1.0, 2.0], ([0.0, 0.0], [0.0, 0.0]))
    assert AOTUnpaired(beta=1.0)(both).tolist() == pytest.approx([nls(1.0), nls(2.0)], abs=1e-12)


def test_weights_split_quantiles() -> None:
    # first 5 (weight 1), 4 (weight 3); second 1 (weight 1), 2 (weight 3): 4 takes 1 of mass 1 and 2 of mass 2, 5 takes 2
    first, second, weight = (torch.tensor(x, dtype=F64) for x in ([5.0, 4.0], [1.0, 2.0], [1.0, 3.0]))
    i, j, mass = quantile_plan(first, second, weight)
    found = {(int(a), int(b)): float(m) for a, b, m in zip(i, j, mass, strict=True) if m > 0}
    assert found == {(1, 0): 1.0, (1, 1): 2.0, (0, 1): 1.0}


def test_one_pair_is_dpo_and_a_step_is_never_above_it() -> None:
    for objective in (AOT(0.3), AOTUnpaired(0.3)):
        one = pair(2.0, -1.0, ref=(0.5, 0.25))
        assert value(objective(one)) == pytest.approx(value(DPO(0.3)(one)), abs=1e-12)
        for seed in range(5):
            step = pair_scores(16, seed=seed, weight=True)
            assert value(step_loss(objective, step)) <= value(step_loss(DPO(0.3), step)) + 1e-12


def test_permutations_that_do_not_matter() -> None:
    step, order = pair_scores(6), torch.tensor([3, 0, 5, 1, 2, 4])
    ref = [replace(side, ref_logp=side.ref_logp[order]) for side in (step.chosen, step.rejected)]
    assert_close(AOT(0.3)(replace(step, chosen=ref[0], rejected=ref[1])).sum(), AOT(0.3)(step).sum())
    other = replace(step.rejected, logp=step.rejected.logp[order], ref_logp=step.rejected.ref_logp[order])
    assert_close(AOTUnpaired(0.3)(replace(step, rejected=other)).sum(), AOTUnpaired(0.3)(step).sum())
    assert value(DPO(0.3)(replace(step, rejected=other)).sum()) != pytest.approx(value(DPO(0.3)(step).sum()), abs=1e-3)


def test_rows_of_weight_zero_take_no_part() -> None:
    step = pair_scores(6)
    weight = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0], dtype=F64)
    kept = torch.nonzero(weight).flatten()
    side = lambda s: Scores(s.logp[kept], s.ref_logp[kept])  # noqa: E731
    for objective in (AOT(0.3), AOTUnpaired(0.3)):
        found = objective(replace(step, weight=weight))
        assert_close(found[kept], objective(PairScores(side(step.chosen), side(step.rejected))))
        assert found[weight == 0].tolist() == [0.0, 0.0]
