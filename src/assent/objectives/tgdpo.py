"""TGDPO: token rewards set how far each token may leave the reference.  Zhu et al., arXiv:2506.14574."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import REFERENCE, TOKENS, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.objectives.token_sums import token_log_ratio, token_sum, token_values
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair, PerToken


@register
@dataclass(frozen=True)
class TGDPO(PairwiseObjective):
    r"""-log sigmoid(sum over w of beta (1 + alpha r_t) u_t - sum over l of beta (1 - alpha r_t) u_t), u_t token log-ratios.

    beta: scale of the margin (0.1 in the authors' example).  alpha: weight of the token reward r_t (0.5 there); alpha = 0
    is dpo, and so is r_t = 0.  Keep |alpha r_t| <= 1, or a chosen token is pushed down.
    rewards_column: name of the token column read.  source: "reward" takes the column as r_t; "logp" as a frozen
    guide's token log-probability, r_t = beta (log guide - log reference), as the paper does.  No gradient through r_t.
    Its margin is DPO's plus alpha sum of r_t beta u_t over both sides, whichever is chosen: the loss can fall far below
    the noise of the labels, and loss(swapped) - loss(stored) is no longer the margin.
    """

    beta: float = 0.1
    alpha: float = 0.5
    rewards_column: str = "reward"
    source: str = "reward"
    name = "tgdpo"
    paper, equation = "2506.14574", "the TGDPO loss"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")
        require(0 <= self.alpha < float("inf"), self.name, "alpha", self.alpha, "a finite number, 0 or more")
        require(
            bool(self.rewards_column), self.name, "rewards_column", self.rewards_column, "the name of a token column"
        )
        require(self.source in ("reward", "logp"), self.name, "source", self.source, "'reward' or 'logp'")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE, TOKENS, Need("token_column", self.rewards_column)})

    def token_rewards(self, side: Scores) -> PerToken:
        """r_t of every counted token [T], without gradient; nats where the source is a guide."""
        given = token_values(side, self.rewards_column)
        if self.source == "logp":
            given = self.beta * (given - token_values(side, "ref_logp"))
        return given.detach()

    def _weighted(self, side: Scores, alpha: float) -> PerCompletion:
        weight = 1 + alpha * self.token_rewards(side)
        return self.beta * token_sum(side, weight * token_log_ratio(side))

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self._weighted(scores.chosen, self.alpha), self._weighted(scores.rejected, -self.alpha)

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return logistic(chosen - rejected)


explain_foreign("tgdpo", "guidance", "name the token column of the guide: tgdpo(rewards_column='...', source='logp')")
