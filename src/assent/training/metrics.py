"""What is logged: TRL's names, kept as sums on the device and read only when logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.objectives.kinds import LabelledObjective
from assent.objectives.parts import within
from assent.robust.lcpo import LCPO
from assent.scores import GroupScores, PairScores
from assent.training.step import all_reduce

SHOWN = 20
"""With more annotators than this their reliabilities are logged as quantiles."""


def lcpo_terms(objective: Objective) -> list[tuple[LCPO, str]]:
    """The LCPO terms of an expression with the key of their state."""
    return [(t.objective, t.key) for t in objective.terms() if isinstance(t.objective, LCPO)]


def ranked_pairs(scores: GroupScores, value: Tensor) -> tuple[Tensor, Tensor]:
    """[G] each: pairs of unequal scores in a group that ``value`` [C] ranks as the scores do (ties half), and all of them."""
    same = scores.group[:, None] == scores.group[None, :]
    better = same & (scores.score[:, None] > scores.score[None, :])
    gap = value[:, None] - value[None, :]
    right = ((gap > 0).to(value) + 0.5 * (gap == 0).to(value)) * better
    return scores.sum_groups(right.sum(1)), scores.sum_groups(better.to(value).sum(1))


def _spread(scores: GroupScores, value: Tensor) -> Tensor:
    """Standard deviation of ``value`` [C] within each group [G]."""
    size = scores.sum_groups(torch.ones_like(value))
    mean = scores.sum_groups(value) / size
    return (scores.sum_groups((value - mean[scores.group]) ** 2) / size).sqrt()


class Metrics:
    """Weighted sums of metrics since they were last read.  A row of weight w counts as w rows.

    rewards/* in nats (the objective's implicit rewards, or a reward model's scores), rewards/accuracies the share of pairs
    whose chosen reward is larger (ties half), logps/* in nats per sequence, lcpo/noise_rate the mean of
    1 - P(a label is right).
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.terms = lcpo_terms(objective)
        self.names: list[str] = []
        self.total: Tensor | None = None

    @torch.no_grad()
    def add(self, scores: Any, state: Mapping[str, Tensor]) -> None:
        """Count the rows of ``scores``."""
        if isinstance(scores, PairScores):
            found = self._pairs(scores, state)
        else:
            found = self._groups(scores) if isinstance(scores, GroupScores) else self._completions(scores)
        self.names = list(found)
        flat = torch.stack([x.double() for pair in found.values() for x in pair])
        self.total = flat if self.total is None else self.total + flat

    def _pairs(self, scores: PairScores, state: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        weight = scores.ones().detach() if scores.weight is None else scores.weight
        count = weight.sum()
        chosen, rejected = self.objective.rewards(scores)
        margin = chosen - rejected
        values = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": margin,
            "rewards/accuracies": (margin > 0).to(margin) + 0.5 * (margin == 0).to(margin),
        }
        if "reward" not in scores.chosen.columns:  # a reward model gives no log-probability
            values |= {"logps/chosen": scores.chosen.logp, "logps/rejected": scores.rejected.logp}
        found = {name: ((weight * value).sum(), count) for name, value in values.items()}
        for i, (term, key) in enumerate(self.terms):
            name = "lcpo/noise_rate" if i == 0 else f"lcpo/{i}/noise_rate"
            found[name] = self._noise(term, scores, within(state, key))
        return found

    @staticmethod
    def _noise(term: LCPO, scores: PairScores, state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        right = term.label_posterior(scores, state)
        if scores.labels is None:
            weight = torch.ones_like(right) if scores.weight is None else scores.weight
        else:
            weight = torch.ones_like(right) if scores.labels.weight is None else scores.labels.weight
        weight = torch.where(right.isnan(), 0.0, weight.to(right))
        return (weight * (1 - right.nan_to_num())).sum(), weight.sum()

    @staticmethod
    def _groups(scores: GroupScores) -> dict[str, tuple[Tensor, Tensor]]:
        """Means over groups: log-probability, spread of the rewards, share of pairs of unequal scores that are ranked so."""
        side, weight = scores.completions, scores.ones() if scores.weight is None else scores.weight
        size = scores.sum_groups(torch.ones_like(side.logp))
        ratio = side.logp if side.ref_logp is None else side.log_ratio
        right, pairs = ranked_pairs(scores, ratio)
        return {
            "logps/completion": ((weight * scores.sum_groups(side.logp) / size).sum(), weight.sum()),
            "rewards/spread": ((weight * _spread(scores, ratio)).sum(), weight.sum()),
            "rewards/accuracies": ((weight * right).sum(), (weight * pairs).sum()),
        }

    def _completions(self, scores: Any) -> dict[str, tuple[Tensor, Tensor]]:
        weight = scores.columns.get("weight", torch.ones_like(scores.logp))
        found = {"logps/completion": ((weight * scores.logp).sum(), weight.sum())}
        if isinstance(self.objective, LabelledObjective) and "label" in scores.columns:
            label, reward = scores.columns["label"], self.objective.reward(scores)
            for side, share in (("chosen", label), ("rejected", 1 - label)):
                found[f"rewards/{side}"] = ((weight * share * reward).sum(), (weight * share).sum())
                found[f"logps/{side}"] = ((weight * share * scores.logp).sum(), (weight * share).sum())
        if scores.length is not None:
            found["nll/token"] = (-(weight * scores.logp).sum(), (weight * scores.length).sum())
        return found

    def read(self) -> dict[str, float]:
        """The means since the last reading, over all ranks; starts anew."""
        if self.total is None:
            return {}
        sums = all_reduce(self.total).reshape(-1, 2).cpu()
        self.total = None
        return {n: (s / c).item() if c > 0 else float("nan") for n, (s, c) in zip(self.names, sums, strict=True)}

    def reliabilities(self, state: Mapping[str, Tensor], annotators: Sequence[str]) -> dict[str, float]:
        """lcpo/reliability/<annotator>, or quantiles where there are more than SHOWN annotators."""
        out: dict[str, float] = {}
        for i, (_, key) in enumerate(self.terms):
            eta = within(state, key)["eta"].double().cpu()
            prefix = "lcpo/reliability" if i == 0 else f"lcpo/{i}/reliability"
            if len(annotators) <= SHOWN:
                out |= {f"{prefix}/{name}": value for name, value in zip(annotators, eta.tolist(), strict=True)}
            else:
                at = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=eta.dtype)
                values = torch.quantile(eta, at).tolist()
                out |= {f"{prefix}/q{round(100 * q):03d}": v for q, v in zip(at.tolist(), values, strict=True)}
        return out
