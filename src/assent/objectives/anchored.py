"""A reference between the run's and the policy that drew the samples; over IPO it is INPO.  Zhang et al., arXiv:2407.00617."""

from __future__ import annotations

from dataclasses import dataclass, replace

from assent.errors import AssentError
from assent.objectives.base import Objective
from assent.objectives.ipo import IPO
from assent.objectives.parts import Need, State, require, within
from assent.objectives.registry import alias, explain_foreign, register
from assent.objectives.wrapper import Wrapper
from assent.scores import PairScores, Scores
from assent.shapes import PerPair

_WHOLE = ("reference", "column", "length")
"""Needs of losses that read the reference by whole sequences only."""


@register
@dataclass(frozen=True)
class Anchored(Wrapper):
    """L against the log-reference share log ref + (1 - share) log pi_old, pi_old the policy that drew the completions.

    share: part of the run's own reference, in [0, 1]; 1 is plain L, 0 is L against the sampling policy (SPPO's rule).
    column: how the names of the two columns begin that hold log pi_old of either side, in nats per sequence:
    old_logp_chosen and old_logp_rejected, as sampled rounds have them.
    """

    base: Objective
    share: float = 0.5
    column: str = "old_logp"
    name = "anchored"
    paper, equation = "2407.00617", "the reference inside eq. 8"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.share <= 1, self.name, "share", self.share, "a number in [0, 1]")
        named = isinstance(self.column, str) and bool(self.column)
        require(named, self.name, "column", self.column, "how the two columns' names begin")
        kinds = {need.kind for need in self.base.needs}
        if "reference" not in kinds:
            raise AssentError(f"anchored({self.base!s}): the loss reads no reference; leave the wrapper out")
        if further := sorted(kinds.difference(_WHOLE)):
            raise AssentError(
                f"anchored({self.base!s}): the loss reads {', '.join(further)}, but the columns hold whole sequences; "
                "use a loss of sequence log-ratios such as ipo() or dpo()"
            )

    @property
    def needs(self) -> frozenset[Need]:
        return self.base.needs | {Need("column", f"{self.column}_{side}") for side in ("chosen", "rejected")}

    def _moved(self, scores: PairScores) -> PairScores:
        """The scores with the other reference."""
        return replace(scores, chosen=self._side(scores, "chosen"), rejected=self._side(scores, "rejected"))

    def _side(self, scores: PairScores, side: str) -> Scores:
        found = getattr(scores, side)
        if found.ref_logp is None:
            return found  # the loss inside says what is missing
        old = scores.column(f"{self.column}_{side}").to(found.logp)
        return replace(found, ref_logp=self.share * found.ref_logp + (1 - self.share) * old, tokens=None)

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return self.base.ordered(self._moved(scores), within(state, "base"))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self.base.induced_logit(self._moved(scores), within(state, "base"))


@alias
def inpo(eta: float = 0.005, tau: float = 0.005 / 3) -> Anchored:
    """INPO, (h_t - 1/(2 eta))^2: ``anchored(ipo(tau=eta), share=tau/eta)``.

    eta: inverse step size, .005; tau: weight of the game's KL, eta / 3 in the paper; tau = eta is ipo(eta), tau = 0 has no
    reference but the last policy.  The samples' own log-probabilities are in the columns old_logp_chosen and _rejected.
    """
    require(0 < eta < float("inf"), "inpo", "eta", eta, "a finite number above 0")
    require(0 <= tau <= eta, "inpo", "tau", tau, f"a number from 0 to eta = {eta}")
    return Anchored(IPO(eta), tau / eta)


explain_foreign("inpo", "beta", "the fields are eta, the inverse step size, and tau, the weight of the game's KL")
