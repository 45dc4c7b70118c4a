"""RPO: the likelihood of chosen responses as an adversarial regulariser of DPO.  arXiv:2405.16436.

The composition is ``dpo() + eta*beta*sft(per='sequence')``, the paper's cumulative form.  The world is that of the project's
sheet: one prompt, 20 arms, true rewards evenly in [-1, 1] on ten and -2 on ten that the data hold rarely (each side is a
given bad arm with probability .003), 300 Bradley-Terry pairs with equal arms dropped, a uniform reference, beta = .1,
Adam at rate .05.  A seed is the mean of 20 runs, so that five are the sheet's hundred.  Figures that the sheet gives
without a tolerance have .05, ratios a tenth.  No statement is made of the paper's bound, nor of its language models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators

GOOD, BAD, PAIRS, REPEATS, BETA = 10, 10, 300, 20, 0.1
STEPS = (100, 300, 1000, 3000)
VALUE = {0.0: (0.314, 0.114, -0.124, -0.142), 0.005: (0.472, 0.648, 0.675, 0.676), 0.05: (0.609, 0.714, 0.731, 0.732)}
"""True value after each of `STEPS`, by eta."""
ETAS = (0.0, 0.005, 0.05, 1.0)


@dataclass(frozen=True)
class Path:
    """value [S, M] after each step; at the end bad [M], the mass on bad arms, and likelihood [M], mean log pi(chosen)."""

    value: Tensor
    bad: Tensor
    likelihood: Tensor


def truth() -> Tensor:
    """Rewards [20]."""
    good = torch.linspace(-1, 1, GOOD, dtype=torch.float64)
    return torch.cat([good, torch.full((BAD,), -2.0, dtype=torch.float64)])


def draw(seeds: Sequence[int], repeats: int = REPEATS) -> tuple[Tensor, Tensor]:
    """Chosen and rejected arms [M, 300]; equal ones count for nothing."""
    p = torch.full((GOOD + BAD,), 0.003, dtype=torch.float64)
    p[:GOOD] = (1 - 0.003 * BAD) / GOOD
    runs = []
    for g in generators([100_000 + repeats * seed + i for seed in seeds for i in range(repeats)], 81):
        a, b = torch.multinomial(p.expand(2, -1), PAIRS, replacement=True, generator=g)
        first = torch.rand(PAIRS, generator=g, dtype=torch.float64) < torch.sigmoid(truth()[a] - truth()[b])
        runs.append((torch.where(first, a, b), torch.where(first, b, a)))
    chosen, rejected = (torch.stack(side) for side in zip(*runs, strict=True))
    return chosen, rejected


def train(eta: float, chosen: Tensor, rejected: Tensor, steps: Sequence[int] = STEPS) -> Path:
    """Logits of every run from 0 on its own pairs."""
    objective = parse(f"rpo(beta={BETA!r}, eta={eta!r})")
    kept = (chosen != rejected).double()
    share = (kept / kept.sum(1, keepdim=True)).flatten()
    reference = torch.full((chosen.numel(),), -math.log(GOOD + BAD), dtype=torch.float64)
    length = torch.ones_like(reference)
    theta = torch.zeros(len(chosen), GOOD + BAD, dtype=torch.float64, requires_grad=True)
    adam, values = torch.optim.Adam([theta], lr=0.05), []
    for step in range(1, steps[-1] + 1):
        logp = theta.log_softmax(1)
        sides = (Scores(logp.gather(1, arm).flatten(), reference, length) for arm in (chosen, rejected))
        (theta.grad,) = torch.autograd.grad((share * objective(PairScores(*sides))).sum(), theta)
        adam.step()
        if step in steps:
            values.append(theta.detach().softmax(1) @ truth())
    logp = theta.detach().log_softmax(1)
    likelihood = (share.reshape(chosen.shape) * logp.gather(1, chosen)).sum(1)
    return Path(torch.stack(values), logp[:, GOOD:].exp().sum(1), likelihood)


def overoptimisation(
    seeds: Sequence[int], steps: Sequence[int] = STEPS, repeats: int = REPEATS, etas: Sequence[float] = ETAS
) -> list[Claim]:
    """DPO chases arms that the data hardly hold; the likelihood term keeps it from them."""
    chosen, rejected = draw(seeds, repeats)
    found = {eta: train(eta, chosen, rejected, steps) for eta in etas}
    seedwise = lambda values: values.reshape(len(seeds), repeats).mean(1)  # noqa: E731
    value = {(eta, step): seedwise(path.value[i]) for eta, path in found.items() for i, step in enumerate(steps)}
    last, some = steps[-1], [eta for eta in etas if 0 < eta < 1]
    cells = {f"eta {eta:g}, {step} steps": v for (eta, step), v in value.items()}
    predicted = {f"eta {e:g}, {s} steps": v for e in VALUE for s, v in zip(steps, VALUE[e], strict=False)}
    predicted |= {f"eta 1, {last} steps": 0.338, "bad arms, eta 0": 0.35, "bad arms, eta 0.05": 0.014}
    predicted |= {"share below 0, eta 0": 0.36, "share below 0, eta 0.05": 0.0}
    for eta in (0.0, 0.05):
        cells[f"bad arms, eta {eta:g}"] = seedwise(found[eta].bad)
        cells[f"share below 0, eta {eta:g}"] = seedwise((found[eta].value[-1] < 0).double())
    rise = {f"eta {e:g}, {a} to {b}": value[e, b] - value[e, a]
            for e in some for a, b in pairwise(steps)}  # fmt: skip
    logp = {"eta 0": seedwise(found[0.0].likelihood) / -19.7, "eta 0.05": seedwise(found[0.05].likelihood) / -5.9}
    imitation = float(truth()[chosen[chosen != rejected]].mean())
    return [
        above("dpo_overoptimises", "DPO's true value falls as training goes on.", "paper", {},
              {f"{steps[0]} less {last} steps": value[0.0, steps[0]] - value[0.0, last]}, 0.0, seeds),
        above("regulariser_helps", "With the likelihood term the policy ends with more true value than DPO's.", "paper", {},
              {f"eta {e:g}": value[e, last] - value[0.0, last] for e in some}, 0.0, seeds),
        above("rises_throughout", "With eta from .005 to .05 the true value rises all the time.", "sheet", {}, rise, 0.0,
              seeds),
        above("large_eta_imitates", "Too large an eta imitates: eta = 1 ends below eta = .05.", "sheet", {},
              {"eta 0.05 less 1": value[0.05, last] - value[1.0, last]}, 0.0, seeds,
              shown={"chosen responses": imitation}),
        near("figures", "True value by eta and step, the mass on bad arms and the share of runs that end below 0.", "sheet",
             predicted, cells, 0.05, seeds),
        near("likelihood", "Mean log-probability of the chosen responses over the sheet's -19.7 and -5.9.", "sheet",
             dict.fromkeys(logp, 1.0), logp, 0.1, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="rpo",
    title="Provably Mitigating Overoptimization in RLHF: Your SFT Loss is Implicitly an Adversarial Regularizer",
    arxiv="2405.16436",
    objective="rpo()",
    statements=(overoptimisation,),
    formula_tests=("tests/objectives/test_rpo.py",),
    model_tests=("tests/papers/test_rpo_model.py",),
)
