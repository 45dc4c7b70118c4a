"""PPO by hand: generalised advantages and their limits, whitening, what the two clips stop, and what recomputing leaves."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch.testing import assert_close

from assent import AssentError, parse
from assent.objectives.ppo import PPO, whitened
from assent.scores import GroupScores, Scores, Tokens

F64 = torch.float64
PLAIN = {"vf": 0.0, "beta": 0.0, "whiten": False}


def drawn(logp, old, reward, value=None, old_value=None, ref=None) -> GroupScores:
    """One group from lists of numbers per token; old log-probabilities are also the reference's unless given."""
    flat = lambda some: torch.tensor([x for own in some for x in own], dtype=F64)  # noqa: E731
    zeros = [[0.0] * len(own) for own in logp]
    row = torch.tensor([i for i, own in enumerate(logp) for _ in own])
    index = torch.tensor([j for own in logp for j in range(len(own))])
    columns = {"old_logp": flat(old), "value": flat(value or zeros), "old_value": flat(old_value or zeros)}
    columns["value"].requires_grad_()
    tokens = Tokens(row, index, flat(logp).requires_grad_(), flat(ref or old), columns=columns)
    length = torch.tensor([len(own) for own in logp])
    side = Scores(tokens.sum_rows(tokens.logp, len(logp)), tokens.sum_rows(tokens.ref_logp, len(logp)), length, tokens)
    return GroupScores(side, torch.zeros(len(logp), dtype=torch.long), torch.tensor(reward, dtype=F64))


def advantages(scores: GroupScores, **fields: float) -> list[float]:
    columns = scores.completions.tokens.columns
    return PPO(**fields).advantages(scores, columns["old_logp"], columns["old_value"]).tolist()


def test_advantages_by_hand_and_in_their_limits() -> None:
    old = [[-1.0, -2.0, -0.5], [-1.0]]
    scores = drawn(old, old, [3.0, -1.0], old_value=[[0.5, 1.0, 2.0], [0.25]], ref=[[-1.5, -2.0, -0.5], [-1.0]])
    # rewards: -.1 x .5 on the first token, 3 on the third; deltas .45, 1, 1; A_2 = 1, A_1 = 1 + .5, A_0 = .45 + .75
    assert advantages(scores, beta=0.1, lam=0.5) == pytest.approx([1.2, 1.5, 1.0, -1.25], abs=1e-12)
    # lam = 1: reward to go less the value; lam = 0: one-step differences
    assert advantages(scores, beta=0.1, lam=1.0) == pytest.approx([2.95 - 0.5, 3 - 1.0, 3 - 2.0, -1.25], abs=1e-12)
    assert advantages(scores, beta=0.1, lam=0.0) == pytest.approx([0.45, 1.0, 1.0, -1.25], abs=1e-12)
    # gamma = .5: the third token's 1 counts for the second with .5 x .5, and so on
    assert advantages(scores, beta=0.0, gamma=0.5, lam=0.5) == pytest.approx([0.0625, 0.25, 1.0, -1.25], abs=1e-12)
    bare = drawn(old, old, [3.0, -1.0])
    assert advantages(bare, beta=0.0, lam=1.0) == [3.0, 3.0, 3.0, -1.0]


def test_whitened_advantages_have_the_stated_moments() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 9.0], dtype=F64)
    found, raw = whitened(values, torch.ones(4, dtype=F64)), float(values.var())
    assert abs(float(found.mean())) < 1e-15 and abs(float(found.var()) - raw / (raw + 1e-6)) < 1e-12
    left = whitened(torch.cat([values, values.new_tensor([50.0])]), torch.tensor([1.0, 1, 1, 1, 0], dtype=F64))
    assert_close(left[:4], found)  # fillers count nothing
    old = [[-1.0], [-2.0]]
    losses = [PPO(vf=0.0, beta=0.0)(drawn([[-0.9], [-2.1]], old, [r, r + 2])) for r in (0.0, 5.0)]
    assert_close(losses[0], losses[1])  # a constant in all rewards
    assert PPO(vf=0.0, beta=0.0)(drawn(old, old, [0.0, 2.0])).item() == pytest.approx(0.0, abs=1e-12)


def test_single_tokens_without_values_are_reinforce() -> None:
    old = [[-1.0], [-2.0], [-0.3]]
    scores = drawn(old, old, [3.0, -1.0, 0.5])
    (slope,) = torch.autograd.grad(PPO(**PLAIN)(scores).sum(), scores.completions.tokens.logp)
    assert slope.tolist() == pytest.approx([-3.0, 1.0, -0.5], abs=1e-12)


def test_both_clips_stop_what_they_should() -> None:
    # ratio 1.5 with a positive advantage: clipped; with a negative one: not
    moved = [[-1.0 + log(1.5)], [-1.0 + log(1.5)]]
    scores = drawn(moved, [[-1.0], [-1.0]], [1.0, -1.0])
    loss = PPO(**PLAIN)(scores)
    (slope,) = torch.autograd.grad(loss.sum(), scores.completions.tokens.logp)
    assert loss.item() == pytest.approx(-1.2 + 1.5, abs=1e-12) and slope.tolist() == pytest.approx(
        [0.0, 1.5], abs=1e-12
    )
    # V from 0 to .5, goal 1: the clipped .2 is further away and stands, without slope; goal .3: the free one is not better
    for goal, loss, slope in ((1.0, 0.64, 0.0), (-0.3, 0.64, 1.6)):
        scores = drawn([[-1.0]], [[-1.0]], [goal], value=[[0.5]])
        found = PPO(vf=2.0, beta=0.0, whiten=False)(scores) + goal  # less the policy's part, -A
        (slopes,) = torch.autograd.grad(found.sum(), scores.completions.tokens.columns["value"])
        assert found.item() == pytest.approx(loss, abs=1e-12) and slopes.item() == pytest.approx(slope, abs=1e-12)


def test_recomputed_old_values_make_an_actor_critic() -> None:
    """The sheet's finding on the released code: with everything recomputed no clip binds, whatever was stored."""
    logp, value = [[-1.0, -0.2], [-3.0]], [[0.4, 0.1], [2.0]]
    for old in ([[-9.0, -4.0], [-0.1]], logp):
        scores = drawn(logp, old, [1.0, -2.0], value=value, old_value=[[7.0, 7.0], [7.0]], ref=[[-1.0, -0.2], [-3.0]])
        loss = PPO(beta=0.3, vf=0.1, lam=1.0, whiten=False, old=None, old_value=None)(scores)
        leaves = (scores.completions.tokens.logp, scores.completions.tokens.columns["value"])
        policy, critic = torch.autograd.grad(loss.sum(), leaves)
        assert policy.tolist() == pytest.approx([-0.6, -0.9, 4.0], abs=1e-12)  # -(reward to go - V)
        assert critic.tolist() == pytest.approx([-0.06, -0.09, 0.4], abs=1e-12)
    stored = drawn(logp, [[-2.0, -0.2], [-3.0]], [1.0, -2.0], value=value, old_value=value)
    away = PPO(beta=0.0, vf=0.0, lam=1.0, whiten=False)(stored)
    (slope,) = torch.autograd.grad(away.sum(), stored.completions.tokens.logp)
    assert slope.tolist()[0] == 0.0, "a ratio of e with a positive advantage is beyond 1.2"


def test_the_mean_divides_by_all_tokens() -> None:
    old = [[-1.0, -1.0, -1.0], [-2.0]]
    scores = drawn(old, old, [1.0, 1.0])
    objective = PPO(**PLAIN)
    assert objective.mean_over == "token" and objective.counts(scores).tolist() == [4.0]
    assert objective(scores).item() == pytest.approx(-(0.95**2) - 0.95 - 1 - 1, abs=1e-12)
    assert PPO().couples == "step" and objective.couples == "no"


@pytest.mark.parametrize(
    ("text", "words"),
    [("ppo(clip=1.5)", "clip is 1.5"), ("ppo(value_clip=0)", "value_clip is 0"), ("ppo(vf=-1)", "vf is -1"),
     ("ppo(lam=1.1)", "lam is 1.1"), ("ppo(gamma=-0.1)", "gamma is -0.1"), ("ppo(old='')", "old is ''"),
     ("ppo(value='')", "value is ''"), ("ppo(kl_coef=0.1)", "called beta")],
)  # fmt: skip
def test_ranges(text: str, words: str) -> None:
    with pytest.raises(AssentError, match=words):
        parse(text)
