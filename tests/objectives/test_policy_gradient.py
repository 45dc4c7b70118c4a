"""GRPO and RLOO by hand: values, the gradient at the sampling policy, and what clipping stops."""

from __future__ import annotations

from dataclasses import replace
from math import exp, sqrt

import pytest
import torch

from assent import AssentError, parse
from assent.objectives.policy_gradient import GRPO, RLOO, k3
from assent.scores import GroupScores, Scores, Tokens

F64 = torch.float64


def drawn(logp: list[list[float]], old: list[list[float]], reward: list[float]) -> GroupScores:
    """One group from token log-probabilities; the reference is the sampling policy."""
    row = torch.tensor([i for i, own in enumerate(logp) for _ in own])
    index = torch.tensor([j for own in logp for j in range(len(own))])
    flat = torch.tensor([x for own in logp for x in own], dtype=F64, requires_grad=True)
    before = torch.tensor([x for own in old for x in own], dtype=F64)
    tokens = Tokens(row, index, flat, before, columns={"old_logp": before})
    total = lambda v: v.new_zeros(len(logp)).index_add(0, row, v)  # noqa: E731
    side = Scores(total(flat), total(before), torch.tensor([len(own) for own in logp]), tokens)
    return GroupScores(side, torch.zeros(len(logp), dtype=torch.long), torch.tensor(reward, dtype=F64))


def test_grpo_golden_values() -> None:
    # rewards 1, 0, 0: mean 1/3, sd sqrt(2)/3: advantages sqrt 2, -1/sqrt 2, -1/sqrt 2
    scores = drawn([[-1.0, -2.0], [-1.0], [-3.0]], [[-1.0, -2.0], [-1.0], [-3.0]], [1.0, 0.0, 0.0])
    loss = GRPO(beta=0.0)(scores)
    assert loss.item() == pytest.approx(-(sqrt(2) - 2 / sqrt(2)) / 3, abs=1e-12)
    (slope,) = torch.autograd.grad(loss.sum(), scores.completions.tokens.logp)
    a, b = sqrt(2), 1 / sqrt(2)
    assert slope.tolist() == pytest.approx([-a / 2 / 3, -a / 2 / 3, b / 3, b / 3], abs=1e-12), "REINFORCE at ratio 1"
    # a token whose ratio rose to 1.5 with a positive advantage is clipped at 1.2 and gets no gradient
    risen = drawn([[-1.0 + 0.4054651081081644], [-1.0]], [[-1.0], [-1.0]], [1.0, 0.0])
    loss = GRPO(beta=0.0)(risen)
    assert loss.item() == pytest.approx(-(1.2 * 1.0 - 1.0) / 2, abs=1e-12)
    (slope,) = torch.autograd.grad(loss.sum(), risen.completions.tokens.logp)
    assert slope[0].item() == 0.0 and slope[1].item() == pytest.approx(0.5, abs=1e-12)


def test_rloo_golden_values() -> None:
    # rewards 3, 0, 0: leave-one-out advantages 3, -1.5, -1.5; loss -(3 - 3)/3 = 0 and slopes -A/3
    scores = drawn([[-1.0, -2.0], [-1.0], [-3.0]], [[-1.0, -2.0], [-1.0], [-3.0]], [3.0, 0.0, 0.0])
    loss = RLOO(beta=0.0)(scores)
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    (slope,) = torch.autograd.grad(loss.sum(), scores.completions.tokens.logp)
    assert slope.tolist() == pytest.approx([-1.0, -1.0, 0.5, 0.5], abs=1e-12)
    # the penalty joins the reward: old log-ratio 1 on the first takes .5 off it
    away = drawn([[-1.0], [-1.0]], [[-1.0], [-1.0]], [1.0, 0.0])
    away = replace(away, completions=replace(away.completions, ref_logp=torch.tensor([-2.0, -1.0], dtype=F64)))
    (slope,) = torch.autograd.grad(RLOO(beta=0.5)(away).sum(), away.completions.tokens.logp)
    assert slope.tolist() == pytest.approx([-0.25, 0.25], abs=1e-12)


def test_equal_rewards_teach_nothing() -> None:
    scores = drawn([[-1.0], [-2.0]], [[-1.5], [-1.0]], [0.7, 0.7])
    for objective in (GRPO(beta=0.0), RLOO(beta=0.0)):
        (slope,) = torch.autograd.grad(objective(scores).sum(), scores.completions.tokens.logp)
        assert slope.tolist() == [0.0, 0.0]


def test_k3_is_never_negative_and_exact_in_the_mean() -> None:
    p, q = torch.tensor([0.7, 0.2, 0.1], dtype=F64), torch.tensor([0.2, 0.5, 0.3], dtype=F64)
    values = k3((q / p).log())
    assert (values >= 0).all() and (p * values).sum().item() == pytest.approx(
        (p * (p / q).log()).sum().item(), abs=1e-12
    )
    assert k3(torch.tensor(1.0, dtype=F64)).item() == pytest.approx(exp(1) - 2, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [("grpo(clip=1.5)", "clip is 1.5"), ("grpo(beta=-1)", "beta is -1"), ("grpo(scale='max')", "scale is 'max'"),
     ("grpo(length='x')", "length is 'x'"), ("rloo(clip=0)", "clip is 0"), ("rloo(old='')", "old is ''"),
     ("grpo(epsilon=0.1)", "called clip")],
)  # fmt: skip
def test_ranges(text: str, words: str) -> None:
    with pytest.raises(AssentError, match=words):
        parse(text)
