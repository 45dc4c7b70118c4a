"""AOT: preference of one distribution over another, by their quantiles.  Melnyk et al., arXiv:2406.05882."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import State
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair


def quantile_plan(first: Tensor, second: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How equal quantiles of two weighted samples [P] meet: indices into both and the mass of each meeting, [2P] each.

    Weights 1 match the i-th smallest of the one with the i-th smallest of the other; other weights split the matches.
    """
    weight = weight.double()
    order = [values.detach().argsort(stable=True) for values in (first, second)]
    reached = [weight[o].cumsum(0) for o in order]
    edges = torch.cat(reached).sort().values
    mass = edges.diff(prepend=edges.new_zeros(1))
    middle = edges - mass / 2
    last = len(weight) - 1
    one, two = (o[torch.searchsorted(r, middle).clamp_max(last)] for o, r in zip(order, reached, strict=True))
    return one, two, mass


def _reference(side: Scores) -> PerCompletion:
    """The reference's log-probabilities [C], or the error that says that there are none."""
    return side.log_ratio if side.ref_logp is None else side.ref_logp


class _Quantiles(RewardObjective):
    """The mean logistic loss of beta times the gap between equal quantiles of two samples of the step."""

    couples = "step"

    def samples(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        """The sample that is to be the larger one, and the other, [P] each, nats per sequence."""
        raise TypeError(f"{type(self).__name__} defines no samples")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        high, low = self.samples(scores)
        weight = self.weights(scores)
        if bool((weight == weight[:1]).all()):  # equal weights need no splitting
            ranked = low.detach().argsort(stable=True)
            partner = torch.empty_like(ranked).index_copy_(0, high.detach().argsort(stable=True), ranked)
            return logistic(self.beta * (high - low[partner]))
        i, j, mass = quantile_plan(high, low, weight)
        loss = logistic(self.beta * (high[i] - low[j]))
        own = torch.zeros_like(loss[: len(weight)]).index_add(0, i, mass.to(loss) * loss)
        return torch.where(weight > 0, own / weight.clamp_min(1e-30), torch.zeros_like(own))


@register
@dataclass(frozen=True)
class AOT(_Quantiles):
    r"""mean over ranks i of -log sigmoid(beta (u_(i) - v_(i))): u, v chosen minus rejected logp of policy and reference.

    u, v: sorted each by itself over the optimiser step, nats per sequence; row weights weigh the two distributions.
    beta: .01 as in the paper's runs.  Label smoothing is smooth(aot(), eps).
    One pair is DPO; permuting the reference changes nothing; never above DPO on the same step.  ln 2 at policy = reference.
    """

    beta: float = 0.01
    name = "aot"
    paper, equation = "2406.05882", "the paired objective"

    def samples(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return scores.chosen.logp - scores.rejected.logp, _reference(scores.chosen) - _reference(scores.rejected)


@register
@dataclass(frozen=True)
class AOTUnpaired(_Quantiles):
    r"""mean over ranks i of -log sigmoid(beta (x_w,(i) - x_l,(i))): log-ratios of chosen and rejected, sorted by themselves.

    x_w, x_l: nats per sequence, sorted over the optimiser step.  beta: .01 as in the paper's runs.
    One pair is DPO; permuting the rejected completions changes nothing; never above DPO on the same step.
    """

    beta: float = 0.01
    name = "aot_unpaired"
    paper, equation = "2406.05882", "the unpaired objective"

    def samples(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return scores.chosen.log_ratio, scores.rejected.log_ratio


for _name in ("aot", "aot_unpaired"):
    explain_foreign(_name, "label_smoothing", f"write smooth({_name}(...), eps) for the smoothed loss")
