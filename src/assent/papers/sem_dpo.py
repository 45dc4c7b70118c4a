"""Sem-DPO: pairs weighed by how near the chosen rewrite stays to the prompt.  arXiv:2507.20133.

The composition is ``drift_weighted(dpo())``.  The world is that of the project's sheet: 50 prompts of 8 rewrites, unit
embeddings in 16 dimensions, rewrite j = e(x) + drift_j N(0, I) / 4 renormalised with drift evenly in [.1, 1.8]; annotators
like drift, r = 2 (d - mean of the prompt's d) / sd(d) + N(0, .5^2) with sd over all d; Bradley-Terry labels weighed by
their probability over all ordered pairs, beta = 1, a tabular policy, a uniform reference, the figures those of the optimum.
Figures that the sheet gives without a tolerance have .05.  Its figures at alpha = 8, where its descent had not arrived,
are not checked.  The sheet leaves the second world's constants open; they are kappa = 3 and flips with probability d / 4,
fixed before any run.  No statement is made of the paper's bound on drift (its constants are not known to the project),
nor of image scores, which no small world has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import parse, step_loss
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import Column, PairScores, Scores
from assent.weighting.drift_weighted import cosine_distance
from assent.worlds import population, tabular
from assent.worlds.solving import solve
from assent.worlds.stacked import generators

PROMPTS, REWRITES, WIDTH = 50, 8, 16
KAPPA = 3.0
SHEET = {0: (0.451, 2.805), 1: (0.464, 2.698), 2: (0.480, 2.560), 4: (0.525, 2.165)}
"""Mean cosine and mean reward by alpha."""
GOLD_ALPHAS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True)
class World:
    """reward, distance [M, X, Y]: what annotators like, and cosine distances between prompt and rewrite."""

    reward: Tensor
    distance: Tensor


def draw(seeds: Sequence[int], prompts: int = PROMPTS) -> World:
    """One run a seed."""
    runs = []
    for g in generators(seeds, 61):
        normal = lambda *shape, at=g: torch.randn(*shape, generator=at, dtype=torch.float64)  # noqa: E731
        unit = torch.nn.functional.normalize(normal(prompts, WIDTH), dim=-1)[:, None].expand(-1, REWRITES, -1)
        drift = torch.linspace(0.1, 1.8, REWRITES, dtype=torch.float64)[:, None]
        moved = unit + drift * normal(prompts, REWRITES, WIDTH) / 4
        d = cosine_distance(unit.flatten(0, 1), moved.flatten(0, 1)).reshape(prompts, REWRITES)
        reward = 2 * (d - d.mean(1, keepdim=True)) / d.std(correction=0) + 0.5 * normal(prompts, REWRITES)
        runs.append((reward, d))
    return World(*(torch.stack(parts) for parts in zip(*runs, strict=True)))


def sem_dpo(alpha: float) -> str:
    """The paper's loss."""
    return f"sem_dpo(beta=1.0, alpha={float(alpha)!r})"


def columns(chosen: Tensor, rejected: Tensor) -> dict[str, Column]:
    """What the loss reads of the pairs of any shape: the distances of both sides."""
    return {
        "distance_chosen": Column(chosen.reshape(-1), exchange="distance_rejected"),
        "distance_rejected": Column(rejected.reshape(-1), exchange="distance_chosen"),
    }


def policy(world: World, alpha: float, logit: Tensor | None = None, symmetric: bool = False) -> Tensor:
    """Log-probabilities [M, X, Y] of the optimum on labels with log-odds ``logit``, those of the reward where None.

    symmetric: the larger of the two distances in place of the chosen side's.
    """
    logit = population.differences(world.reward) if logit is None else logit
    sides = [world.distance[..., side] for side in population.orders(REWRITES)]
    if symmetric:
        sides = [torch.maximum(*sides)] * 2
    read, objective, prompts = columns(*sides), parse(sem_dpo(alpha)), world.reward[..., 0].numel()
    loss = lambda theta: prompts * step_loss(objective, population.pair_scores(theta, logit, read))  # noqa: E731
    # weights of e^(-2 alpha) leave little gradient, so the optimum needs a finer end than other worlds'
    return solve(loss, torch.zeros_like(world.reward), max_iter=1000, tol=1e-9).log_softmax(-1)


def mean(logp: Tensor, values: Tensor) -> Tensor:
    """Mean of ``values`` under the policies, [M, X, Y] -> [M]."""
    return (logp.exp() * values).sum(-1).mean(-1)


def population_world(seeds: Sequence[int], prompts: int = PROMPTS) -> list[Claim]:
    """What the weight does to the optimum: fidelity, reward, and the shaped reward that explains both."""
    world = draw(seeds, prompts)
    best = {alpha: policy(world, alpha) for alpha in SHEET}
    cosine = {alpha: 1 - mean(logp, world.distance) for alpha, logp in best.items()}
    reward = {alpha: mean(logp, world.reward) for alpha, logp in best.items()}
    shaped = {a: (world.reward - a * world.distance).log_softmax(-1) for a in SHEET}
    deviation = {f"alpha {a}": (best[a].exp() - shaped[a].exp()).abs().max() for a in SHEET}
    kept = (policy(world, 4, symmetric=True).exp() - best[0].exp()).abs().max()
    steps = tuple(zip(tuple(SHEET), tuple(SHEET)[1:], strict=False))
    levels = {f"cosine, alpha {a}": cosine[a] for a in SHEET} | {f"reward, alpha {a}": reward[a] for a in SHEET}
    predicted = {f"{what}, alpha {a}": SHEET[a][i] for i, what in enumerate(("cosine", "reward")) for a in SHEET}
    return [
        above("similarity_rises", "Similarity to the prompt rises with alpha.", "paper", {},
              {f"alpha {b} over {a}": cosine[b] - cosine[a] for a, b in steps}, 0.0, seeds),
        above("preference_rises", "The score that labels the pairs is above DPO's (mean reward).", "paper", {},
              {f"alpha {a} over DPO": reward[a] - reward[0] for a in SHEET if a}, 0.0, seeds),
        above("preference_falls", "At the optimum that score is traded away: mean reward falls with alpha.", "sheet", {},
              {f"alpha {a} over {b}": reward[a] - reward[b] for a, b in steps}, 0.0, seeds),
        near("shaped_reward", "The optimum is DPO's on the reward less alpha times the distance (largest difference of a "
             "probability).", "sheet", dict.fromkeys(deviation, 0.0), deviation, 1e-5, seeds),
        near("symmetric_weight", "A weight that is the same for both orders leaves DPO's optimum (largest difference of a "
             "probability, alpha = 4).", "sheet", {"larger of the distances": 0.0}, {"larger of the distances": kept},
             1e-5, seeds),
        near("figures", "Mean cosine and mean reward by alpha.", "sheet", predicted, levels, 0.05, seeds),
    ]  # fmt: skip


def gold(seeds: Sequence[int], prompts: int = PROMPTS) -> list[Claim]:
    """The second world: gold is r - kappa d, and drifted winners are mistaken more often.

    Flips do the weight's work before it: they lower the odds of a drifted winner, here by more than kappa would.
    """
    world = draw(seeds, prompts)
    true = world.reward - KAPPA * world.distance
    first, second = population.orders(REWRITES)
    flips = world.distance / 4
    right = torch.sigmoid(population.differences(world.reward))
    odds = torch.logit(right * (1 - flips[..., first]) + (1 - right) * flips[..., second])
    found, clean, means = {}, {}, {}
    for alpha in GOLD_ALPHAS:
        logp = policy(world, alpha, odds)
        found[alpha], clean[alpha] = (tabular.value(at, true) for at in (logp, policy(world, alpha)))
        means[f"E[gold], alpha {alpha:g}"] = float(mean(logp, true).mean())
    means["over DPO, no flips"] = float((clean[KAPPA] - clean[0.0]).mean())
    grid = torch.tensor(GOLD_ALPHAS, dtype=torch.float64)
    peak, unflipped = (grid[torch.stack(list(values.values())).argmax(0)] for values in (found, clean))
    return [
        above("gold_rises", "Where gold punishes drift, alpha = kappa has more of it than DPO (E[gold] - KL).", "sheet", {},
              {"over DPO": found[KAPPA] - found[0.0]}, 0.0, seeds, shown=means),
        near("best_alpha", "The best alpha (of 0, 1, 2, 3, 4, 6) is near kappa.", "sheet", {"best alpha": KAPPA},
             {"best alpha": peak}, 1.0, seeds, shown={"best alpha, no flips": float(unflipped.mean())}),
    ]  # fmt: skip


def sampled_cosine(seeds: Sequence[int], pairs: int, steps: int) -> dict[int, Tensor]:
    """Mean cosine [M] by alpha after plain gradient descent (rate 1, a prompt's loss the mean of its share of the pairs)."""
    world = draw(seeds)
    rows = []
    for reward, g in zip(world.reward, generators(seeds, 62), strict=True):
        prompt = torch.randint(PROMPTS, (pairs,), generator=g)
        first = torch.randint(REWRITES, (pairs,), generator=g)
        second = (first + 1 + torch.randint(REWRITES - 1, (pairs,), generator=g)) % REWRITES
        gap = reward[prompt, first] - reward[prompt, second]
        kept = torch.rand(pairs, generator=g, dtype=torch.float64) < torch.sigmoid(gap)
        sides = torch.where(kept, first, second), torch.where(kept, second, first)
        rows.append(torch.stack([prompt * REWRITES + side for side in sides]))
    at, found = torch.stack(rows, 1), {}
    distance = [world.distance.flatten(1).gather(1, side) for side in at]
    reference = torch.full((at[0].numel(),), -math.log(REWRITES), dtype=torch.float64)
    for alpha in (0, 1, 4):
        theta, objective = torch.zeros_like(world.reward), parse(sem_dpo(alpha))
        for _ in range(steps):
            theta.requires_grad_(True)
            logp = theta.log_softmax(-1).flatten(1)
            scores = (Scores(logp.gather(1, side).flatten(), reference) for side in at)
            loss = step_loss(objective, PairScores(*scores, columns=columns(*distance)))
            (slope,) = torch.autograd.grad(len(seeds) * PROMPTS * loss, theta)
            theta = theta.detach() - slope
        found[alpha] = 1 - mean(theta.log_softmax(-1), world.distance)
    return found


def sampled(seeds: Sequence[int], pairs: int = 2000, steps: int = 1500) -> list[Claim]:
    """2000 sampled pairs, each with the order of one judgement."""
    cosine = sampled_cosine(seeds, pairs, steps)
    rises = {"alpha 1 over 0": cosine[1] - cosine[0], "alpha 4 over 1": cosine[4] - cosine[1]}
    return [
        above("sampled_similarity", "On 2000 sampled pairs similarity rises from alpha 0 to 1 to 4.", "sheet", {}, rises, 0.0,
              seeds, shown={f"cosine, alpha {a}": float(value.mean()) for a, value in cosine.items()})
    ]  # fmt: skip


PAPER = Paper(
    slug="sem-dpo",
    title="Sem-DPO: Mitigating Semantic Inconsistency in Preference Optimization for Prompt Engineering",
    arxiv="2507.20133",
    objective="sem_dpo()",
    statements=(population_world, gold, sampled),
    formula_tests=("tests/weighting/test_drift_weighted.py",),
    model_tests=("tests/papers/test_sem_dpo_model.py",),
)
