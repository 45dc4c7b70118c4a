"""SRPO: a generator whose answers are hard to improve, and the reviser that tries.  arXiv:2406.01660."""

from __future__ import annotations

from dataclasses import dataclass

from assent.errors import AssentError
from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.primitives import squared_error
from assent.objectives.rationale import known
from assent.objectives.registry import register
from assent.scores import PairScores
from assent.shapes import PerPair

CONTEXTS = ("chosen|rejected", "rejected|rejected", "chosen|chosen", "rejected|chosen")
"""The reviser's sequences: a side as the answer to the prompt, another answer and the request to improve it."""


@register
@dataclass(frozen=True)
class SRPO(PairwiseObjective):
    r"""(1 - alpha) L_gen + alpha L_rev, of log-ratios h(y) of answers and g(a|c) of revisions a of an answer c.

    L_rev = [(beta (g(w|l) - g(l|l)) - 1/2)^2 + (beta (g(w|w) - g(l|w)) - 1/2)^2] / 2, an IPO in each of two contexts;
    L_gen = (beta/2 (g(w|l) - g(l|w) + h(w) - h(l)) - 1/2)^2.  Nats per sequence; gradient through every g and h.
    g is read from the views "chosen|rejected", "rejected|rejected", "chosen|chosen" and "rejected|chosen".
    beta: strength of the KL terms; alpha: part of L_rev, in [0, 1].  The paper's values are [not found]; which part carries
    alpha, and constant factors, are from memory; the population optimum depends on neither.
    At policy = reference both parts are 1/4.  Where g(a|c) = h(a), L_gen is beta^2 times ipo(tau=beta).
    """

    beta: float = 0.1
    alpha: float = 0.5
    name = "srpo"
    paper, equation = "2406.01660", "the offline losses of generator and reviser, re-derived"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), "srpo", "beta", self.beta, "a finite number above 0")
        require(0 <= self.alpha <= 1, "srpo", "alpha", self.alpha, "a number in [0, 1]")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE, *(Need("view", name) for name in CONTEXTS)})

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        missing = [name for name in CONTEXTS if name not in scores.views]
        if missing:
            raise AssentError(f"srpo: the scores carry no view {missing[0]!r}; score the reviser's prompts too")
        w_l, l_l, w_w, l_w = (scores.views[name].log_ratio for name in CONTEXTS)
        revise = squared_error(self.beta * (w_l - l_l), 0.5) + squared_error(self.beta * (w_w - l_w), 0.5)
        generate = squared_error(self.beta / 2 * (w_l - l_w + scores.log_ratio_gap), 0.5)
        return known(scores, *CONTEXTS) * ((1 - self.alpha) * generate + self.alpha / 2 * revise)

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.beta * scores.chosen.log_ratio, self.beta * scores.rejected.log_ratio
