"""RSO: statistical rejection sampling for preference pairs.  ICLR 2024, arXiv:2309.06657.

The composition is a source, ``--samples 64 --rejection 8:0.5 --pairing disjoint``, under ``dpo(beta=gamma)`` or ``hinge()``.
The sampler is the one that runs use (`sampling.rejection`); the worlds are those of the project's sheet (`worlds.rejection`,
beta = gamma = .5), read as 64 draws with replacement whose repeats count once, and 8 distinct draws for "sft".  Tolerances
that the sheet leaves open: .05 for divergences and rewards with 4 pairs a prompt, 10 % with 1, .15 for a share of seeds.
Not stated: win rates of T5 on summaries and dialogues, and the tournament ranking.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.sampling.rejection import Rejection, accept, chances
from assent.scores import PairScores, Scores
from assent.worlds import rejection
from assent.worlds.rejection import SOURCES
from assent.worlds.stacked import generators

LOSS = "dpo(beta=0.5)"
DIVERGENCE = {4: (0.234, 0.248, 0.150, 0.167), 1: (2.3, 1.9, 1.07, 1.26)}
REWARD = (3.391, 3.389, 3.417, 3.457)
STRESS = (2.96, 3.06, 2.35, 1.95)
"""The sheet's figures in the order of SOURCES; 4 and 1 pairs of a prompt."""


def keep(source: str, scores: np.ndarray, draws: np.random.Generator) -> list[int]:
    """The 8 candidates that "rso" or "best 8" keeps."""
    return accept(scores, Rejection(8, rejection.BETA if source == "rso" else 0.0), draws)


def sampler(seeds: Sequence[int], draws: int = 200_000, rounds: int = 800) -> list[Claim]:
    """Limits of the sampler, and the law and rate of what it accepts."""
    cold, hot, law, rate = [], [], [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 62])
        wrong = early = 0
        for _ in range(rounds):
            scores, start = rng.normal(size=20), rng.integers(2**32)
            best = np.argsort(-scores)[:8].tolist()
            wrong += accept(scores, Rejection(8, 1e-6), np.random.default_rng(start)) != best
            first = np.random.default_rng(start).permutation(20)[:8].tolist()
            early += accept(scores, Rejection(8, 1e9), np.random.default_rng(start)) != first
        cold.append(wrong / rounds)
        hot.append(early / rounds)
        scores, logits = rng.normal(size=12), rng.normal(size=12)
        sft = np.exp(logits) / np.exp(logits).sum()
        best_law = sft * np.exp(scores / 0.5)
        proposed = rng.choice(12, draws, p=sft)
        kept = proposed[rng.random(draws) < chances(scores, 0.5)[proposed]]
        law.append(0.5 * np.abs(np.bincount(kept, minlength=12) / len(kept) - best_law / best_law.sum()).sum())
        rate.append(len(kept) / draws / (best_law.sum() * np.exp(-scores.max() / 0.5)))
    return [
        near("cold", "At beta -> 0 the best k are accepted, best first: share of draws where not.", "sheet", {"share": 0.0},
             {"share": torch.tensor(cold)}, 0.0, seeds),
        near("hot", "At beta -> infinity the first k are accepted: share of draws where not.", "sheet", {"share": 0.0},
             {"share": torch.tensor(hot)}, 0.0, seeds),
        near("acceptance_rate", "Accepted share over E exp((r - largest) / beta), Theorem 1.", "paper", {"ratio": 1.0},
             {"ratio": torch.tensor(rate)}, 0.01, seeds),
        near("law", "Accepted independent proposals follow sft exp(r / beta): total variation.", "paper", {"distance": 0.002},
             {"distance": torch.tensor(law)}, 0.005, seeds),
    ]  # fmt: skip


def optimum(seeds: Sequence[int]) -> list[Claim]:
    """Over a full class the loss ends at sft exp(r / gamma) whatever pairs occur; gamma, not beta, is the policy's."""
    slopes = {"at r / gamma": [], "at r / beta": []}
    for g in generators(seeds, 63):
        reward, sft, weight = (torch.randn(6, generator=g, dtype=torch.float64) for _ in range(3))
        first, second = torch.triu_indices(6, 6, 1)
        law = (weight[first] + weight[second]).softmax(0)  # any law of pairs
        ref = sft.log_softmax(0)
        for name, scale in (("at r / gamma", 0.2), ("at r / beta", 0.5)):
            theta = (sft + reward / scale).requires_grad_()
            logp = theta.log_softmax(0)
            sides = (Scores(logp[side], ref[side]) for side in (first, second))
            target = torch.sigmoid(reward[first] - reward[second])
            loss = (law * parse("dpo(beta=0.2)")(PairScores(*sides, target=target))).sum()
            slopes[name].append(torch.autograd.grad(loss, theta)[0].abs().max())
    found = {name: torch.stack(values) for name, values in slopes.items()}
    return [
        near("optimum", "Largest slope of the population loss at sft exp(r / gamma), gamma .2.", "sheet", {"slope": 0.0},
             {"slope": found["at r / gamma"]}, 1e-12, seeds),
        above("beta_is_not_the_policys", "The slope at sft exp(r / beta), beta .5, is not 0.", "sheet", {},
              {"slope": found["at r / beta"]}, 1e-3, seeds),
    ]  # fmt: skip


def sources(seeds: Sequence[int], steps: int = 600) -> list[Claim]:
    """Which pairs lead nearest to the best policy, where the class holds the reward."""
    world, loss = rejection.draw(seeds), parse(LOSS)
    theta = {count: rejection.fit(loss, world, count, keep, steps) for count in (4, 1)}
    apart = {count: dict(zip(SOURCES, world.divergence(t), strict=True)) for count, t in theta.items()}
    gain = dict(zip(SOURCES, world.value(theta[4]), strict=True))
    order = {
        f"{count} pairs: {other} - rso": apart[count][other] - apart[count]["rso"]
        for count in (4, 1)
        for other in ("direct", "sft")
    }
    ratio = {s: apart[1][s] / told for s, told in zip(SOURCES, DIVERGENCE[1], strict=True)}
    return [
        above("rejection_is_nearest", "KL(best || policy) is lower with RSO's pairs than with others.", "paper", {}, order, 0.0,
              seeds),
        near("divergence", "KL(best || policy), 4 pairs of a prompt.", "sheet",
             dict(zip(SOURCES, DIVERGENCE[4], strict=True)), apart[4], 0.05, seeds),
        near("divergence_of_few", "KL(best || policy) over the sheet's figure, 1 pair of a prompt.", "sheet",
             dict.fromkeys(SOURCES, 1.0), ratio, 0.1, seeds),
        near("reward", "E[r], 4 pairs of a prompt.", "sheet", dict(zip(SOURCES, REWARD, strict=True)), gain, 0.05, seeds),
        near("share_of_seeds", "Share of seeds where RSO's KL is below that of sft's pairs.", "sheet", {"share": 0.7},
             {"share": (apart[4]["rso"] < apart[4]["sft"]).double()}, 0.15, seeds),
    ]  # fmt: skip


def stress(seeds: Sequence[int], steps: int = 600) -> list[Claim]:
    """Half of the reward lies outside the class: among high rewards, features and residual are opposed."""
    world = rejection.draw(seeds, residual=1.0)
    gain = dict(zip(SOURCES, world.value(rejection.fit(parse(LOSS), world, 4, keep, steps)), strict=True))
    return [
        above("rejection_learns_too_little", "E[r] is higher with direct or sft's pairs than with RSO's, and with RSO's than "
              "with the best 8.", "sheet", {}, {f"{a} - {b}": gain[a] - gain[b] for a, b in
              (("direct", "rso"), ("sft", "rso"), ("rso", "best 8"))}, 0.0, seeds),
        near("reward_under_stress", "E[r], 4 pairs of a prompt.", "sheet", dict(zip(SOURCES, STRESS, strict=True)), gain, 0.05,
             seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="rso",
    title="Statistical Rejection Sampling Improves Preference Optimization",
    arxiv="2309.06657",
    objective="hinge()",
    statements=(sampler, optimum, sources, stress),
    formula_tests=("tests/objectives/test_slic.py", "tests/sampling/test_rejection.py"),
    model_tests=("tests/papers/test_rso_model.py",),
)
