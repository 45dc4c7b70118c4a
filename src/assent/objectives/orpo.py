"""ORPO: likelihood of the chosen plus an odds-ratio term, no reference.  Hong et al., arXiv:2403.07691, eq. 6."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import LENGTH, Need, State, require
from assent.objectives.primitives import log_odds, logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair


def _mean(side: Scores) -> PerCompletion:
    return side.per_token(side.logp)


@register
@dataclass(frozen=True)
class ORPO(PairwiseObjective):
    r"""-log p(w) - lam log sigmoid(logit p(w) - logit p(l)), log p(y) = mean log-probability of y's tokens, in nats.

    lam: weight of the odds term; .1 is the paper's for its largest model, 1 the default of the authors' code.
    lam = 0 is sft().  Where p(w) = p(l) the odds term is lam ln 2.  Beyond log p = -1e-6 the odds go on as their tangent.
    The likelihood is of the completion alone; the authors' code counts the prompt's tokens too.
    """

    lam: float = 0.1
    name = "orpo"
    paper, equation = "2403.07691", "6"

    def __post_init__(self) -> None:
        require(0 <= self.lam < float("inf"), "orpo", "lam", self.lam, "a finite number, 0 or more")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({LENGTH})

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = _mean(scores.chosen), _mean(scores.rejected)
        odds_w, odds_l = log_odds(torch.stack([chosen, rejected]))  # both sides at once: half the calls
        return -chosen + self.lam * logistic(odds_w - odds_l)

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return _mean(scores.chosen), _mean(scores.rejected)


explain_foreign("orpo", "beta", "the field is called lam; the tool that calls it beta also counts the prompt's tokens")
