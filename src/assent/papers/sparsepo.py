"""SparsePO: learned sparse masks on every token's log-ratio and KL.  Findings of EMNLP 2025, arXiv:2410.05102.

The composition is ``sparsepo()``.  The world is that of the project's sheet: texts of 10 tokens out of 5, a policy that sees
the token before, reward 1.5 for a 1 after a 0 and -1.5 for a 2 after a 0, 2000 pairs labelled by Bradley-Terry, beta = .8 where
not said.  A mask is ReLU of one number a context, 1 at the start.  Adam at .05 for 200 steps, which the sheet finds enough, and
its full 600 for the penalised mask, which still moves at 200.  The sheet's figures come from one seed: the tolerance is .1 of a
reward or a nat, .25 for masks.  Not stated, since they need language models: win rates, reasoning, code, masks of activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds import contexts

VOCABULARY, LENGTH = 5, 10
SIGNAL = 0
"""The context after which tokens differ in reward."""
FRONTIER = {
    "dpo .8": ("dpo(beta=0.8)", 2.15, 1.37), "dpo 1.2": ("dpo(beta=1.2)", 1.41, 0.61),
    "dpo 1.6": ("dpo(beta=1.6)", 1.05, 0.34), "tdpo1 .8": ("tdpo1(beta=0.8)", 1.68, 1.02),
    "tdpo1 1.6": ("tdpo1(beta=1.6)", 0.97, 0.31), "common .4": ("sparsepo(beta=0.4, lam_u=0.0, lam_d=0.0)", 1.44, 0.88),
    "common .8": ("sparsepo(beta=0.8, lam_u=0.0, lam_d=0.0)", 1.04, 0.43),
    "common + L1 .8": ("sparsepo(beta=0.8, lam_u=0.003, lam_d=0.003)", 1.84, 1.52),
    "two masks .8": ("sparsepo(beta=0.8, lam_u=0.0, lam_d=0.0, mask_u='u', mask_d='d')", None, None),
}  # fmt: skip
"""Loss, E[r] and KL."""
MASKS = {"common .8": (1.85, 0.44, 0.51, 0.56, 0.42, 0.56), "common + L1 .8, long": (0.53, 0.0, 0.0, 0.0, 0.0, 0.0)}
"""Masks by context: the token before, then the start."""


def gain() -> Tensor:
    """Reward of each token in each context [6, 5]."""
    values = torch.zeros(VOCABULARY + 1, VOCABULARY, dtype=torch.float64)
    values[SIGNAL, 1], values[SIGNAL, 2] = 1.5, -1.5
    return values


@dataclass(frozen=True)
class Run:
    """Masks on log-ratios [M, 6] (None without), E[r] and KL [M]."""

    mask: Tensor | None
    reward: Tensor
    kl: Tensor


def fit(world: contexts.Pairs, text: str, steps: int = 200) -> Run:
    """A policy and its masks."""
    objective, start = parse(text), world.start()
    ones = torch.ones_like(start[..., :1])
    masked, apart = "sparsepo" in text, "mask_u" in text

    def loss(theta: Tensor, *masks: Tensor) -> Tensor:
        values = [torch.relu(m) for m in masks]
        columns = dict(zip("ud", values, strict=True)) if apart else None
        found = contexts.scores(theta, world, columns, values[0] if values and not apart else None)
        return contexts.mean_loss(objective, found, len(theta))

    parameters, _ = contexts.train(loss, [start, *[ones] * (masked + apart)], steps=steps, lr=0.05)
    outcome = contexts.outcome(parameters[0], world.gain, LENGTH)
    return Run(torch.relu(parameters[1])[..., 0] if masked else None, *outcome)


def lead(mask: Tensor) -> Tensor:
    """The mask of the signal context less the largest other, [M]."""
    return mask[:, SIGNAL] - mask[:, [c for c in range(mask.shape[1]) if c != SIGNAL]].max(1).values


def between(frontier: Sequence[Run], found: Run) -> Tensor:
    """Reward of the frontier at the KL of ``found``, linear between its runs and the reference, less that of ``found``."""
    kl = torch.stack([torch.zeros_like(found.kl), *(run.kl for run in frontier)], 1)
    reward = torch.stack([torch.zeros_like(found.kl), *(run.reward for run in frontier)], 1)
    right = torch.searchsorted(kl, found.kl[:, None]).clamp(1, kl.shape[1] - 1)
    (k0, k1), (r0, r1) = (x.gather(1, torch.cat([right - 1, right], 1)).T for x in (kl, reward))
    return r0 + (r1 - r0) * ((found.kl - k0) / (k1 - k0)).clamp(max=1.0) - found.reward


def masks(seeds: Sequence[int], pairs: int = 2000, steps: int = 200, few: int = 200) -> list[Claim]:
    """Where the masks go, and what the policies reach."""
    draw = lambda n: contexts.draw(  # noqa: E731
        seeds, gain(), contexts.neighbours(VOCABULARY), pairs=n, length=LENGTH, salt=71
    )
    world, small = draw(pairs), draw(few)
    found = {name: fit(world, text, steps) for name, (text, _, _) in FRONTIER.items()}
    less = {name: fit(small, FRONTIER[name][0], steps) for name in ("common .8", "two masks .8")}
    found["common + L1 .8, long"] = fit(world, FRONTIER["common + L1 .8"][0], 3 * steps)
    told = {k: v for k, v in FRONTIER.items() if v[1] is not None}
    others = [c for c in range(VOCABULARY + 1) if c != SIGNAL]
    # DPO's frontier at SparsePO's KL, straight between its temperatures; beyond them the nearest one bounds it
    dpo = [found[f"dpo {b}"] for b in ("1.6", "1.2", ".8")]
    behind = {name: between(dpo, found[name]) for name in ("common .4", "common .8", "common + L1 .8")}
    cell = lambda name, c: f"{name}, {'start' if c == VOCABULARY else c}"  # noqa: E731
    named = {}
    for name, row in MASKS.items():
        named |= {cell(name, c): (found[name].mask[:, c], row[c]) for c in range(VOCABULARY + 1)}
    zero = {cell("common + L1 .8", c): found["common + L1 .8"].mask[:, c] for c in others}
    return [
        above("localises", "The largest mask is that of the context in which tokens differ in reward (lead on the next).",
              "paper", {}, {n: lead(found[n].mask) for n in ("common .8", "common + L1 .8", "two masks .8")}, 0.0, seeds),
        near("sparse", "With the penalty the masks of all other contexts are exactly 0.", "paper", dict.fromkeys(zero, 0.0),
             zero, 0.0, seeds),
        above("frontier", "At equal KL the learned masks reach more reward than DPO.", "paper", {},
              {k: -v for k, v in behind.items()}, 0.0, seeds),
        above("dpo_ahead", "At equal KL DPO reaches more reward than the learned masks.", "sheet", {}, behind, 0.0, seeds),
        near("masks", "Masks by context.", "sheet", {k: v for k, (_, v) in named.items()},
             {k: m for k, (m, _) in named.items()}, 0.25, seeds),
        near("reward", "E[r].", "sheet", {k: v[1] for k, v in told.items()}, {k: found[k].reward for k in told}, 0.1, seeds),
        near("kl", "KL to the reference, nats per sequence.", "sheet", {k: v[2] for k, v in told.items()},
             {k: found[k].kl for k in told}, 0.1, seeds),
        above("few_pairs", "With 200 pairs a common mask still leads in that context.", "sheet", {"common": 0.5},
              {"common": lead(less["common .8"].mask)}, 0.0, seeds,
              shown={"lead of two masks": float(lead(less["two masks .8"].mask).mean())}),
        above("two_masks_fail", "With 200 pairs independent masks pick a wrong context (share of runs less 1/2).", "sheet", {},
              {"two masks": (lead(less["two masks .8"].mask) < 0).double() - 0.5}, 0.0, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="sparsepo",
    title="SparsePO: Controlling Preference Alignment of LLMs via Sparse Token Masks",
    arxiv="2410.05102",
    objective="sparsepo()",
    statements=(masks,),
    formula_tests=("tests/objectives/test_sparsepo.py", "tests/weighting/test_token_masks.py"),
    model_tests=("tests/papers/test_sparsepo_model.py",),
)
