"""beta-DPO: a beta for each step from its margins, and a filter of unusual pairs.  Wu et al., arXiv:2407.08639."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import RunInfo, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair

_LOWEST = 1e-3
"""The authors' floor of beta."""


@register
@dataclass(frozen=True)
class BetaDPO(RewardObjective):
    r"""mean over kept pairs of -log sigmoid(b h), b = max(1e-3, beta (1 + a (mean h of the kept - M))); h log-ratio gap.

    M, S: moving mean and standard deviation (of the population) of h, updated before use; nats per sequence, no gradient.
    drop: share of the step's pairs left out, drawn without replacement by weights exp(-((h - M) / S)^2 / 2).  The kept
        ones count for all.  momentum: what a step leaves of M and S, which start at 0.
    beta: .1; a: .6; drop: .2; momentum: .9, as in the authors' code.  seed: of the draws, one per step.
    h is (2 target - 1) times the stored order's gap, so both orders of a pair have one b and one fate.
    a = 0, drop = 0 is DPO.  Everything is over the whole optimiser step.  While all gaps are 0 to rounding, as where policy
    and reference are the same, it is arbitrary which pairs are left out.
    """

    beta: float = 0.1
    a: float = 0.6
    drop: float = 0.2
    momentum: float = 0.9
    seed: int = 0
    name = "beta_dpo"
    paper, equation = "2407.08639", "the batch-level beta with filtering"
    couples = "statistic"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.a < float("inf"), "beta_dpo", "a", self.a, "a finite number, 0 or more (alpha)")
        require(0 <= self.drop < 1, "beta_dpo", "drop", self.drop, "a share in [0, 1)")
        require(0 <= self.momentum < 1, "beta_dpo", "momentum", self.momentum, "a number in [0, 1)")
        whole = isinstance(self.seed, int) and 0 <= self.seed < 2**31
        require(whole, "beta_dpo", "seed", self.seed, "a whole number in [0, 2^31)")

    def init(self, info: RunInfo) -> State:
        """mean, deviation [] float64 in nats; step [] int64."""
        zero = torch.zeros((), dtype=torch.float64)
        return {"mean": zero, "deviation": zero.clone(), "step": torch.zeros((), dtype=torch.int64)}

    def _gap(self, scores: PairScores) -> PerPair:
        """h [P] float64 in the order that the data call right; no gradient."""
        gap = scores.log_ratio_gap.detach().double()
        return gap if scores.target is None else (2 * scores.target.to(gap) - 1) * gap

    def sums(self, scores: PairScores, state: State) -> dict[str, Tensor]:
        """Weighted sums of 1, h and h^2."""
        return self._sums(self._gap(scores), self.weights(scores).double())

    @staticmethod
    def _sums(gap: PerPair, weight: PerPair) -> dict[str, Tensor]:
        share = weight * gap
        return {"weight": weight.sum(), "total": share.sum(), "square": torch.dot(share, gap)}

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        """M and S moved by the step's mean and deviation; a step of weight 0 leaves them."""
        weight = sums["weight"].clamp_min(1e-30)
        mean = sums["total"] / weight
        found = {"mean": mean, "deviation": (sums["square"] / weight - mean**2).clamp_min(0).sqrt()}
        rate = (sums["weight"] > 0).to(mean) * (1 - self.momentum)
        moved = {name: (1 - rate) * state[name].to(value) + rate * value for name, value in found.items()}
        return moved | {"step": state["step"] + 1}

    def kept(self, scores: PairScores, state: State) -> PerPair:
        """What each pair counts [P]: 0 if left out, else the share that makes the kept ones stand for all; no gradient."""
        gap, weight = self._gap(scores), self.weights(scores).double()
        return self._kept(gap, weight, self.update(state, self._sums(gap, weight)), state)

    def step_beta(self, scores: PairScores, state: State) -> Tensor:
        """b [] of this step; no gradient."""
        return self._step(scores, state)[1]

    def _kept(self, gap: PerPair, weight: PerPair, new: State, state: State) -> PerPair:
        if self.drop == 0:
            return torch.ones_like(gap)
        far = (gap - new["mean"]) / new["deviation"].clamp_min(1e-12)
        # the noise goes by the rank of h, so that the draw does not depend on the order of the rows; seeds are read mod 2^32
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + int(state["step"])) % 2**32)
        uniform = torch.rand(len(gap), generator=generator, dtype=torch.float64).clamp_min(1e-300).to(gap.device)
        absent = weight == 0
        noise = torch.empty_like(gap).index_copy_(0, gap.masked_fill(absent, float("inf")).argsort(), uniform)
        key = (-(far**2) / 2 - (-noise.log()).log()).masked_fill(absent, -float("inf"))
        order, total = key.argsort(descending=True), weight.sum()
        inside = weight.index_select(0, order).cumsum(0) <= (1 - self.drop) * total * (1 + 1e-12)
        inside[0] = True
        stays = torch.empty_like(gap).index_copy_(0, order, inside.to(gap))
        return stays * (total / (stays * weight).sum().clamp_min(1e-30))

    def _step(self, scores: PairScores, state: State) -> tuple[PerPair, Tensor]:
        """What each pair counts [P], and b []."""
        gap, weight = self._gap(scores), self.weights(scores).double()
        new = self.update(state, self._sums(gap, weight))
        kept = self._kept(gap, weight, new, state)
        share = kept * weight
        mean = (share * gap).sum() / share.sum().clamp_min(1e-30)
        return kept, (self.beta * (1 + self.a * (mean - new["mean"]))).clamp_min(_LOWEST)

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        gap = scores.log_ratio_gap
        kept, beta = self._step(scores, state)
        return kept.to(gap) * logistic(beta.to(gap) * gap)


explain_foreign("beta_dpo", "alpha", "the field is called a")
