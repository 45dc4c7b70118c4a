"""Rationales: likelihood of an explanation of the preference, beside any pairwise loss.  Just et al., arXiv:2407.14477."""

from __future__ import annotations

from dataclasses import dataclass

from assent.errors import AssentError
from assent.objectives.base import Objective, PairwiseObjective
from assent.objectives.dpo import DPO
from assent.objectives.orpo import ORPO
from assent.objectives.parts import Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import alias, explain_foreign, register
from assent.objectives.simpo import SimPO
from assent.scores import PairScores, Scores
from assent.shapes import PerPair


def view(scores: PairScores, name: str) -> Scores:
    """The further sequences called ``name``; an error that names the known ones when they are missing."""
    if name not in scores.views:
        known = ", ".join(sorted(scores.views)) or "none"
        raise AssentError(f"the scores have no view {name!r} (there: {known}); choose a data transform that makes it")
    return scores.views[name]


def known(scores: PairScores, *names: str) -> PerPair:
    """1 for the pairs that have all these views, 0 where one has no counted token and the term says nothing; [P]."""
    found = scores.ones()
    for name in names:
        if (length := view(scores, name).length) is not None:
            found = found * (length > 0)
    return found


@register
@dataclass(frozen=True)
class Rationale(PairwiseObjective):
    r"""-gamma log pi(r | x, w over l), r the view "rationale"; the reference is not read.

    gamma: weight of the likelihood; 1 is what the chain rule gives.  form: "linear" is the paper's; "logistic" the
    released code's -log sigmoid(gamma log pi(r)), whose slope lies between gamma / 2 and gamma and which is ln 2 at gamma = 0.
    per: "sequence" sums r's tokens, "token" is their mean, as in the code for ORPO; an empty rationale gives log pi = 0.
    The two orders of a pair share the rationale, so a soft label does not change this term.
    """

    gamma: float = 1.0
    form: str = "linear"
    per: str = "sequence"
    name = "rationale"
    paper, equation = "2407.14477", "the rationale term"

    def __post_init__(self) -> None:
        require(0 <= self.gamma < float("inf"), self.name, "gamma", self.gamma, "a finite number, 0 or more")
        require(self.form in ("linear", "logistic"), self.name, "form", self.form, "'linear' or 'logistic'")
        require(self.per in ("sequence", "token"), self.name, "per", self.per, "'sequence' or 'token'")

    @property
    def needs(self) -> frozenset[Need]:
        own = {Need("view", "rationale")}
        return frozenset(own if self.per == "sequence" else own | {Need("length")})

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        side = view(scores, "rationale")
        logp = side.logp
        if self.per == "token":
            if side.length is None:
                raise AssentError("the view 'rationale' carries no length; score with lengths or use per='sequence'")
            logp = logp / side.length.clamp_min(1)
        scaled = self.gamma * logp
        return known(scores, "rationale") * (-scaled if self.form == "linear" else logistic(scaled))


@alias
def dpo_rationale(beta: float = 0.1, gamma: float = 1.0) -> Objective:
    """The paper's RDPO (not the robust DPO): ``dpo(beta) + rationale(gamma)``."""
    return DPO(beta) + Rationale(gamma)


@alias
def orpo_rationale(lam: float = 0.1, gamma: float = 1.0) -> Objective:
    """RORPO, the code's simple form: ``orpo(lam) + rationale(gamma, per='token')``; the code's NLL is a batch-token mean."""
    return ORPO(lam) + Rationale(gamma, per="token")


@alias
def simpo_rationale_reconstructed(beta: float = 2.0, gamma: float = 0.5, rationale: float = 1.0) -> Objective:
    """RSimPO, whose form was not found: ``simpo(beta, gamma) + rationale(rationale, per='token')``."""
    return SimPO(beta, gamma) + Rationale(rationale, per="token")


explain_foreign("rationale", "weight", "the field is called gamma, the paper's symbol")
