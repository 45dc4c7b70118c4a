"""Answers of 12 words whose worth is the number of key words among them: what grading degraded answers adds to a pair loss.

200 words, of which 0 to 19 are key, worth 1 each; an answer's share of key words is U(0, .6).  Pairs are labelled by
Bradley-Terry on worth.  A policy is an embedding [200, 16] and a direction u: its log-ratio of an answer is 10 u . h, h the
mean embedding of its words, and two heads grade 10 h.  R runs are trained side by side and share nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators

WORDS, KEYS, LENGTH, WIDTH, LEVELS = 200, 20, 12, 16, 4
SIDES = ("chosen", "rejected")
SCALE = 10.0


@dataclass(frozen=True)
class Answers:
    """words [R, 2, N, 12]: those of the chosen and of the rejected answers; held_out the same of fresh pairs of unequal worth,
    the better one first; seeds [R]: of the training's own draws."""

    words: Tensor
    held_out: Tensor
    seeds: tuple[int, ...]


def draw(seeds: Sequence[int], pairs: int, *, draws: int = 4, fresh: int = 3000) -> Answers:
    """``draws`` runs a seed."""
    runs, held_out = [], []
    for g in generators(seeds, 42):
        for _ in range(draws):
            both, worth = _answers(g, pairs)
            first = torch.rand(pairs, generator=g, dtype=torch.float64) < torch.sigmoid(worth[0] - worth[1])
            runs.append(torch.where(first[:, None], both, both.flip(0)))
            both, worth = _answers(g, 2 * fresh)  # one pair in ten is of equal worth
            told = (worth[0] != worth[1]).nonzero()[:fresh, 0]
            better = (worth[0] > worth[1])[told]
            held_out.append(torch.where(better[:, None], both[:, told], both[:, told].flip(0)))
    numbers = tuple(100 * seed + i for seed in seeds for i in range(draws))
    return Answers(torch.stack(runs), torch.stack(held_out), numbers)


def _answers(g: torch.Generator, pairs: int) -> tuple[Tensor, Tensor]:
    """Words [2, N, 12] and worth [2, N]."""
    share = 0.6 * torch.rand(2, pairs, 1, generator=g, dtype=torch.float64)
    key = torch.rand(2, pairs, LENGTH, generator=g, dtype=torch.float64) < share
    words = torch.where(
        key,
        torch.randint(KEYS, key.shape, generator=g),
        torch.randint(KEYS, WORDS, key.shape, generator=g),
    )
    return words, key.sum(2).double()


def bags(words: Tensor, kept: Tensor | None = None) -> Tensor:
    """Shares of the words [..., 200] among those kept; an answer of which nothing is left is 0."""
    kept = torch.ones_like(words, dtype=torch.float64) if kept is None else kept.double()
    counts = torch.zeros(*words.shape[:-1], WORDS, dtype=torch.float64).scatter_add_(-1, words, kept)
    return counts / kept.sum(-1, keepdim=True).clamp_min(1)


@dataclass(frozen=True)
class Fit:
    """embedding [R, 200, 16], direction [R, 16]; graded [R]: share of right degrees on the last step's degraded answers."""

    embedding: Tensor
    direction: Tensor
    graded: Tensor

    def accuracy(self, world: Answers) -> Tensor:
        """Share of fresh pairs whose better answer the log-ratio names, [R]."""
        value = _value(self.embedding, self.direction)
        told = torch.stack([v[words].mean(2) for v, words in zip(value, world.held_out, strict=True)])
        return (told[:, 0] > told[:, 1]).double().mean(1)


def fit(
    objective: Objective, world: Answers, marked: Tensor, *, shuffled: bool = False, steps: int = 400, lr: float = 0.02
) -> Fit:
    """Full-batch Adam with an l2 of 1e-3; every step draws a degree for each answer and takes marked words out.

    marked [200] bool: the words that the extractor takes for key.  A marked word goes with probability degree / 3.
    shuffled: the degrees that the heads are told are drawn apart from the degrees of the answers.
    """
    runs, _, pairs, _ = world.words.shape
    draws = [torch.Generator().manual_seed(7919 * seed + 43) for seed in world.seeds]
    shapes = ((WORDS, WIDTH), (WIDTH,), (2, WIDTH, LEVELS), (2, LEVELS))
    start = [[0.1 * torch.randn(*shape, generator=g, dtype=torch.float64) for shape in shapes] for g in draws]
    embedding, direction, heads, bias = parameters = [
        torch.stack(p).requires_grad_(True) for p in zip(*start, strict=True)
    ]
    adam = torch.optim.Adam(parameters, lr=lr, weight_decay=1e-3)
    clean, hit = bags(world.words), marked[world.words]
    known = hit.any(3).transpose(0, 1)  # nothing can be taken out where no word is marked
    grades = any(need.kind == "view" for need in objective.needs)
    graded = torch.zeros(runs, dtype=torch.float64)
    for _ in range(steps):
        log_ratio = SCALE * torch.einsum("rsnw,rw->srn", clean, _value(embedding, direction)).flatten(1)
        views = {}
        if grades:
            degree, other, out = (
                torch.stack(x) for x in zip(*(_degrees(g, hit.shape[1:]) for g in draws), strict=True)
            )
            each = torch.einsum("rwd,rsdl->rswl", SCALE * embedding, heads)
            logits = (bags(world.words, ~(hit & out)) @ each + bias[:, :, None]).transpose(0, 1)
            told = (other if shuffled else degree).transpose(0, 1)
            views = {f"{side}@degraded": _graded(side, *x) for side, *x in zip(SIDES, logits, told, known, strict=True)}
            graded = (((logits.argmax(3) == told) & known).sum((0, 2)) / known.sum((0, 2))).double()
        nothing = torch.zeros_like(log_ratio[0])
        loss = objective(PairScores(Scores(log_ratio[0], nothing), Scores(log_ratio[1], nothing), views=views))
        slopes = torch.autograd.grad(loss.sum() / pairs, parameters, allow_unused=True)
        for p, slope in zip(parameters, slopes, strict=True):
            p.grad = slope
        adam.step()
    return Fit(embedding.detach(), direction.detach(), graded)


def _graded(side: str, logits: Tensor, degree: Tensor, known: Tensor) -> Scores:
    """The view of a side's degraded answers, from logits [R, N, L], degree and known [R, N]."""
    columns = {"degree": degree.flatten(), f"degree_{side}": logits.flatten(0, 1), "degree_known": known.flatten()}
    return Scores(torch.zeros(degree.numel(), dtype=torch.float64), columns=columns)


def _value(embedding: Tensor, direction: Tensor) -> Tensor:
    """What each word adds to u . h, times the number of words, [R, 200]."""
    return torch.einsum("rwd,rd->rw", embedding, direction)


def _degrees(g: torch.Generator, shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """A degree for each answer, one that has nothing to do with it, [2, N] each, and which words go if marked [2, N, 12]."""
    degree, other = (torch.randint(LEVELS, shape[:2], generator=g) for _ in range(2))
    return degree, other, torch.rand(*shape, generator=g) < degree[:, :, None] / (LEVELS - 1)
