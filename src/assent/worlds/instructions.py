"""Responses with attributes that a program can check, under prompts that ask for some of them: a linear reward model.

A response has features f [6] and attributes a in {-1, 1}^8; a prompt asks I in {-1, 0, 1}^8, 0 where it does not ask.  The true
reward is w . f + 2 sum_j I_j a_j.  A model is linear in [f, I a, |I|], 22 numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives.mapl import INTER, INTRA
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators

SEMANTIC, ATTRIBUTES, OBEYED = 6, 8, 2.0
MOST = 3


@dataclass(frozen=True)
class World:
    """M runs of N pairs, everything as model inputs [M, N, 22]: the pair, its views by name, and the naive pair.

    truth [M, 22]: the true reward.  absent [M, N]: no instruction tells the two responses apart.
    """

    truth: Tensor
    chosen: Tensor
    rejected: Tensor
    views: dict[str, Tensor]
    naive: tuple[Tensor, Tensor]
    absent: Tensor


def inputs(f: Tensor, a: Tensor, asked: Tensor) -> Tensor:
    """What the model reads of responses under prompts, [..., 22]."""
    return torch.cat([f, asked * a, asked.abs().expand_as(a)], -1)


def draw(seeds: Sequence[int], pairs: int, repeats: int = 1) -> World:
    """``repeats`` runs a seed, w, which the sheet leaves open, from N(0, I)."""
    drawn = [_draw_one(g, pairs) for g in generators(seeds, 61) for _ in range(repeats)]
    names = drawn[0].keys()
    parts = {name: torch.stack([one[name] for one in drawn]) for name in names}
    truth, chosen, rejected, absent = (parts.pop(n) for n in ("truth", "chosen", "rejected", "absent"))
    naive = (parts.pop("naive chosen"), parts.pop("naive rejected"))
    return World(truth, chosen, rejected, parts, naive, absent)


def _responses(g: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    f = torch.randn(count, SEMANTIC, generator=g, dtype=torch.float64)
    return f, torch.randint(2, (count, ATTRIBUTES), generator=g).double() * 2 - 1


def _some(g: torch.Generator, allowed: Tensor, most: int) -> Tensor:
    """1 for 1 to ``most`` of the allowed attributes, drawn for each row [N, 8]; fewer where fewer are allowed."""
    draws = torch.rand(allowed.shape, generator=g, dtype=torch.float64).masked_fill(~allowed, 2.0)
    count = torch.randint(1, most + 1, (len(allowed), 1), generator=g)
    return ((draws.argsort(1).argsort(1) < count) & allowed).double()


def _two_prompts(g: torch.Generator, a: Tensor) -> tuple[Tensor, Tensor]:
    """A better and a worse prompt of the same attributes for each response, [N, 8] each."""
    asked = _some(g, torch.ones_like(a, dtype=torch.bool), MOST)
    turned = (torch.rand(a.shape, generator=g, dtype=torch.float64) < 0.5) & (asked > 0)
    one = asked * (torch.rand(a.shape, generator=g, dtype=torch.float64) + 0.1)
    first = torch.nn.functional.one_hot(one.argmax(1), ATTRIBUTES).bool()
    turned = torch.where(turned.any(1, keepdim=True), turned, first)  # at least one
    all_obeyed = torch.rand(len(a), 1, generator=g, dtype=torch.float64) < 0.5
    flipped = torch.where(turned, -1.0, 1.0)
    # all of the better prompt and not all of the worse, or none of the worse and some of the better
    return asked * a * torch.where(all_obeyed, 1.0, -flipped), asked * a * torch.where(all_obeyed, flipped, -1.0)


def _draw_one(g: torch.Generator, pairs: int) -> dict[str, Tensor]:
    w = torch.randn(SEMANTIC, generator=g, dtype=torch.float64)
    truth = torch.cat([w, torch.full((ATTRIBUTES,), OBEYED), torch.zeros(ATTRIBUTES)]).double()
    (f1, a1), (f2, a2) = _responses(g, pairs), _responses(g, pairs)
    first = torch.rand(pairs, 1, generator=g, dtype=torch.float64) < torch.sigmoid((f1 - f2) @ w)[:, None]
    fw, fl, aw, al = (torch.where(first, x, y) for x, y in ((f1, f2), (f2, f1), (a1, a2), (a2, a1)))
    nothing = torch.zeros_like(aw)
    found = {"truth": truth, "chosen": inputs(fw, aw, nothing), "rejected": inputs(fl, al, nothing)}
    prompts = [*_two_prompts(g, aw), *_two_prompts(g, al)]
    for name, asked in zip(INTRA, prompts, strict=True):
        found[name] = inputs(*((fw, aw) if name.startswith("chosen") else (fl, al)), asked)
    differ = aw != al
    up, down = _some(g, differ, MOST) * aw, _some(g, differ, MOST) * al
    for name, (f, a, asked) in zip(INTER, ((fw, aw, up), (fl, al, up), (fw, aw, down), (fl, al, down)), strict=True):
        found[name] = inputs(f, a, asked)
    found["absent"] = ~differ.any(1)
    one = _some(g, torch.ones_like(differ), 1) * (torch.randint(2, (pairs, 1), generator=g) * 2 - 1)
    turned = ((one * (aw - al)).sum(1, keepdim=True)) < 0  # the other side obeys: it counts as preferred
    x, y = inputs(fw, aw, one), inputs(fl, al, one)
    return found | {"naive chosen": torch.where(turned, y, x), "naive rejected": torch.where(turned, x, y)}


def scores(world: World, theta: Tensor) -> PairScores:
    """All pairs of all runs with all eight views; the model's reward stands as log-ratio and as column."""
    told = (~world.absent).flatten().double()

    def side(x: Tensor, length: Tensor | None = None) -> Scores:
        reward = torch.einsum("mnd,md->mn", x, theta).flatten()
        return Scores(reward, torch.zeros_like(reward.detach()), length=length, columns={"reward": reward})

    views = {n: side(x, told if n in INTER else torch.ones_like(told)) for n, x in world.views.items()}
    return PairScores(side(world.chosen), side(world.rejected), views=views)


def naive_scores(world: World, theta: Tensor) -> PairScores:
    """The same pairs under one instruction each, labelled by who obeys it."""
    chosen, rejected = (torch.einsum("mnd,md->mn", x, theta).flatten() for x in world.naive)
    zero = torch.zeros_like(chosen.detach())
    return PairScores(Scores(chosen, zero), Scores(rejected, zero))


def agreement(
    theta: Tensor, truth: Tensor, seeds: Sequence[int], asked: int = 4, count: int = 4000
) -> tuple[Tensor, Tensor]:
    """Shares of fresh pairs that theta [M, 22] orders as compliance with ``asked`` instructions, and as truth, [M] each."""
    found = []
    for g, own, true in zip(generators(seeds, 67), theta, truth, strict=True):
        (f1, a1), (f2, a2) = _responses(g, count), _responses(g, count)
        some = torch.rand(count, ATTRIBUTES, generator=g).argsort(1).argsort(1) < asked
        prompt = some * (torch.randint(2, (count, ATTRIBUTES), generator=g).double() * 2 - 1)
        gap = inputs(f1, a1, prompt) - inputs(f2, a2, prompt)
        obeys, said = (prompt * (a1 - a2)).sum(1), gap @ own
        clear = obeys != 0
        found.append(torch.stack([
            ((said > 0) == (obeys > 0))[clear].double().mean(), ((said > 0) == (gap @ true > 0)).double().mean(),
        ]))  # fmt: skip
    return tuple(torch.stack(found).T)
