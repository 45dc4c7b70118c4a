"""A reward shift that moves: running means of the rewards of liked and disliked completions, for BCO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from assent.objectives.parts import RunInfo, State, require
from assent.scores import PairScores, Scores


class Shifted:
    """What both forms share: running sums of the rewards of liked and disliked completions, and the shift they give."""

    beta: float
    shift: str = "class"
    decay: float
    statistic: str

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")
        require(0 <= self.decay <= 1, self.name, "decay", self.decay, "a number in [0, 1]")
        allowed = ("step", "previous", "none")
        require(self.statistic in allowed, self.name, "statistic", self.statistic, "'step', 'previous' or 'none'")

    @property
    def couples(self) -> Literal["no", "statistic"]:
        return "statistic" if self.statistic == "step" else "no"

    def init(self, info: RunInfo) -> State:
        """total, count [2] float64: running sums of rewards (nats) and weights, liked then disliked."""
        return {name: torch.zeros(2, dtype=torch.float64) for name in ("total", "count")}

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        """The running sums, the old ones times decay."""
        return {name: self.decay * state[name].to(sums[name]) + sums[name] for name in ("total", "count")}

    def delta(self, scores: Scores | PairScores, state: State) -> Tensor:
        """The reward shift [] in nats, no gradient; a class that has not been seen leaves the other's mean."""
        if self.statistic == "none":
            return torch.zeros((), dtype=torch.float64)
        if self.statistic == "step":
            state = self.update(state, self.sums(scores, state))
        total, count = state["total"], state["count"]
        if self.shift == "row":
            return total.sum() / count.sum().clamp_min(1e-30)
        seen = (count > 0).to(total)
        return (seen * total / count.clamp_min(1e-30)).sum() / seen.sum().clamp_min(1)
