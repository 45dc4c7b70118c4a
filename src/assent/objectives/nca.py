"""NCA and InfoNCA: noise-contrastive losses of rewarded completions.  Chen et al., arXiv:2402.05369."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.kinds import GroupObjective, RewardObjective, log_softmax
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import register
from assent.scores import GroupScores, PairScores
from assent.shapes import PerCompletion, PerPair, PerRow


@register
@dataclass(frozen=True)
class NCA(RewardObjective):
    r"""-log sigmoid(r_w) - log sigmoid(-r_w) / 2 - log sigmoid(-r_l) / 2, r = beta (log-ratio), nats per sequence.

    beta: as in dpo(); .01 as in the authors' code.
    2 ln 2 at policy = reference, with gradient (-1/4, 1/4) in (r_w, r_l).  Lowest at r_w = ln 2, r_l = -infinity.
    """

    beta: float = 0.01
    name = "nca"
    paper = "2402.05369"

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return logistic(chosen) + (logistic(-chosen) + logistic(-rejected)) / 2

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return logistic(rejected) - logistic(chosen)  # the noise terms of the two orders cancel


class _Rewarded(GroupObjective):
    """What the two forms share: their fields, and the data's preference softmax(score / alpha) of each group."""

    beta: float
    alpha: float
    paper = "2402.05369"

    def __post_init__(self) -> None:
        for field in ("beta", "alpha"):
            value = getattr(self, field)
            require(0 < value < float("inf"), self.name, field, value, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def _rewards(self, scores: GroupScores) -> tuple[PerCompletion, PerCompletion]:
        reward = self.beta * scores.completions.log_ratio
        return reward, log_softmax(scores, scores.score.to(reward) / self.alpha).exp()


@register
@dataclass(frozen=True)
class InfoNCA(_Rewarded):
    r"""-sum_i q_i log softmax(r)_i over a group, q = softmax(score / alpha), r = beta (log-ratio), nats per sequence.

    The list-wise softmax loss.  beta: .01 as in the authors' code.  alpha: temperature of the scores, in their units;
    1e-4 as in the authors' code, where q is all on the best completion.
    log K at policy = reference.  Two completions of one best give dpo(beta).
    """

    beta: float = 0.01
    alpha: float = 1e-4
    name = "infonca"

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        reward, share = self._rewards(scores)
        return -scores.sum_groups(share * log_softmax(scores, reward))


@register
@dataclass(frozen=True)
class NCAGroup(_Rewarded):
    r"""-sum_i [q_i log sigmoid(r_i) + log sigmoid(-r_i) / K] over a group of K, q = softmax(score / alpha).

    r = beta (log-ratio), nats per sequence; beta and alpha as in infonca().
    2 ln 2 at policy = reference.  Two completions of one best give nca(beta).  Best completions of equal scores share q.
    """

    beta: float = 0.01
    alpha: float = 1e-4
    name = "nca_group"

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        reward, share = self._rewards(scores)
        noise = scores.sum_groups(logistic(-reward)) / scores.sum_groups(reward.new_ones(len(reward)))
        return scores.sum_groups(share * logistic(reward)) + noise
