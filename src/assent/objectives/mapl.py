"""MAPL: preferences between prompts of one response, and between margins of two prompts.  arXiv:2505.12845."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import Objective, PairwiseObjective
from assent.objectives.dpo import DPO
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.rationale import known, view
from assent.objectives.registry import alias, register
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair

INTRA = ("chosen@intra_better", "chosen@intra_worse", "rejected@intra_better", "rejected@intra_worse")
INTER = ("chosen@for_chosen", "rejected@for_chosen", "chosen@for_rejected", "rejected@for_rejected")


def signal(side: Scores, source: str) -> PerCompletion:
    """r(x, y) [C]: the log-ratio to the reference in nats (policies), or the column "reward" (reward models)."""
    return side.log_ratio if source == "log_ratio" else side.column("reward").to(side.logp)


def _needs(source: str, views: tuple[str, ...]) -> frozenset[Need]:
    own = REFERENCE if source == "log_ratio" else Need("reward")
    return frozenset({own, *(Need("view", name) for name in views)})


class _Mapl(PairwiseObjective):
    """What both levels share: the scale, and where r(x, y) comes from."""

    beta: float
    source: str

    def _check(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")
        allowed = "'log_ratio' or 'reward'"
        require(self.source in ("log_ratio", "reward"), self.name, "source", self.source, allowed)

    def _r(self, scores: PairScores, name: str) -> PerPair:
        return self.beta * signal(view(scores, name), self.source)

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        chosen, rejected = (self.beta * signal(side, self.source) for side in (scores.chosen, scores.rejected))
        return chosen, rejected


@register
@dataclass(frozen=True)
class MAPLIntra(_Mapl):
    r"""-log sigmoid(beta [r(x_w, y) - r(x_l, y)]), the mean over y = chosen and y = rejected; nats per sequence.

    One response under two prompts of the same instructions, of which it obeys more in x_w: views "chosen@intra_better",
    "chosen@intra_worse" and the same for rejected.  source: "log_ratio" for policies, "reward" for reward models (beta 1
    is the paper's there).  What depends on y alone cancels; log Z(x) does not and is left out, as in Rc-DPO.
    Equal prompts, or policy = reference: ln 2; 0 where a view is absent.  The stored order of the pair plays no part.
    """

    beta: float = 0.1
    source: str = "log_ratio"
    name = "mapl_intra"
    paper, equation = "2505.12845", "the intra-sample loss"

    def __post_init__(self) -> None:
        self._check()

    @property
    def needs(self) -> frozenset[Need]:
        return _needs(self.source, INTRA)

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen = self._r(scores, "chosen@intra_better") - self._r(scores, "chosen@intra_worse")
        rejected = self._r(scores, "rejected@intra_better") - self._r(scores, "rejected@intra_worse")
        return known(scores, *INTRA) * (logistic(chosen) + logistic(rejected)) / 2


@register
@dataclass(frozen=True)
class MAPLInter(_Mapl):
    r"""Margins M(x) = beta [r(x, w) - r(x, l)] under x+ (instructions that w obeys and l does not) and x- (the reverse).

    The paper's loss was not found; both readings are reconstructions.  reading: "margins" is
    -log sigmoid(M(x+) - M(x)) - log sigmoid(M(x) - M(x-)), in which all that depends on x or y alone cancels; "pairs" is
    -log sigmoid(M(x+)) - log sigmoid(-M(x-)).  2 ln 2 without instructions ("margins") or where policy = reference.
    Views: "chosen@for_chosen", "rejected@for_chosen" (x+), "chosen@for_rejected", "rejected@for_rejected" (x-); the loss is
    0 where one is absent.
    """

    beta: float = 0.1
    reading: str = "margins"
    source: str = "log_ratio"
    name = "mapl_inter_reconstructed"
    paper, equation = "2505.12845", "reconstructed"

    def __post_init__(self) -> None:
        self._check()
        require(self.reading in ("margins", "pairs"), self.name, "reading", self.reading, "'margins' or 'pairs'")

    @property
    def needs(self) -> frozenset[Need]:
        return _needs(self.source, INTER)

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        up = self._r(scores, "chosen@for_chosen") - self._r(scores, "rejected@for_chosen")
        down = self._r(scores, "chosen@for_rejected") - self._r(scores, "rejected@for_rejected")
        told = known(scores, *INTER)
        if self.reading == "pairs":
            return told * (logistic(up) + logistic(-down))
        chosen, rejected = self.rewards(scores)
        return told * (logistic(up - (chosen - rejected)) + logistic(chosen - rejected - down))


@alias
def mapl_reconstructed(a1: float, a2: float, beta: float = 0.1) -> Objective:
    """Both levels over DPO: ``dpo(beta) + a1*mapl_intra(beta) + a2*mapl_inter_reconstructed(beta)``; a1, a2 are not known."""
    return DPO(beta) + a1 * MAPLIntra(beta) + a2 * MAPLInter(beta)
