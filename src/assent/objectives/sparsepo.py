"""SparsePO and MaPO: masks on every token's log-ratio and KL.  Christopoulou et al., arXiv:2410.05102."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import PairwiseObjective
from assent.objectives.mask_l1 import mask_need, mask_size
from assent.objectives.parts import REFERENCE, TOKENS, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import alias, explain_foreign, register
from assent.objectives.token_sums import token_log_ratio, token_sum, token_values
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair, PerToken


@register
@dataclass(frozen=True)
class SparsePO(PairwiseObjective):
    r"""-log sigmoid(beta [U_w - U_l - (K_l - K_w)]) + lam_u ||m_u||_1 + lam_d ||m_d||_1, both sides' masks summed.

    U = sum of m_u u_t (log-ratios), K = sum of m_d KL_t(reference || policy), nats; gradient flows through both K.
    beta: scale of the margin.  lam_u, lam_d: sizes of the penalties, .001 in the authors' dialogue runs.
    mask_u, mask_d: "mask", "mask_u" or "mask_d" for masks that the scorer learns, or token columns.  One name for both is the
    paper's common mask, whose penalties the authors' code halves; two names are its independent masks.
    binary: tokens count fully where their mask is above 0; such masks are not trained.
    Masks of 1 without penalty: tdpo1; m_u = 1, m_d = 0: dpo; both 0: ln 2 and no gradient.
    """

    beta: float = 0.1
    lam_u: float = 0.001
    lam_d: float = 0.001
    mask_u: str = "mask"
    mask_d: str = "mask"
    binary: bool = False
    name = "sparsepo"
    paper, equation = "2410.05102", "the SparsePO loss"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")
        for field in ("lam_u", "lam_d"):
            value = getattr(self, field)
            require(0 <= value < float("inf"), self.name, field, value, "a finite number, 0 or more")
        for field in ("mask_u", "mask_d"):
            value = getattr(self, field)
            require(bool(value), self.name, field, value, "'mask' or the name of a token column")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE, TOKENS, Need("kl_ref"), mask_need(self.mask_u), mask_need(self.mask_d)})

    def mask(self, side: Scores, name: str) -> PerToken:
        """The mask [T] called ``name`` as the loss uses it."""
        values = token_values(side, name)
        return (values > 0).to(values) if self.binary else values

    def _reward(self, side: Scores) -> PerCompletion:
        kl = self.mask(side, self.mask_d) * token_values(side, "kl_ref")
        return self.beta * token_sum(side, self.mask(side, self.mask_u) * token_log_ratio(side) + kl)

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self._reward(scores.chosen), self._reward(scores.rejected)

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return chosen - rejected

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self._penalty(scores.chosen), self._penalty(scores.rejected)
        return logistic(self.induced_logit(scores, state)) + chosen + rejected

    def _penalty(self, side: Scores) -> PerCompletion:
        if self.mask_u == self.mask_d:  # the common mask: half of either penalty
            return (self.lam_u + self.lam_d) / 2 * mask_size(side, self.mask_u)
        return self.lam_u * mask_size(side, self.mask_u) + self.lam_d * mask_size(side, self.mask_d)


@alias
def mapo(beta: float = 0.1, mask: str = "activation_mask") -> SparsePO:
    """MaPO: ``sparsepo`` without penalties under one fixed mask, read off the reference's activations."""
    return SparsePO(beta, 0.0, 0.0, mask, mask)


explain_foreign(
    "sparsepo", "mask_common", "one name in mask_u and mask_d is the common mask, two names are independent ones"
)
