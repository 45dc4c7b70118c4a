"""LCPO: expectation-maximisation that makes any pairwise loss robust to wrong labels.  Cao et al., arXiv:2509.24159.

Contract, part 5.  s = L(swapped) - L(stored) is the log-odds that the base loss gives the stored order (eq. 2); a label
by an annotator of reliability eta adds evidence; the posterior of the stored order, held constant, weighs both orders
(eq. 4, 5); reliabilities follow the mean of the posteriors (eq. 6, 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.errors import AssentError
from assent.objectives.base import Objective
from assent.objectives.parts import RunInfo, State, require, within
from assent.objectives.primitives import binary_cross_entropy
from assent.objectives.registry import register
from assent.objectives.wrapper import Around
from assent.robust.reliability import (
    CLAMP,
    Reliability,
    check,
    clamp,
    evidence,
    initial,
    label_is_right,
    mode_of,
)
from assent.scores import Labels, PairScores
from assent.shapes import PerLabel, PerPair


@register
@dataclass(frozen=True)
class LCPO(Around):
    r"""EM over the latent right order of each pair, with one reliability per annotator.

    base: any pairwise objective.
    reliability: "online" (moving average, one update per optimiser step), "crossfit" (estimated by the trainer from
        held-out margins, then fixed), "audit:DIR" (what ``assent audit --out DIR`` wrote), a number for all annotators,
        or {"name": number, "*": number}.
    start: reliability before anything is known; read by "online" and "crossfit".
    rate: weight of the new value in the moving average; read by "online".
    reading: "likelihood" is eq. 5, w softplus(-s) + (1 - w) softplus(s); "mixture" is w L(stored) + (1 - w) L(swapped).
    pool: labels of one pair share one truth (True), or each has its own, as in the paper (False).
    rounds: how often the folds are repeated; read by "crossfit".

    Reliability 1 (clamped to 1 - 1e-6) leaves the base loss in the reading "mixture", -log sigmoid(s) in "likelihood".
    At 1/2 the labels say nothing and the gradient is 0.
    """

    base: Objective
    reliability: Reliability = "online"
    start: float = 0.9
    rate: float = 0.1
    reading: str = "likelihood"
    pool: bool = True
    rounds: int = 1
    name = "lcpo"
    paper, equation = "2509.24159", "4-7"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "reliability", check(self.reliability))
        require(0 < self.start < 1, "lcpo", "start", self.start, "a probability strictly between 0 and 1")
        require(0 < self.rate <= 1, "lcpo", "rate", self.rate, "a number in (0, 1]")
        require(
            self.reading in ("likelihood", "mixture"),
            "lcpo",
            "reading",
            self.reading,
            "'likelihood' or 'mixture'",
        )
        whole = isinstance(self.rounds, int) and self.rounds >= 1
        require(whole, "lcpo", "rounds", self.rounds, "a whole number, 1 or more")
        for field, default in _unread(self.mode).items():
            if getattr(self, field) != default:
                raise AssentError(
                    f"lcpo: {field} is {getattr(self, field)!r}, but reliability={self.reliability!r} does not "
                    f"read it; leave {field} out or choose another reliability"
                )

    @property
    def mode(self) -> str:
        """ "online", "crossfit", "audit" or "fixed"."""
        return mode_of(self.reliability)

    def shown_fields(self) -> dict[str, Any]:
        return {k: v for k, v in super().shown_fields().items() if k not in _unread(self.mode)}

    def init(self, info: RunInfo) -> State:
        """eta [K] float64 for the run's annotators, and the base's own state."""
        return {"eta": initial(self.reliability, self.start, info.annotators)} | super().init(info)

    def logit(self, scores: PairScores, state: State | None = None) -> PerPair:
        """The induced log-odds s [P] of the stored order, in nats; carries grad."""
        return self.base.induced_logit(scores, within(self._state(scores, state), "base"))

    def posterior(self, scores: PairScores, state: State | None = None) -> PerPair:
        """P(stored order is right | labels) [P], no grad; the mean over the pair's labels when they are not pooled."""
        state = self._state(scores, state)
        return self._posterior(self.logit(scores, state).detach(), scores, state)[0]

    def label_posterior(self, scores: PairScores, state: State | None = None) -> PerLabel:
        """P(the label names the right order) [J], no grad; NaN for ties."""
        state = self._state(scores, state)
        _, w, labels = self._posterior(self.logit(scores, state).detach(), scores, state)
        correct = torch.where(labels.p > 0.5, w, 1 - w)
        return torch.where(labels.p == 0.5, torch.nan, correct)

    def __call__(self, scores: PairScores, state: State | None = None) -> PerPair:
        """The loss [P]: eq. 5, or the mixture reading."""
        state = self._state(scores, state)
        inner = within(state, "base")
        if self.reading == "likelihood":
            s = self.base.induced_logit(scores, inner)
            return binary_cross_entropy(s, self._posterior(s.detach(), scores, state)[0])
        stored, swapped = self.base.ordered(scores, inner), self.base.ordered(scores.swapped(), inner)
        w = self._posterior((swapped - stored).detach(), scores, state)[0]
        return w * stored + (1 - w) * swapped

    def marginal_nll(self, scores: PairScores, state: State | None = None) -> PerPair:
        """-log P(labels of the pair) [P], the quantity that EM never increases (eq. 3, pooled)."""
        state = self._state(scores, state)
        s, labels = self.logit(scores, state), self._labels(scores)
        eta = _eta(state, labels, s)
        right = labels.per_pair(torch.log(eta * labels.p + (1 - eta) * (1 - labels.p)), len(scores))
        wrong = labels.per_pair(torch.log(eta * (1 - labels.p) + (1 - eta) * labels.p), len(scores))
        return -torch.logaddexp(logsigmoid(s) + right, logsigmoid(-s) + wrong)

    def weights(self, scores: PairScores) -> PerPair:
        """A pair counts once whatever its number of labels (pooled); else once per label."""
        weights = super().weights(scores)
        if scores.labels is None or not self.pool:
            return weights
        ones = torch.ones_like(scores.labels.p).to(weights)
        return weights / scores.labels.per_pair(ones, len(scores)).clamp_min(1)

    def sums(self, scores: PairScores, state: State) -> dict[str, Tensor]:
        """Per annotator: weighted sum of P(the annotator was right) and weighted count; gold labels left out."""
        with torch.no_grad():
            _, w, labels = self._posterior(self.logit(scores, state), scores, state)
            right = label_is_right(w, labels.p, _eta(state, labels, w)).double()
            weight = torch.ones_like(right) if labels.weight is None else labels.weight.to(right)
            if scores.weight is not None:  # rows that only fill up a batch carry weight 0
                weight = weight * (scores.weight[labels.pair] > 0)
            if labels.gold is not None:
                weight = weight * ~labels.gold
            zeros = torch.zeros_like(state["eta"])
            own = {
                "right": zeros.index_add(0, labels.annotator, weight * right),
                "count": zeros.index_add(0, labels.annotator, weight),
            }
        return own | super().sums(scores, state)

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        """eq. 7 for the annotators of the step (mode "online"); the others keep their reliability."""
        new = super().update(state, sums)
        eta = state["eta"]
        if self.mode == "online":
            mean = sums["right"] / sums["count"].clamp_min(1e-12)
            eta = torch.where(sums["count"] > 0, clamp((1 - self.rate) * eta + self.rate * mean), eta)
        return {"eta": eta} | new

    def _state(self, scores: PairScores, state: State | None) -> State:
        if state is not None:
            return state
        last = -1 if scores.labels is None or len(scores.labels) == 0 else int(scores.labels.annotator.max())
        names = RunInfo().annotators if last < 1 else tuple(str(i) for i in range(last + 1))
        return self.init(RunInfo(names))

    def _labels(self, scores: PairScores) -> Labels:
        """The data's labels, or one by a single annotator for each pair."""
        if scores.labels is not None:
            return scores.labels
        pairs = torch.arange(len(scores), device=scores.chosen.logp.device)
        p = scores.ones().detach() if scores.target is None else scores.target
        return Labels(pairs, torch.zeros_like(pairs), p)

    def _posterior(self, s: PerPair, scores: PairScores, state: State) -> tuple[PerPair, PerLabel, Labels]:
        """P(stored order is right) of each pair [P] and as each label sees it [J]; no grad."""
        with torch.no_grad():
            labels = self._labels(scores)
            says = evidence(labels.p.to(s), _eta(state, labels, s))
            if self.pool:
                w = torch.sigmoid(s + labels.per_pair(says, len(scores)))
                return w, w[labels.pair], labels
            each = torch.sigmoid(s[labels.pair] + says)
            weight = torch.ones_like(each) if labels.weight is None else labels.weight.to(each)
            total = labels.per_pair(weight, len(scores)).clamp_min(1e-30)
            return labels.per_pair(weight * each, len(scores)) / total, each, labels


def _eta(state: State, labels: Labels, like: Tensor) -> PerLabel:
    """The reliability behind each label [J]; gold labels are as good as certain."""
    eta = state["eta"].to(like)[labels.annotator]
    return eta if labels.gold is None else torch.where(labels.gold, 1 - CLAMP, eta)


def _unread(mode: str) -> dict[str, Any]:
    """The fields that a mode does not read, with their defaults."""
    read = {"online": {"start", "rate"}, "crossfit": {"start", "rounds"}}.get(mode, set())
    return {k: v for k, v in {"start": 0.9, "rate": 0.1, "rounds": 1}.items() if k not in read}
