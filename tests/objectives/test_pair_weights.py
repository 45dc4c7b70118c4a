"""Pair weights by hand: DPO, IPO, CPO, SFT."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from assent import parse
from assent.objectives.pair_weights import pair_weights
from random_scores import pair_scores


def test_dpo_moves_both_sides_alike() -> None:
    scores = pair_scores(5)
    up, down = pair_weights(parse("dpo(beta=0.3)"), scores)
    assert_close(up, 0.3 * torch.sigmoid(-0.3 * scores.log_ratio_gap.detach()))
    assert_close(down, up)
    assert not up.requires_grad and scores.chosen.logp.grad is None


def test_ipo_pushes_back_beyond_its_margin() -> None:
    scores = pair_scores(5, scale=4.0)
    up, down = pair_weights(parse("ipo(tau=0.5)"), scores)
    assert_close(up, 2 * (1.0 - scores.log_ratio_gap.detach()))
    assert_close(down, up)


def test_a_likelihood_term_moves_one_side() -> None:
    scores = pair_scores(5)
    up, down = pair_weights(parse("sft(per='sequence')"), scores)
    assert_close(up, torch.ones(5, dtype=torch.float64))
    assert_close(down, torch.zeros(5, dtype=torch.float64))
    both, _ = pair_weights(parse("dpo(beta=0.3) + 0.5*sft(per='sequence')"), scores)
    assert_close(both, pair_weights(parse("dpo(beta=0.3)"), scores)[0] + 0.5)


def test_lcpo_weighs_with_the_posterior() -> None:
    scores = pair_scores(4)
    objective = parse("lcpo(dpo(beta=0.3), reliability=0.8)")
    s = 0.3 * scores.log_ratio_gap.detach()
    posterior = torch.sigmoid(s + torch.log(torch.tensor(4.0, dtype=torch.float64)))
    assert_close(pair_weights(objective, scores)[0], 0.3 * (posterior - torch.sigmoid(s)))


def test_an_objective_of_tokens_is_followed_through_them() -> None:
    from dataclasses import dataclass

    from rows import Built, pairs

    from assent.objectives import PairwiseObjective

    @dataclass(frozen=True)
    class Tokenwise(PairwiseObjective):
        name = "tokenwise"

        def ordered(self, scores, state):
            chosen, rejected = scores.chosen, scores.rejected
            total = chosen.tokens.sum_rows(chosen.tokens.logp, len(chosen))
            return 3 * rejected.logp - 2 * total

    up, down = pair_weights(Tokenwise(), Built(pairs(4), "pairs").scores)
    assert_close(up, torch.full((4,), 2.0, dtype=torch.float64))
    assert_close(down, torch.full((4,), 3.0, dtype=torch.float64))
