"""Where the probability goes: softmax policies whose chosen, rejected and unseen responses share parameters.

`Geometry` is one prompt with logits F theta; `draw` gives small MLPs over four prompts, each with its pair among ten
responses and two responses that no pair names.  Policies train on full batches; the start is the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators

PROMPTS, RESPONSES = 4, 10


def geometry(objective: Objective, steps: Sequence[int], lr: float = 0.5) -> Tensor:
    """Probabilities [S, 3] of chosen, rejected and the steep unseen response after each of ``steps``, rising.

    Ten responses with logits F theta, theta = 0 at the start: rows (1, .5, 0), (1, -.5, 0), (0, 2, 0), others 0.
    """
    features = torch.zeros(RESPONSES, 3, dtype=torch.float64)
    features[:3, :2] = torch.tensor([[1.0, 0.5], [1.0, -0.5], [0.0, 2.0]])
    theta, path = torch.zeros(3, dtype=torch.float64, requires_grad=True), []
    ref, length = torch.full((1,), 0.1, dtype=torch.float64).log(), torch.ones(1, dtype=torch.float64)
    for step in range(steps[-1] + 1):
        logp = (features @ theta).log_softmax(0)
        if step in steps:
            path.append(logp.detach()[:3].exp())
        (slope,) = torch.autograd.grad(
            objective(PairScores(Scores(logp[:1], ref, length), Scores(logp[1:2], ref, length))).sum(), theta
        )
        theta = (theta - lr * slope).detach().requires_grad_(True)
    return torch.stack(path)


@dataclass(frozen=True)
class Start:
    """M policies 4-32-32-10 with ReLU, parameters stacked; own [M, 2]: what each puts on the pair of a prompt."""

    parameters: tuple[Tensor, ...]
    own: Tensor


def logps(parameters: Sequence[Tensor]) -> Tensor:
    """Log-probabilities [M, 4, 10] of all responses to all prompts (one-hot inputs)."""
    first, b1, second, b2, third, b3 = parameters
    hidden = (first + b1).relu()
    hidden = (hidden @ second + b2).relu()
    return (hidden @ third + b3).log_softmax(2)


def draw(seeds: Sequence[int], own: Sequence[tuple[float, float]], steps: int = 1500, width: int = 32) -> Start:
    """Policies for each start (chosen, rejected) and seed, fitted to it with the rest shared evenly; [len(own) x seeds]."""
    runs = []
    for g in generators(seeds, 31):
        shapes = ((PROMPTS, width), (1, width), (width, width), (1, width), (width, RESPONSES), (1, RESPONSES))
        fans = (PROMPTS, PROMPTS, width, width, width, width)
        uniform = [2 * torch.rand(*shape, generator=g, dtype=torch.float64) - 1 for shape in shapes]
        runs.append([u / fan**0.5 for u, fan in zip(uniform, fans, strict=True)])
    parameters = [torch.stack(p).repeat(len(own), 1, 1).requires_grad_(True) for p in zip(*runs, strict=True)]
    shares = torch.tensor(own, dtype=torch.float64).repeat_interleave(len(seeds), 0)
    goal = ((1 - shares.sum(1)) / (RESPONSES - 2))[:, None, None].repeat(1, PROMPTS, RESPONSES)
    prompt = torch.arange(PROMPTS)
    goal[:, prompt, prompt], goal[:, prompt, PROMPTS + prompt] = shares[:, :1], shares[:, 1:]
    adam = torch.optim.Adam(parameters, lr=5e-3)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 5e-3 * (1 - step / steps)
        _descend(adam, parameters, -(goal * logps(parameters)).sum())
    return Start(tuple(p.detach() for p in parameters), shares)


def train(objective: Objective, start: Start, steps: Sequence[int], lr: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Log-probabilities of chosen and rejected [S, M, 4] after each of ``steps``, rising; Adam, full batch."""
    parameters = [p.clone().requires_grad_(True) for p in start.parameters]
    adam, path = torch.optim.Adam(parameters, lr=lr), []
    prompt, ref = torch.arange(PROMPTS), logps(start.parameters)
    ref_w, ref_l = ref[:, prompt, prompt].reshape(-1), ref[:, prompt, PROMPTS + prompt].reshape(-1)
    for step in range(steps[-1] + 1):
        logp = logps(parameters)
        w, l = logp[:, prompt, prompt], logp[:, prompt, PROMPTS + prompt]
        if step in steps:
            path.append((w.detach(), l.detach()))
        pairs = PairScores(Scores(w.reshape(-1), ref_w), Scores(l.reshape(-1), ref_l))
        _descend(adam, parameters, objective(pairs).sum() / PROMPTS)
    chosen, rejected = (torch.stack(side) for side in zip(*path, strict=True))
    return chosen, rejected


def _descend(adam: torch.optim.Adam, parameters: Sequence[Tensor], loss: Tensor) -> None:
    for p, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        p.grad = slope
    adam.step()
