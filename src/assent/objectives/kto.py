"""KTO: saturating gain or loss of single completions against a common point.  Ethayarajh et al., arXiv:2402.01306."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from assent.objectives.kinds import LabelledObjective
from assent.objectives.parts import REFERENCE, Need, RunInfo, State, require
from assent.objectives.registry import explain_foreign, register
from assent.scores import Scores
from assent.shapes import PerCompletion


@register
@dataclass(frozen=True)
class KTO(LabelledObjective):
    r"""lam_d (1 - sigmoid(beta (x - z0))) if desirable, lam_u (1 - sigmoid(beta (z0 - x))) if not; x the log-ratio.

    x: log policy minus log reference, nats per sequence.  z0 = max(0, mean of log-ratios), no gradient, nats.
    beta: scale; .1 as in the authors' code.  lam_d, lam_u: weights of the two labels (lambda_D, lambda_U), 1 as there.
    z: whose log-ratios z0 is the mean of.  "rows" are the step's own completions, weighted by row, at no further pass.
        "mismatched" is the authors' (and TRL's) choice, completions put to another row's prompt: their log-ratios are the
        column "mismatched", which a scorer has to provide.
    statistic: "step" takes z0 from the whole optimiser step; "previous" from the step before (0 at first), so that
        rows do not depend on each other.

    At policy = reference the loss is lam / 2 and the gradient's size beta lam / 4.  It stays within (0, lam).
    """

    beta: float = 0.1
    lam_d: float = 1.0
    lam_u: float = 1.0
    z: str = "rows"
    statistic: str = "step"
    name = "kto"
    paper, equation = "2402.01306", "the KTO loss"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), "kto", "beta", self.beta, "a finite number above 0")
        for field, symbol in (("lam_d", "lambda_D"), ("lam_u", "lambda_U")):
            value = getattr(self, field)
            require(0 <= value < float("inf"), "kto", field, value, f"a finite number, 0 or more ({symbol})")
        require(self.z in ("rows", "mismatched"), "kto", "z", self.z, "'rows' or 'mismatched'")
        allowed = ("step", "previous")
        require(self.statistic in allowed, "kto", "statistic", self.statistic, "'step' or 'previous'")

    @property
    def couples(self) -> Literal["no", "statistic"]:
        return "statistic" if self.statistic == "step" else "no"

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE} if self.z == "rows" else {REFERENCE, Need("view", "mismatched")})

    def init(self, info: RunInfo) -> State:
        """mean [] float64: mean log-ratio of the step before, nats."""
        return {"mean": torch.zeros((), dtype=torch.float64)}

    def sums(self, scores: Scores, state: State) -> dict[str, Tensor]:
        """Weighted sum of the log-ratios behind z0, and the weights' sum."""
        ratio = (scores.log_ratio if self.z == "rows" else scores.column("mismatched")).detach().double()
        weight = self.weights(scores).to(ratio)
        return {"total": (weight * ratio).sum(), "weight": weight.sum()}

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        """The step's mean; a step of weight 0 leaves it."""
        mean = sums["total"] / sums["weight"].clamp_min(1e-30)
        return {"mean": torch.where(sums["weight"] > 0, mean, state["mean"].to(mean))}

    def sided(self, scores: Scores, state: State) -> tuple[PerCompletion, PerCompletion]:
        if self.statistic == "step":
            state = self.update(state, self.sums(scores, state))
        ratio = scores.log_ratio
        gain = self.beta * (ratio - state["mean"].clamp_min(0).to(ratio))
        return self.lam_d * torch.sigmoid(-gain), self.lam_u * torch.sigmoid(gain)


explain_foreign("kto", "desirable_weight", "the field is called lam_d")
explain_foreign("kto", "undesirable_weight", "the field is called lam_u")
explain_foreign("kto", "loss_type", "KTO with z0 = 0 is a loss of its own; this one is kto()")
