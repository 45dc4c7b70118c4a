"""Weights by how likely the policy itself would say both completions; over DPO it is WPO.  Zhou et al., arXiv:2406.11827."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import Objective
from assent.objectives.dpo import DPO
from assent.objectives.parts import LENGTH, TOKENS, Need, State, within
from assent.objectives.registry import alias, explain_foreign, register
from assent.objectives.token_sums import token_sum, token_values, tokens_of
from assent.objectives.wrapper import Wrapper
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair

LARGEST = 30.0
"""Without the clamp at 1, log W goes no higher than this; log V of any vocabulary is far below it."""


def log_typicality(side: Scores) -> PerCompletion:
    """log v(y) [C]: mean over tokens of log pi(y_t) - log sum_v pi(v)^2, nats per token; 0 under a uniform policy."""
    tokens = tokens_of(side)
    return side.per_token(token_sum(side, tokens.logp - token_values(side, "sum_sq").log())).detach()


@register
@dataclass(frozen=True)
class PolicyWeighted(Wrapper):
    r"""W L, W = min(1, v(w) v(l)), v(y) = exp of the mean over tokens of [log pi(y_t) - log sum_v pi(v)^2]; no gradient.

    clamp: False leaves the product as it is (TRL); v is above 1 for text that the policy finds likelier than its own
    samples.  W is part of the loss and not renormalised.  A uniform policy has W = 1.
    """

    base: Objective
    clamp: bool = True
    name = "policy_weighted"
    paper, equation = "2406.11827", "the weighted loss with sampled alignment"

    @property
    def needs(self) -> frozenset[Need]:
        return self.base.needs | {TOKENS, LENGTH, Need("sum_sq")}

    def weight(self, scores: PairScores) -> PerPair:
        """W [P], without gradient."""
        log_weight = log_typicality(scores.chosen) + log_typicality(scores.rejected)
        return log_weight.clamp_max(0.0 if self.clamp else LARGEST).exp()

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return self.weight(scores) * self.base.ordered(scores, within(state, "base"))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self.weight(scores) * self.base.induced_logit(scores, within(state, "base"))


@alias
def wpo(beta: float = 0.01, clamp: bool = True) -> PolicyWeighted:
    """WPO: ``policy_weighted(dpo(beta), clamp)``; the paper's beta is 0.01."""
    return PolicyWeighted(DPO(beta), clamp)


explain_foreign(
    "wpo", "use_weighting", "the weight is a wrapper here: policy_weighted(OBJ, clamp=False) is that tool's"
)
explain_foreign("dpo", "use_weighting", "write wpo(beta), or policy_weighted(OBJ, clamp=False) for that tool's weight")
