"""Summaries of a passage as words over KEY (at most once), FILL and END: a query finds the passage iff KEY occurs.

A policy is three logits of the next word; KEY is taken out once it has occurred.  A summary ends with END or after 24 words;
END counts as a word.  Lengths and odds of success are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import Objective, step_loss
from assent.scores import PairScores, Scores

LONGEST = 24
KEY, FILL, END = "KF."
GENERATORS = {"long": (-1.0, 1.0, -1.5), "medium": (-0.5, 0.8, -0.8), "short": (0.0, 0.3, 0.0)}
"""Logits of KEY, FILL and END."""


@dataclass(frozen=True)
class Counts:
    """N summaries: whether KEY occurs, and how often FILL and END come before and after it, [N] each."""

    key: Tensor
    fill: Tensor
    end: Tensor
    later_fill: Tensor
    later_end: Tensor

    @staticmethod
    def of(texts: Sequence[str]) -> Counts:
        parts = [text.partition(KEY) for text in texts]
        rows = [(len(k), a.count(FILL), a.count(END), b.count(FILL), b.count(END)) for a, k, b in parts]
        return Counts(*torch.tensor(rows, dtype=torch.float64).T)

    def scores(self, theta: Tensor) -> Scores:
        """Log-probabilities under the policy theta [3], nats per summary, and lengths in words."""
        before, after = theta.log_softmax(0), theta[1:].log_softmax(0)
        logp = self.key * before[0] + self.fill * before[1] + self.end * before[2]
        logp = logp + self.later_fill * after[0] + self.later_end * after[1]
        return Scores(logp, length=self.key + self.fill + self.end + self.later_fill + self.later_end)


def sample(logits: Sequence[float], count: int, g: torch.Generator) -> list[str]:
    """``count`` summaries of the generator with these logits."""
    first = torch.tensor(logits, dtype=torch.float64).softmax(0)
    later = torch.tensor([0.0, *torch.tensor(logits[1:], dtype=torch.float64).softmax(0)], dtype=torch.float64)
    words = [torch.multinomial(p, count * LONGEST, True, generator=g).reshape(count, LONGEST) for p in (first, later)]
    found = []
    for before, after in zip(*(w.tolist() for w in words), strict=True):
        text = ""
        while len(text) < LONGEST and END not in text:
            text += (KEY + FILL + END)[(after if KEY in text else before)[len(text)]]
        found.append(text)
    return found


def outcome(theta: Tensor) -> tuple[Tensor, Tensor]:
    """P(success) and mean length in words of the policy theta [3]."""
    before, after = theta.softmax(0), theta[1:].softmax(0)
    searching, found = torch.ones_like(theta[0]), torch.zeros_like(theta[0])
    success, length = torch.zeros_like(found), torch.zeros_like(found)
    for _ in range(LONGEST):
        length = length + searching + found
        hit = searching * before[0]
        success = success + hit
        searching, found = searching * before[1], found * after[0] + hit
    return success, length


def train(objective: Objective, pairs: Sequence[tuple[str, str]], steps: int = 150, lr: float = 0.02) -> Tensor:
    """The policy [3] after ``steps`` of Adam on all pairs (chosen, rejected) at once, from the medium generator."""
    chosen, rejected = (Counts.of(side) for side in zip(*pairs, strict=True))
    theta = torch.tensor(GENERATORS["medium"], dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([theta], lr=lr)
    for _ in range(steps):
        loss = step_loss(objective, PairScores(chosen.scores(theta), rejected.scores(theta)))
        (theta.grad,) = torch.autograd.grad(loss, theta)
        adam.step()
    return theta.detach()
