"""IPO onto a difference of win rates: the loss of EGPO and online mirror descent.  Zhou et al., arXiv:2503.08942."""

from __future__ import annotations

from dataclasses import dataclass

from assent.errors import AssentError
from assent.objectives.ipo import IPO
from assent.objectives.parts import Need, State
from assent.objectives.primitives import squared_error
from assent.objectives.registry import alias, explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class IPOSoft(IPO):
    r"""(h - (P_w - P_l)/tau)^2, h = chosen minus rejected log-ratio, P the win rate of each side against an opponent.

    tau: weight of the KL to the reference in the game.  per: as in ipo().  column: how the names of the two columns begin
    that hold the win rates, in [0, 1]: win_rate_chosen and win_rate_rejected; one judged sample of the opponent will do.
    P_w - P_l = 1/2 is ipo(tau).  Each side follows its own win rate: swapping a pair with its columns changes nothing, so
    labels are not read and no order is preferred.  With both sides uniform over n responses its gradient in their logits is
    4/n times the centred theta - theta_ref - P o / tau: a mirror step against the opponent o.
    """

    column: str = "win_rate"
    name = "ipo_soft"
    paper, equation = "2503.08942", "the generalised IPO loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.column, str) or not self.column:
            raise AssentError(f"ipo_soft: column is {self.column!r}; expected how the two columns' names begin")

    @property
    def needs(self) -> frozenset[Need]:
        return super().needs | {Need("column", f"{self.column}_{side}") for side in ("chosen", "rejected")}

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        gap = self._log_ratio(scores.chosen) - self._log_ratio(scores.rejected)
        rates = [scores.column(f"{self.column}_{side}").to(gap) for side in ("chosen", "rejected")]
        return squared_error(gap, (rates[0] - rates[1]) / self.tau)

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self.ordered(scores.swapped(), state) - self.ordered(scores, state)


@alias
def egpo(beta: float = 0.1, per: str = "token") -> IPOSoft:
    """EGPO's loss for language models, ``ipo_soft(tau=beta, per=per)``: win rates against the half-step policy.

    beta: weight of the game's KL, .1.  per: the authors divide log-ratios by their length ("token").
    """
    return IPOSoft(beta, per)


explain_foreign("ipo_soft", "beta", "the game's KL weight is called tau here")
