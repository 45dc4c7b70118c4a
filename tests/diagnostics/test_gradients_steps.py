"""What gradients foretell, against real steps of a small Llama: the signs of both changes, for the sheet's eleven losses."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import scorer_for, small_model, token_pairs

from assent import parse
from assent.diagnostics.gradients import entanglement, weights_of
from assent.diagnostics.gradients_steps import adam_factors, batch_changes, fitting_rate, measured_changes, signs
from assent.errors import AssentError
from assent.objectives import Objective, PairwiseObjective
from assent.objectives.parts import LENGTH


@dataclass(frozen=True)
class RRHF(PairwiseObjective):
    """max(0, log p_l / |l| - log p_w / |w|) - lam log p_w, the one of the sheet's losses that the package has not."""

    lam: float = 0.1
    name = "rrhf"
    needs = frozenset({LENGTH})

    def ordered(self, scores: Any, state: Any) -> Tensor:
        w, l = (side.per_token(side.logp) for side in (scores.chosen, scores.rejected))
        return (l - w).relu() - self.lam * scores.chosen.logp


LOSSES: dict[str, Objective] = {
    text: RRHF() if text == "rrhf" else parse(text)
    for text in ("dpo()", "r_dpo(alpha=0.2)", "ipo()", "simpo()", "rrhf", "slic()", "cpo()", "dpop()", "sppo()", "kto()",
                 "orpo()")
}  # fmt: skip


def _moved(count: int, objective: Objective, seed: int = 0) -> tuple[Any, list[Any]]:
    """A policy in float64 away from its reference, and pairs of sure labels, each with its weight."""
    model, rows = small_model(seed, "float64"), [replace(row, target=1.0) for row in token_pairs(count, seed)]
    scorer = scorer_for(model, rows, objective)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.03 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return scorer, rows


def _foretold(scorer: Any, rows: list[Any], objective: Objective) -> tuple[Tensor, Tensor]:
    """Changes at rate 1, each pair an optimiser step of its own, where KTO's z0 is that pair's."""
    size = len(rows) if objective.couples == "no" else 1
    parts = [entanglement(scorer, rows[i : i + size], objective).changes() for i in range(0, len(rows), size)]
    chosen, rejected = (torch.cat(side) for side in zip(*parts, strict=True))
    return chosen, rejected


def assert_signs_come_true(text: str, count: int) -> None:
    """The rate is the first of 1, 1/10, ... with an error of at most 1 % on the first few pairs."""
    objective = LOSSES[text]
    scorer, rows = _moved(count, objective)
    chosen, rejected = _foretold(scorer, rows, objective)
    rate = fitting_rate(scorer, rows[:6], objective, (chosen[:6], rejected[:6]))
    told = (rate * chosen, rate * rejected)
    result = signs(measured_changes(scorer, rows, objective, rate=rate), told)
    print(f"{text}: {count} pairs, rate {rate:g}, {result}")
    assert result.error < 0.1 and result.right >= 0.999 and result.counted > count
    few, less = rows[:6], tuple(0.1 * change[:6] for change in told)
    closer = signs(measured_changes(scorer, few, objective, rate=rate / 10), less)
    assert closer.error < max(0.2 * result.error, 2e-3)  # what is left is of second order; norms pass through float32


@pytest.mark.parametrize("text", LOSSES)
def test_signs_of_both_changes_come_true_one_pair_at_a_time(text: str) -> None:
    assert_signs_come_true(text, 12)


@pytest.mark.slow
@pytest.mark.parametrize("text", LOSSES)
def test_signs_of_1200_changes_come_true(text: str) -> None:
    assert_signs_come_true(text, 600)


@pytest.mark.parametrize("text", ["dpo()", "cpo()", "sft(per='batch_token') + dpo()", "aot()"])
def test_signs_of_a_whole_batchs_step(text: str) -> None:
    objective = parse(text)
    scorer, rows = _moved(12, objective)
    foretold = batch_changes(scorer, rows, objective, rate=1e-4)
    result = signs(measured_changes(scorer, rows, objective, rate=1e-4, together=True), foretold)
    print(f"{text}: {result}")
    assert result.error < 0.05 and result.right >= 0.999
    looped = batch_changes(scorer, rows, objective, rate=1e-4, form="loop")
    for one, other in zip(foretold, looped, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)


def test_a_batch_of_one_is_that_pair_alone() -> None:
    objective = parse("dpo()")
    scorer, rows = _moved(1, objective)
    alone, batch = entanglement(scorer, rows, objective).changes(0.1), batch_changes(scorer, rows, objective, rate=0.1)
    for one, other in zip(alone, batch, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0.0)


def test_under_adam_the_preconditioned_product_foretells() -> None:
    objective = parse("dpo()")
    scorer, rows = _moved(12, objective)
    adam = torch.optim.AdamW(scorer.model.parameters(), lr=0.0)
    with pytest.raises(AssentError, match="no second moment of"):
        adam_factors(adam, scorer.model)
    for _ in range(4):
        (scorer.scores(rows).log_ratio_gap ** 2).sum().backward()
        adam.step()
    factors = adam_factors(adam, scorer.model)
    head = scorer.model.lm_head.weight
    second = adam.state[head]["exp_avg_sq"] / (1 - 0.999**4)
    torch.testing.assert_close(factors["lm_head.weight"], 1 / (second.sqrt() + 1e-8))
    unseen = sorted(set(range(45)) - {int(i) for row in rows for side in (row.chosen, row.rejected) for i in side.ids})
    assert unseen and factors["model.embed_tokens.weight"][unseen].abs().max() == 0.0
    found = entanglement(scorer, rows, objective, preconditioned=factors)
    rate = fitting_rate(scorer, rows, objective, found.changes(), preconditioned=factors)
    measured = measured_changes(scorer, rows, objective, rate=rate, preconditioned=factors)
    result = signs(measured, found.changes(rate))
    assert result.error < 0.1 and result.right == 1.0
    plain = entanglement(scorer, rows, objective).changes(rate)
    assert signs(measured, plain).error > 10 * result.error  # another product than the optimiser's is another step


def test_the_model_is_as_before_after_measuring() -> None:
    objective = parse("dpo()")
    scorer, rows = _moved(2, objective)
    before = {name: p.detach().clone() for name, p in scorer.model.named_parameters()}
    measured_changes(scorer, rows, objective, rate=0.1)
    assert all(torch.equal(before[name], p) for name, p in scorer.model.named_parameters())


def test_labelled_completions_by_hand() -> None:
    # KTO without its mean: d_w = beta u (1 - u), d_l = beta v (1 - v), u = sigmoid(beta r_w), v = sigmoid(-beta r_l)
    objective = parse("kto(beta=0.3, statistic='previous')")
    scorer, rows = _moved(5, objective)
    d_w, d_l = weights_of(scorer, rows, objective)
    with torch.no_grad():
        scores = scorer.scores(rows)
    for d, side, sign in ((d_w, scores.chosen, 1), (d_l, scores.rejected, -1)):
        u = torch.sigmoid(sign * 0.3 * side.log_ratio)
        torch.testing.assert_close(d, 0.3 * u * (1 - u), rtol=1e-9, atol=0.0)


def test_objectives_of_something_else_are_refused() -> None:
    scorer, rows = _moved(1, parse("dpo()"))
    groups = next(text for text in ("grao()", "rpo()", "plackett_luce()") if parse(text).data == "groups")
    with pytest.raises(AssentError, match="reads groups"):
        entanglement(scorer, rows, parse(groups))
    with pytest.raises(AssentError, match="first-order error"):
        nothing = torch.ones(1, dtype=torch.float64)
        fitting_rate(scorer, rows, parse("dpo()"), (nothing, nothing))
