"""EXO: reverse KL from the policy's preference to the data's.  Ji et al., arXiv:2402.00856, eq. 16."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log1p

from torch import sigmoid
from torch.nn.functional import logsigmoid

from assent.objectives.kinds import GroupObjective, RewardObjective, log_softmax
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.registry import explain_foreign, register
from assent.scores import GroupScores, PairScores
from assent.shapes import PerPair, PerRow


@register
@dataclass(frozen=True)
class EXO(RewardObjective):
    r"""q log(q / (1 - eps)) + (1 - q) log((1 - q) / eps), q = sigmoid(beta h), h = chosen minus rejected log-ratio, nats.

    beta: as in dpo().  eps: share that the data's preference leaves the rejected completion, in (0, 1/2); without it the
    loss is infinite.  0 at beta h = log((1 - eps) / eps); grows as q moves to either side.
    The authors' code has labels (0, -10): eps = e^-10 / (1 + e^-10), up to a constant.
    """

    beta: float = 0.1
    eps: float = 0.001
    name = "exo"
    paper, equation = "2402.00856", "16"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.eps < 0.5, "exo", "eps", self.eps, "a number in (0, 0.5)")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        m = self.margin(scores)
        right = sigmoid(m) * (logsigmoid(m) - log1p(-self.eps))
        return right + sigmoid(-m) * (logsigmoid(-m) - log(self.eps))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        m = self.margin(scores)  # the entropies of the two orders cancel
        return (sigmoid(m) - sigmoid(-m)) * log((1 - self.eps) / self.eps)


@register
@dataclass(frozen=True)
class EXOGroup(GroupObjective):
    r"""KL(softmax(beta x) || softmax(score / beta_r)) over a group's completions, x the log-ratios in nats per sequence.

    beta: scale of the policy's preference (beta_pi).  beta_r: temperature of the data's scores, in their units.
    0 where x = score / (beta beta_r) up to a constant; at policy = reference with equal scores 0.
    """

    beta: float = 0.1
    beta_r: float = 0.1
    name = "exo_group"
    paper = "2402.00856"

    def __post_init__(self) -> None:
        for field in ("beta", "beta_r"):
            value = getattr(self, field)
            require(0 < value < float("inf"), "exo_group", field, value, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        reward = self.beta * scores.completions.log_ratio
        ours = log_softmax(scores, reward)
        data = log_softmax(scores, scores.score.to(reward) / self.beta_r)
        return scores.sum_groups(ours.exp() * (ours - data))


explain_foreign("exo", "label_smoothing", "the field is called eps")
