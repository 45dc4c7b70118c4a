"""A plain torch loop that trains a tiny causal language model on pairs with any pairwise objective."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from assent.objectives.base import Objective, RunInfo, State
from assent.objectives.reduction import step_loss
from assent.records import Pair
from assent.scores import Labels, PairScores, Scores
from assent.worlds import models


@dataclass(frozen=True)
class LoopConfig:
    """How a policy is trained: AdamW, linear warm-up over a tenth of the steps, then linear decay to zero.

    average: decay of the running mean of the weights, which is the policy that is evaluated and returned; single
    iterates of so small a model jump about by half a nat of KL.
    """

    epochs: int = 9
    batch: int = 64
    rate: float = 1e-3
    average: float = 0.97
    evaluations: int = 12
    seed: int = 0

    def steps(self, pairs: int) -> int:
        """Optimiser steps of a run on so many pairs."""
        return self.epochs * -(-pairs // self.batch)

    def stops(self, pairs: int) -> set[int]:
        """Steps after which a run is evaluated: denser at first, where the divergence grows fastest."""
        steps = self.steps(pairs)
        return {max(1, round(steps * ((i + 1) / self.evaluations) ** 1.7)) for i in range(self.evaluations)}


@dataclass(frozen=True)
class Encoded:
    """P pairs as tensors: ids [2, P, T] right-padded (chosen, rejected), reference log-probabilities [2, P] in nats.

    Labels are held densely, [P, L] with L the most labels of any pair; ``present`` marks the real ones.
    """

    ids: Tensor
    prompt: int
    ref_logp: Tensor
    annotators: tuple[str, ...]
    annotator: Tensor
    p: Tensor
    label_weight: Tensor
    present: Tensor

    def __len__(self) -> int:
        return self.ids.shape[1]

    def labels(self, rows: Tensor | None = None) -> Labels:
        """The labels of the pairs at ``rows`` (all by default), pair indices counted within ``rows``."""
        rows = torch.arange(len(self)) if rows is None else rows
        present = self.present[rows]
        pair = torch.arange(len(rows)).unsqueeze(1).expand_as(present)[present]
        return Labels(
            pair, self.annotator[rows][present], self.p[rows][present], weight=self.label_weight[rows][present]
        )

    def select(self, rows: Tensor) -> Encoded:
        """The pairs at ``rows``."""
        return Encoded(
            self.ids[:, rows],
            self.prompt,
            self.ref_logp[:, rows],
            self.annotators,
            self.annotator[rows],
            self.p[rows],
            self.label_weight[rows],
            self.present[rows],
        )


def encode(pairs: Sequence[Pair], tokenizer: Any, reference: Any, annotators: Sequence[str] | None = None) -> Encoded:
    """Tokens, labels and reference log-probabilities of pairs whose prompts all have the same number of tokens."""
    rows = [(str(pair.prompt), str(side)) for pair in pairs for side in (pair.chosen, pair.rejected)]
    flat, prompt = models.encode(tokenizer, rows)
    ids = flat.view(len(pairs), 2, -1).transpose(0, 1).contiguous()
    names = tuple(annotators or dict.fromkeys(label.annotator for pair in pairs for label in pair.labels))
    most = max(len(pair.labels) for pair in pairs)
    annotator = torch.zeros(len(pairs), most, dtype=torch.long)
    p = torch.full((len(pairs), most), 0.5)
    weight, present = torch.zeros(len(pairs), most), torch.zeros(len(pairs), most, dtype=torch.bool)
    for i, pair in enumerate(pairs):
        for j, label in enumerate(pair.labels):
            annotator[i, j], p[i, j], weight[i, j] = names.index(label.annotator), label.p, label.weight
            present[i, j] = True
    with torch.no_grad():
        ref = [_sequence_logps(reference, side, prompt) for side in ids]
    return Encoded(ids, prompt, torch.stack(ref), names, annotator, p, weight, present)


def _sequence_logps(model: Any, ids: Tensor, prompt: int, chunk: int = 512) -> Tensor:
    return torch.cat([models.token_logps(model, part, prompt)[0].sum(-1) for part in ids.split(chunk)])


@torch.no_grad()
def margins(model: Any, data: Encoded) -> Tensor:
    """Log-ratio gap [P] of the stored order under the model against the reference, nats per sequence."""
    chosen, rejected = (_sequence_logps(model, side, data.prompt) for side in data.ids)
    return (chosen - data.ref_logp[0]) - (rejected - data.ref_logp[1])


def batch_scores(model: Any, data: Encoded, rows: Tensor) -> PairScores:
    """Scores of the pairs at ``rows`` from one forward pass over both sides, trimmed to the longest of them."""
    ids = data.ids[:, rows].flatten(0, 1)
    ids = ids[:, : int((ids != 0).sum(1).max())]
    logp, mask = models.token_logps(model, ids, data.prompt)
    sums, lengths = logp.sum(-1).view(2, -1), mask.sum(-1).view(2, -1)
    labels = data.labels(rows)
    weight = labels.per_pair(labels.weight, len(rows))
    chosen, rejected = (Scores(sums[side], data.ref_logp[side, rows], lengths[side]) for side in (0, 1))
    target = labels.per_pair(labels.weight * labels.p, len(rows)) / weight
    return PairScores(chosen, rejected, weight=weight, target=target, labels=labels)


def batches(data: Encoded, config: LoopConfig) -> Iterator[Tensor]:
    """Rows of each step: shuffled, then grouped by length within windows of eight batches."""
    draw = torch.Generator().manual_seed(config.seed)
    length = (data.ids != 0).sum(-1).max(0).values
    for _ in range(config.epochs):
        window = torch.randperm(len(data), generator=draw).split(8 * config.batch)
        cut = [part for rows in window for part in rows[length[rows].argsort(stable=True)].split(config.batch)]
        for i in torch.randperm(len(cut), generator=draw):
            yield cut[i]


@dataclass
class Run:
    """What a training run leaves: the policy, the objective's last state, and one record per evaluation."""

    policy: Any
    state: State
    annotators: tuple[str, ...]
    curve: list[dict[str, float]] = field(default_factory=list)


def train(
    start: Any,
    data: Encoded,
    objective: Objective,
    config: LoopConfig,
    evaluate: Callable[[Any], Mapping[str, float]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Train a copy of ``start``; ``evaluate(policy)`` is called at :meth:`LoopConfig.stops` and its record kept."""
    policy = copy.deepcopy(start).requires_grad_(True).eval()  # no dropout in this model: eval is train
    mean = copy.deepcopy(start).requires_grad_(False).eval()
    adam = torch.optim.AdamW(policy.parameters(), lr=config.rate, weight_decay=0.0, betas=(0.9, 0.99))
    steps = config.steps(len(data))
    warm = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )
    run = Run(mean, objective.init(RunInfo(data.annotators)), data.annotators)
    stops = config.stops(len(data))
    recent: list[float] = []
    for step, rows in enumerate(batches(data, config), start=1):
        scores = batch_scores(policy, data, rows)
        loss = step_loss(objective, scores, run.state)
        sums = {name: value.detach() for name, value in objective.sums(scores, run.state).items()}
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        adam.step()
        schedule.step()
        _average(mean, policy, min(config.average, step / (step + 10)))
        run.state = objective.update(run.state, sums)
        recent.append(loss.item())
        if progress is not None:
            progress(step, steps)
        if evaluate is not None and step in stops:
            run.curve.append({"step": step, "loss": sum(recent) / len(recent), **evaluate(mean)})
            recent.clear()
    return run


@torch.no_grad()
def _average(mean: Any, policy: Any, decay: float) -> None:
    """Move the mean's weights towards the policy's by a share 1 - decay."""
    for kept, new in zip(mean.parameters(), policy.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
