"""Reward against the KL from the reference: the log-barrier's policy.  After Dai et al., arXiv:2301.12942."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.kinds import GroupObjective
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.registry import explain_foreign, register
from assent.scores import GroupScores
from assent.shapes import PerRow


@register
@dataclass(frozen=True)
class ForwardKL(GroupObjective):
    r"""tau sum_i rho_i log(rho_i / pi_i) - sum_i pi_i r_i, pi and rho the group's shares under policy and reference.

    tau: weight of KL(reference || policy), in the unit of the scores; r: the data's score.  Shares are softmaxes of sequence
    log-probabilities within the group.  Least at pi_i = tau rho_i / (lambda - r_i): follow-the-regularised-leader with a log
    barrier where rho is uniform (tau = A / eta, r minus the past costs).  pi_i never falls below tau rho_i / (lambda - min r),
    so no completion is given up.  With the other direction of the KL it would be the softmax of r / tau.
    """

    tau: float = 0.1
    name = "forward_kl"
    paper, equation = "2301.12942", "FTRL with the log barrier, as a loss (derived)"

    def __post_init__(self) -> None:
        require(0 < self.tau < float("inf"), self.name, "tau", self.tau, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        side = scores.completions
        pi, rho = scores.log_softmax(side.logp), scores.log_softmax(side.logp - side.log_ratio)
        cost = self.tau * rho.exp() * (rho - pi) - pi.exp() * scores.score.to(pi)
        return scores.sum_groups(cost)


explain_foreign("forward_kl", "beta", "the field is called tau and weighs KL(reference || policy)")
