"""SPPO: log-ratios regressed onto centred win rates.  Wu et al., arXiv:2405.00675, eq. 4.7 and 4.12."""

from __future__ import annotations

from dataclasses import dataclass

from assent.errors import AssentError
from assent.objectives.kinds import GroupObjective, RewardObjective
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.primitives import squared_error
from assent.objectives.registry import explain_foreign, register
from assent.scores import GroupScores, PairScores
from assent.shapes import PerPair, PerRow


@register
@dataclass(frozen=True)
class SPPO(RewardObjective):
    r"""(x_w - 1/(2 beta))^2 + (x_l + 1/(2 beta))^2, x the log-ratios in nats per sequence: hard labels.

    beta: 1 / eta, the inverse of the paper's step size; .001 its setting.  Reference: the policy of the last iteration.
    1/(2 beta^2) at policy = reference; equals (h - 1/beta)^2 / 2 + (x_w + x_l)^2 / 2.  A soft label p regresses onto
    +-(p - 1/2)/beta, up to a constant.  The authors' code halves the loss: 0.5*sppo().
    """

    beta: float = 0.001
    name = "sppo"
    paper, equation = "2405.00675", "4.12"

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        target = 1 / (2 * self.beta)
        return squared_error(scores.chosen.log_ratio, target) + squared_error(scores.rejected.log_ratio, -target)

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return (2 / self.beta) * scores.log_ratio_gap  # the squares of the two orders cancel


@register
@dataclass(frozen=True)
class SPPOSoft(RewardObjective):
    r"""(x_w - (P_w - 1/2)/beta)^2 + (x_l - (P_l - 1/2)/beta)^2, x the log-ratios in nats per sequence.

    beta: 1 / eta, as in sppo().  column: beginning of the names of the two columns with each side's win rate over
    samples of the reference, in [0, 1]: win_rate_chosen and win_rate_rejected.
    P_w = 1 and P_l = 0 is sppo(beta).  Each side follows its own win rate: swapping a pair with its columns changes
    nothing, so labels are not read and no order is preferred (inside lcpo() there is nothing to infer).
    """

    beta: float = 0.001
    column: str = "win_rate"
    name = "sppo_soft"
    paper, equation = "2405.00675", "4.7"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.column, str) or not self.column:
            raise AssentError(f"sppo_soft: column is {self.column!r}; expected how the two columns' names begin")

    @property
    def needs(self) -> frozenset[Need]:
        return super().needs | {Need("column", f"{self.column}_{side}") for side in ("chosen", "rejected")}

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = scores.chosen.log_ratio, scores.rejected.log_ratio
        rate_w = scores.column(f"{self.column}_chosen").to(chosen)
        rate_l = scores.column(f"{self.column}_rejected").to(chosen)
        return squared_error(chosen, (rate_w - 0.5) / self.beta) + squared_error(rejected, (rate_l - 0.5) / self.beta)


@register
@dataclass(frozen=True)
class SPPOGroup(GroupObjective):
    r"""Mean over a group's completions of (x - (P - 1/2)/beta)^2, x the log-ratio in nats per sequence.

    beta: 1 / eta, as in sppo().  P: the completion's win rate, its ``score`` in the data, in [0, 1].
    Two completions of win rates 1 and 0 give half of sppo(beta).
    """

    beta: float = 0.001
    name = "sppo_group"
    paper, equation = "2405.00675", "4.7"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        ratio = scores.completions.log_ratio
        error = squared_error(ratio, (scores.score.to(ratio) - 0.5) / self.beta)
        return scores.sum_groups(error) / scores.sum_groups(error.new_ones(len(error)))


for _name in ("sppo", "sppo_soft", "sppo_group"):
    explain_foreign(_name, "eta", "the field is called beta and is 1 / eta")
