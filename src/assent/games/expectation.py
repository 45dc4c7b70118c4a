"""Losses of the registry on a policy over few completions: exact expectations over pairs, and the same from samples.

The policy is anything that gives log-probabilities [A] of all completions; the objectives are the ones that users train with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.scores import Column, PairScores, Scores


@dataclass(frozen=True)
class Facts:
    """What is known of each completion, [A] each: ref_logp; rates: win rates against an opponent; old_logp: of the sampler.

    p [A, A]: preferences; a pair's target is its entry (None: the stored order is right).
    """

    ref_logp: Tensor
    rates: Tensor | None = None
    old_logp: Tensor | None = None
    p: Tensor | None = None


def pair_scores(logp: Tensor, facts: Facts, first: Tensor, second: Tensor) -> PairScores:
    """The scores of pairs of completions ``first`` and ``second`` (int [N])."""
    columns = {}
    for name, values in (("win_rate", facts.rates), ("old_logp", facts.old_logp)):
        if values is not None:
            a, b = f"{name}_chosen", f"{name}_rejected"
            columns |= {a: Column(values[first], exchange=b), b: Column(values[second], exchange=a)}
    sides = (Scores(logp[side], facts.ref_logp[side]) for side in (first, second))
    return PairScores(*sides, target=None if facts.p is None else facts.p[first, second], columns=columns)


def expected_loss(objective: Objective, logp: Tensor, facts: Facts, law: Tensor) -> Tensor:
    """Mean loss over ordered pairs that occur as ``law`` [A, A] says (sums to 1, no gradient), a scalar."""
    first, second = law.detach().nonzero().T
    return (law.detach()[first, second] * objective(pair_scores(logp, facts, first, second))).sum()


def gradient(
    objective: Objective, policy: Callable[[Tensor], Tensor], theta: Tensor, facts: Facts, law: Tensor
) -> Tensor:
    """The gradient of the expected loss in the parameters ``theta`` of ``policy``, theta -> logp [A]."""
    theta = theta.detach().requires_grad_()
    (slope,) = torch.autograd.grad(expected_loss(objective, policy(theta), facts, law), theta)
    return slope


def sampled_gradient(
    objective: Objective, policy: Callable[[Tensor], Tensor], theta: Tensor, facts: Facts, first: Tensor, second: Tensor,
    rates: tuple[Tensor, Tensor] | None = None, target: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Mean gradient over drawn pairs [N] and its standard error, both shaped like ``theta``.

    rates: each side's judged win (0 or 1, or a probability) against a draw of its own; target: drawn labels [N].
    """

    logp = policy(theta.detach())
    drawn = [logp[side].requires_grad_() for side in (first, second)]
    scores = pair_scores(logp, facts, first, second)
    columns = dict(scores.columns)
    if rates is not None:
        columns["win_rate_chosen"] = Column(rates[0], exchange="win_rate_rejected")
        columns["win_rate_rejected"] = Column(rates[1], exchange="win_rate_chosen")
    sides = (Scores(x, facts.ref_logp[i]) for x, i in zip(drawn, (first, second), strict=True))
    loss = objective(PairScores(*sides, target=scores.target if target is None else target, columns=columns))
    slopes = torch.autograd.grad(loss.sum(), drawn)
    chain = torch.autograd.functional.jacobian(policy, theta.detach()).reshape(len(logp), -1)
    each = slopes[0][:, None] * chain[first] + slopes[1][:, None] * chain[second]
    mean, error = each.mean(0), each.std(0) / len(first) ** 0.5
    return mean.reshape(theta.shape), error.reshape(theta.shape)


def product(one: Tensor, other: Tensor) -> Tensor:
    """The law of two independent draws, [A, A], from probabilities [A]."""
    return (one[:, None] * other[None]).detach()


class TokenTable:
    """All completions of ``length`` tokens from ``words`` words as an autoregressive table: logits [prefixes, words].

    Completions are numbered with the first token as the highest digit; 3 tokens of 4 words are 64 completions.
    """

    def __init__(self, words: int = 4, length: int = 3) -> None:
        self.words, self.length, self.size = words, length, words**length
        number = torch.arange(self.size)
        self.tokens = torch.stack([number // words ** (length - 1 - i) % words for i in range(length)], 1)
        self.starts = [sum(words**j for j in range(i)) for i in range(length + 1)]
        prefix = [self.starts[i] + number // words ** (length - i) for i in range(length)]
        self.prefix = torch.stack(prefix, 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the logits."""
        return (self.starts[-1], self.words)

    def logp(self, logits: Tensor) -> Tensor:
        """Log-probabilities [A] of all completions, nats per sequence."""
        return logits.log_softmax(1)[self.prefix, self.tokens].sum(1)

    def mixed(self, logits: Tensor, reference: Tensor, share: float) -> Tensor:
        """log pi [A] of the mixture taken token by token, each token's law pi^(1 - share) ref^share / Z."""
        return self.logp((1 - share) * logits.log_softmax(1) + share * reference.log_softmax(1))
