"""GRAO: group-relative alignment with a reference answer.  arXiv:2508.07750.

The composition is ``--logged group`` under ``grao()``; statistics are those of the group with the answer, the reading of the
paper that is defined where all samples lose.  The world is that of the project's sheet (`worlds.answers`), coldness 6, 3
and 0, 600 steps.  Tolerance of the sheet's figures, which it leaves open: .05.  Not stated: statistics over the samples
alone, noise in the judge, and the judgements of language models.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import GroupScores, Scores
from assent.worlds import answers
from assent.worlds.stacked import generators

COLD = (6.0, 3.0, 0.0)
ARMS = {"grao": "grao()", "no beta": "grao(beta=0.0)", "grpo": "grpo(beta=0.0)", "sft": "sft(per='sequence')"}
EARLY = {"grao, cold 6": 0.805, "sft, cold 6": 0.779, "grpo, cold 6": 0.179, "no beta, cold 6": 0.699}
LATE = {
    "quality": {
        "grao, cold 6": 0.812, "grpo, cold 6": 0.574, "grao, cold 3": 0.812, "grpo, cold 3": 0.869, "grao, cold 0": 0.887,
        "grpo, cold 0": 0.901,
    },
    "beats": {
        "grao, cold 6": 0.0, "grpo, cold 6": 0.50, "grao, cold 3": 0.0, "grpo, cold 3": 0.93, "grao, cold 0": 0.82,
        "grpo, cold 0": 0.999,
    },
    "answer": {"grao, cold 6": 0.999},
}  # fmt: skip
"""The sheet's figures: mean quality after 50 steps; quality, P(a sample beats the answer) and P(answer) after 600."""


def identities(seeds: Sequence[int], size: int = 9) -> list[Claim]:
    """Three terms have two effective weights; and the answer's advantage where every sample loses."""
    apart, scaled, lost = [], [], []
    for g in generators(seeds, 66):
        logp, score = (torch.randn(size, generator=g, dtype=torch.float64) for _ in range(2))
        own = _slope("grao(beta=0.5, lam=0.6)", logp, score)
        two = (0.5 + 0.6 / (size - 1)) / 1.6
        apart.append((own - 1.6 * _slope(f"grao(beta={two!r}, lam=0.0)", logp, score)).abs().max())
        scaled.append((own - _slope("grao(beta=0.5, lam=0.6)", logp, 3 * score + 2)).abs().max())
        defeat = torch.cat([torch.full((size - 1,), -1.0), torch.zeros(1)]).double()
        lost.append(_slope("grao(beta=1.0, lam=0.0)", logp, defeat)[-1])
    return [
        near("two_weights", "The gradient is 1 + lam times that of lam = 0 with beta' = (beta + lam/G)/(1 + lam).", "sheet",
             {"largest difference": 0.0}, {"largest difference": torch.stack(apart)}, 1e-12, seeds),
        near("scale", "a R + c in place of R changes nothing.", "sheet", {"largest difference": 0.0},
             {"largest difference": torch.stack(scaled)}, 1e-12, seeds),
        near("all_lose", "Where all 8 samples lose the answer's advantage is sqrt 8.", "sheet", {"advantage": 8**0.5},
             {"advantage": -torch.stack(lost)}, 1e-12, seeds),
    ]  # fmt: skip


def _slope(text: str, logp: Tensor, score: Tensor) -> Tensor:
    """The gradient in the log-probabilities [C] of one group of completions of one token."""
    logp = logp.clone().requires_grad_()
    length = torch.ones_like(score, dtype=torch.long)
    found = GroupScores(Scores(logp, None, length), torch.zeros_like(length), score)
    return torch.autograd.grad(parse(text)(found).sum(), logp)[0]


def learning(seeds: Sequence[int], early: int = 50, late: int = 600) -> list[Claim]:
    """From a cold start GRAO is faster than GRPO; whether it goes beyond the answer."""
    world = answers.draw(seeds, COLD)
    found: dict[int, dict[str, dict[str, Tensor]]] = {early: {}, late: {}}
    for arm, text in ARMS.items():
        thetas = answers.fit(parse(text), world, (early, late), answered=arm != "grpo")
        for step, theta in zip((early, late), thetas, strict=True):
            for name, values in world.measures(theta).items():
                cells = {f"{arm}, cold {c:g}": values[:, i] for i, c in enumerate(COLD)}
                found[step].setdefault(name, {}).update(cells)
    first, last = found[early]["quality"], found[late]["quality"]
    claims = [
        above("faster", "After 50 steps from a cold start GRAO's quality is above GRPO's.", "paper", {},
              {f"cold {c:g}": first[f"grao, cold {c:g}"] - first[f"grpo, cold {c:g}"] for c in COLD[:2]}, 0.0, seeds),
        above("higher", "After 600 steps GRAO's quality is above GRPO's.", "paper", {},
              {f"cold {c:g}": last[f"grao, cold {c:g}"] - last[f"grpo, cold {c:g}"] for c in COLD}, 0.0, seeds),
        above("transcends", "After 600 steps a sample beats the answer more often than not, P - 1/2.", "paper", {},
              {f"cold {c:g}": found[late]["beats"][f"grao, cold {c:g}"] - 0.5 for c in COLD}, 0.0, seeds),
        above("imitates_without_beta", "With beta = 0 it still imitates: quality above GRPO's after 50 steps from cold 6.",
              "sheet", {}, {"gap": first["no beta, cold 6"] - first["grpo, cold 6"]}, 0.0, seeds),
        near("early_quality", "Mean quality after 50 steps.", "sheet", EARLY, first, 0.05, seeds),
    ]  # fmt: skip
    names = {"quality": "Mean quality", "beats": "P(a sample beats the answer)", "answer": "P(answer)"}
    return claims + [
        near(f"late_{name}", f"{names[name]} after 600 steps.", "sheet", told, found[late][name], 0.05, seeds)
        for name, told in LATE.items()
    ]


PAPER = Paper(
    slug="grao",
    title="Learning to Align, Aligning to Learn: A Unified Approach for Self-Optimized Alignment",
    arxiv="2508.07750",
    objective="grao()",
    statements=(identities, learning),
    formula_tests=("tests/objectives/test_grao.py",),
    model_tests=("tests/papers/test_grao_model.py",),
)
