"""Weights from a reward model's margin; over DPO it is MADPO.  arXiv:2510.05342."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.nn.functional import softplus

from assent.errors import AssentError
from assent.objectives.base import Objective
from assent.objectives.dpo import DPO
from assent.objectives.parts import Need, State, require, within
from assent.objectives.registry import alias, register
from assent.objectives.wrapper import Wrapper
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class MarginWeighted(Wrapper):
    r"""w L, w = sigmoid(c h) / sigmoid(h) where h > -tau, else 1; h the reward model's margin of the stored order, no gradient.

    c(h) = c_min + (c_max - c_min) / (1 + (c_max - 1) / (1 - c_min) e^(lam (|h| - tau))): 1 at |h| = tau, falling in |h|.
    column: a column that a swap negates: "logit" (a model's score of the stored order, nats) or "margin" (the data's).
    c_max >= 1 > c_min > 0: how far small margins are amplified, large ones dampened.  The authors' are 2 and 1 / c_max.
    lam, tau: steepness and middle of c, in the reward model's units; the authors' 1 and ln 999 = 6.907.
    w(0) = 1; c_max = 1 leaves L.  w is part of the loss and not renormalised.
    """

    base: Objective
    column: str = "logit"
    c_max: float = 2.0
    c_min: float = 0.5
    lam: float = 1.0
    tau: float = log(999)
    name = "margin_weighted"
    paper, equation = "2510.05342", "the margin-adaptive weight"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = self.name
        named = isinstance(self.column, str) and self.column != ""
        require(named, name, "column", self.column, "the name of a numeric column of the data")
        require(1 <= self.c_max < float("inf"), name, "c_max", self.c_max, "a finite number, 1 or more")
        require(0 < self.c_min < 1, name, "c_min", self.c_min, "a number strictly between 0 and 1")
        require(0 < self.lam < float("inf"), name, "lam", self.lam, "a finite number above 0 (lambda)")
        require(0 < self.tau < float("inf"), name, "tau", self.tau, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return self.base.needs | {Need("column", self.column)}

    def coefficient(self, margin: Tensor) -> Tensor:
        """c(h) for any margins."""
        ratio = log((self.c_max - 1) / (1 - self.c_min)) if self.c_max > 1 else -float("inf")
        share = torch.sigmoid(-(ratio + self.lam * (margin.abs() - self.tau)))
        return self.c_min + (self.c_max - self.c_min) * share

    def weight(self, scores: PairScores) -> PerPair:
        """w [P], without gradient."""
        margin = scores.column(self.column).detach().to(scores.chosen.logp)
        if scores.columns[self.column].swap != "negate":
            raise AssentError(
                f"margin_weighted: column {self.column!r} does not change its sign with the order of a pair; name the margin "
                "'logit' or 'margin' with --columns"
            )
        # within |h| < tau only, so that nothing overflows where it is not used
        inside = margin.clamp_min(-self.tau)
        weight = (softplus(-inside) - softplus(-self.coefficient(inside) * inside)).exp()
        return torch.where(margin > -self.tau, weight, torch.ones_like(weight))

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return self.weight(scores) * self.base.ordered(scores, within(state, "base"))


@alias
def madpo(
    beta: float = 0.1,
    column: str = "logit",
    c_max: float = 2.0,
    c_min: float = 0.5,
    lam: float = 1.0,
    tau: float = log(999),
) -> MarginWeighted:
    """MADPO: ``margin_weighted(dpo(beta), column, c_max, c_min, lam, tau)``."""
    return MarginWeighted(DPO(beta), column, c_max, c_min, lam, tau)
