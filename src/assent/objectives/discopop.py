"""DiscoPOP: a loss found by a language model's search.  Lu et al., arXiv:2406.08414."""

from __future__ import annotations

from dataclasses import dataclass

from torch import sigmoid
from torch.nn.functional import logsigmoid

from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import State, require
from assent.objectives.primitives import bounded_expm1, logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class DiscoPOP(RewardObjective):
    r"""-(1 - k) log sigmoid(m) + k e^-m, m = beta h, k = sigmoid(m / tau), h = chosen minus rejected log-ratio in nats.

    beta: as in dpo(); .05, the authors'.  tau: width of the passage from logistic to exponential loss.
    ln 2 / 2 + 1/2 at policy = reference.  Not convex: with the defaults a local minimum lies at m = -.1186, a local
    maximum at m = .0720.  An early version of the authors' code has k = sigmoid(h).
    """

    beta: float = 0.05
    tau: float = 0.05
    name = "discopop"
    paper = "2406.08414"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.tau < float("inf"), "discopop", "tau", self.tau, "a finite number above 0")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        m = self.margin(scores)
        exponential = 1 + bounded_expm1(logsigmoid(m / self.tau) - m)  # k e^-m without 0 times infinity
        return sigmoid(-m / self.tau) * logistic(m) + exponential


explain_foreign("discopop", "discopop_tau", "the field is called tau")
