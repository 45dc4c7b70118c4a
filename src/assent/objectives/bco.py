"""BCO: a binary classifier of liked and disliked completions with a reward shift.  Jung et al., arXiv:2404.04656."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives.base import PairwiseObjective
from assent.objectives.kinds import LabelledObjective
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.objectives.shift import Shifted
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair

PROMPTS = "prompts"
"""The matching column that a training run computes where the data have none."""


@register
@dataclass(frozen=True)
class BCO(Shifted, LabelledObjective):
    r"""-log sigmoid(r - delta) if liked, -W log sigmoid(-(r - delta)) if not; r = beta (log-ratio), nats per sequence.

    beta: scale; .1 is the author's code, .01 the paper's for pairs.
    shift: delta is half the sum of the mean rewards of liked and of disliked completions ("class", the paper), or
        the mean over all of them ("row", the author's code).  No gradient.
    mean: the loss is the sum of the two classes' means ("class", the paper as its theorem has it), or the mean over all rows
        ("row", the author's code).  Balanced classes give twice the row mean.
    decay: what a step leaves of the running sums; 1 is the cumulative mean of the code, the paper's factor is [not found].
    match: column with W = p(prompt | liked) / p(prompt | disliked), which weighs disliked rows only; None is W = 1.
        "prompts" is computed from the prompts before training, where the data have no such column.
    statistic: delta with this step's rewards ("step"), of the steps before ("previous"), or 0 ("none": plain BCE).

    At policy = reference the row mean is ln 2 (W = 1).
    """

    beta: float = 0.1
    shift: str = "class"
    mean: str = "class"
    decay: float = 1.0
    match: str | None = None
    statistic: str = "step"
    name = "bco"
    paper, equation = "2404.04656", "the loss with reward shift and underlying-distribution matching"

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("shift", "mean"):
            require(getattr(self, field) in ("class", "row"), "bco", field, getattr(self, field), "'class' or 'row'")
        named = self.match is None or (isinstance(self.match, str) and self.match != "")
        require(named, "bco", "match", self.match, "the name of a column, or None")
        together = self.mean == "row" or self.statistic == "step"
        require(
            together, "bco", "mean", self.mean, "'row' where statistic is not 'step': class means need the whole step"
        )

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE} if self.match is None else {REFERENCE, Need("column", self.match)})

    def _mass(self, scores: Scores) -> Tensor:
        """Weights of the rows as liked and as disliked ones, [2, C] float64."""
        label, weight = scores.column("label").double(), self.weights(scores).double()
        return torch.stack([weight * label, weight * (1 - label)])

    def sums(self, scores: Scores, state: State) -> dict[str, Tensor]:
        """Per class: weighted sum of rewards, and of weights."""
        mass, reward = self._mass(scores), self.beta * scores.log_ratio.detach().double()
        return {"total": mass @ reward, "count": mass.sum(1)}

    def sided(self, scores: Scores, state: State) -> tuple[PerCompletion, PerCompletion]:
        reward = self.beta * scores.log_ratio
        reward = reward - self.delta(scores, state).to(reward)
        liked, disliked = logistic(reward), logistic(-reward)
        if self.match is not None:
            disliked = scores.column(self.match).to(disliked) * disliked
        if self.mean == "row":
            return liked, disliked
        size = self._mass(scores).sum(1)
        up, down = (size.sum() / size.clamp_min(1e-30)).to(reward)
        return up * liked, down * disliked


@register
@dataclass(frozen=True)
class BCOPair(Shifted, PairwiseObjective):
    r"""-log sigmoid(r_w - delta) - log sigmoid(-(r_l - delta)), r = beta (log-ratio), delta the mean of all rewards.

    beta: scale; .01 is the paper's for pairs.  decay, statistic: as for bco; "none" is what TRL calls bco_pair since 0.29.
    = log(1 + e^-(r_w - r_l) + e^-(r_w - delta) + e^(r_l - delta)), above DPO for any delta.  2 ln 2 at policy = reference.
    """

    beta: float = 0.01
    decay: float = 1.0
    statistic: str = "step"
    name = "bco_pair"
    paper, equation = "2404.04656", "the loss with reward shift, on pairs"

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def sums(self, scores: PairScores, state: State) -> dict[str, Tensor]:
        """Per side: weighted sum of rewards, and of weights."""
        weight = self.weights(scores).double()
        total = [(weight * reward.detach().double()).sum() for reward in self.rewards(scores)]
        return {"total": torch.stack(total), "count": weight.sum().expand(2)}

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        delta = self.delta(scores, state).to(chosen)
        return logistic(chosen - delta) + logistic(delta - rejected)

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self.beta * scores.log_ratio_gap

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.beta * scores.chosen.log_ratio, self.beta * scores.rejected.log_ratio


explain_foreign(
    "bco", "prompt_sample_size", "the density ratio is a column here: bco(match='COLUMN'), or match='prompts'"
)
