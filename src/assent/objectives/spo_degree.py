"""SPO: grade how much preferred content a degraded answer has left.  arXiv:2409.17791; details are a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from assent.errors import AssentError
from assent.objectives.base import Objective, PairwiseObjective
from assent.objectives.dpo import DPO
from assent.objectives.parts import Need, State, require
from assent.objectives.registry import alias, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class DegreeReconstructed(PairwiseObjective):
    r"""Cross-entropy -log softmax(H(y_d))_d of the degree d of a degraded completion y_d, in nats; one head H per side.

    side: "chosen" or "rejected".  y_d is the view "SIDE@degraded": the completion with a share of its key content taken out.
    Its columns: "degree" [P], which of the L levels; "degree_SIDE" [P, L], the head's logits, trained with the policy;
    "degree_known" [P], 0 where nothing could be taken out (1 without the column).  No log-probability is read.
    levels: L, from all of the key content (level 0) to none of it; at L = 1 there is nothing to tell apart and the loss is 0.
    Heads that start at 0 give ln L.  The paper's heads, levels and weights are [not found].
    """

    side: str = "chosen"
    levels: int = 4
    name = "degree_reconstructed"
    paper, equation = "2409.17791", "the auxiliary classification loss"

    def __post_init__(self) -> None:
        require(self.side in ("chosen", "rejected"), self.name, "side", self.side, "'chosen' or 'rejected'")
        whole = isinstance(self.levels, int) and self.levels >= 1
        require(whole, self.name, "levels", self.levels, "a whole number, 1 or more")

    @property
    def needs(self) -> frozenset[Need]:
        # a soft label asks the head about the other side's view too
        views = (Need("view", f"{side}@degraded", self.levels) for side in ("chosen", "rejected"))
        return frozenset({*views, Need("head", f"degree_{self.side}", self.levels)})

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        name = f"{self.side}@degraded"
        if name not in scores.views:
            raise AssentError(
                f"degree_reconstructed: the scores carry no view {name!r}; score degraded completions too"
            )
        view = scores.views[name]
        logits = view.column(f"degree_{self.side}").to(view.logp)
        if logits.shape[-1] != self.levels:
            raise AssentError(
                f"degree_reconstructed: the head gives {logits.shape[-1]} logits; expected levels={self.levels}"
            )
        level = view.column("degree").long()
        loss = -torch.log_softmax(logits, dim=-1).gather(-1, level[:, None])[:, 0]
        return view.columns["degree_known"].to(loss) * loss if "degree_known" in view.columns else loss


@alias
def spo_degree_reconstructed(
    beta: float = 0.1, gamma_w: float = 0.1, gamma_l: float = 0.1, levels: int = 4
) -> Objective:
    """``dpo(beta)`` with both degree terms; any other base is written as a sum.  gamma_w, gamma_l, levels: [not found]."""
    terms = DPO(beta)
    for side, gamma in (("chosen", gamma_w), ("rejected", gamma_l)):
        symbol = "gamma_w" if side == "chosen" else "gamma_l"
        require(0 <= gamma < float("inf"), "spo_degree_reconstructed", symbol, gamma, "a finite number, 0 or more")
        terms = terms + gamma * DegreeReconstructed(side, levels) if gamma else terms
    return terms
