"""f-DPO: DPO under other divergences than the reverse KL.  Wang et al., arXiv:2309.16240."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import State, require
from assent.objectives.primitives import box_cox, logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair

_KINDS = ("forward_kl", "js", "alpha", "chi_squared", "chi_squared_kl")


@register
@dataclass(frozen=True)
class FDPO(RewardObjective):
    r"""-log sigmoid(beta (f'(u_w) - f'(u_l))), u = policy / reference = e^x of a side, x in nats per sequence.

    beta: as in dpo(); .1.  divergence and its f'(u):
        "forward_kl" 1 - 1/u;  "js" log(2 u / (1 + u)), at most ln 2;  "alpha" (1 - u^-alpha) / alpha;
        "chi_squared" 2 (u - 1), which the paper's condition leaves out, as f'(0) is finite;
        "chi_squared_kl" u - 1 + log u, the link of arXiv:2407.13399 without its clipping.
    alpha: for "alpha" alone, in [0, 1]; 0 is dpo(beta), 1 is "forward_kl".
    ln 2 at policy = reference.  The reverse KL is dpo(beta).  Powers go on as their tangent beyond e^68 in float32.
    """

    beta: float = 0.1
    divergence: str = "js"
    alpha: float | None = None
    name = "f_dpo"
    paper = "2309.16240"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = ", ".join(repr(kind) for kind in _KINDS)
        require(
            self.divergence in _KINDS,
            "f_dpo",
            "divergence",
            self.divergence,
            f"one of {known}; reverse KL is dpo(beta)",
        )
        if self.divergence != "alpha":
            require(self.alpha is None, "f_dpo", "alpha", self.alpha, "none: only divergence='alpha' reads it")
        else:
            number = isinstance(self.alpha, int | float) and not isinstance(self.alpha, bool)
            require(number and 0 <= self.alpha <= 1, "f_dpo", "alpha", self.alpha, "a number in [0, 1]")

    def _link(self, x: Tensor) -> Tensor:
        """f'(e^x), up to a constant."""
        match self.divergence:
            case "forward_kl":
                return box_cox(x, -1.0)
            case "js":
                return log(2) + logsigmoid(x)
            case "alpha":
                return box_cox(x, -self.alpha)
            case "chi_squared":
                return 2 * box_cox(x, 1.0)
            case _:
                return box_cox(x, 1.0) + x

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        chosen, rejected = self.beta * self._link(torch.stack([scores.chosen.log_ratio, scores.rejected.log_ratio]))
        return chosen, rejected

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return logistic(chosen - rejected)

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return chosen - rejected


explain_foreign("f_dpo", "f_divergence_type", "the field is called divergence")
explain_foreign(
    "f_dpo",
    "f_alpha_divergence_coef",
    "that coefficient is 1 - alpha of the authors' code: write f_dpo(divergence='alpha', alpha=1 - coefficient)",
)
