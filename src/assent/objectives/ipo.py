"""IPO: squared distance of the log-ratio gap to a fixed margin.  Azar et al., arXiv:2310.12036, eq. 17."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import LENGTH, REFERENCE, Need, State, require
from assent.objectives.primitives import squared_error
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair


@register
@dataclass(frozen=True)
class IPO(PairwiseObjective):
    r"""(h - 1 / (2 tau))^2, h = chosen minus rejected log-ratio.

    tau: strength of the regulariser; larger stays closer to the reference.
    per: "sequence" sums a completion's tokens (the paper); "token" divides each log-ratio by its length (other tools).
    At policy = reference the loss is 1 / (4 tau^2) and its gradient -1 / tau.
    """

    tau: float = 0.1
    per: str = "sequence"
    name = "ipo"
    paper, equation = "2310.12036", "17"

    def __post_init__(self) -> None:
        require(0 < self.tau < float("inf"), "ipo", "tau", self.tau, "a finite number above 0")
        require(self.per in ("sequence", "token"), "ipo", "per", self.per, "'sequence' or 'token'")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE} if self.per == "sequence" else {REFERENCE, LENGTH})

    def _log_ratio(self, side: Scores) -> PerCompletion:
        return side.log_ratio if self.per == "sequence" else side.per_token(side.log_ratio)

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        gap = self._log_ratio(scores.chosen) - self._log_ratio(scores.rejected)
        return squared_error(gap, 1 / (2 * self.tau))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return (2 / self.tau) * (self._log_ratio(scores.chosen) - self._log_ratio(scores.rejected))

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.tau * self._log_ratio(scores.chosen), self.tau * self._log_ratio(scores.rejected)


explain_foreign(
    "ipo",
    "beta",
    "the paper's parameter is tau; the tools that call it beta also average over tokens: ipo(tau, per='token')",
)
