"""Preference matrices P [..., A, A]: P[a, b] is the probability that a is preferred to b, so that P + P^T = 1; float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.worlds import arms as worlds_arms

Kind = Literal["uniform", "tournament"]
TOLERANCE = 1e-12


class Prefers(Protocol):
    """What a judge is asked: P(a is better) for each of n comparisons."""

    def prefer(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Sequence[float]: ...


def checked(p: Tensor) -> Tensor:
    """``p`` in float64; AssentError where it is not square, leaves [0, 1] or P + P^T differs from 1 by 1e-12."""
    p = torch.as_tensor(p, dtype=torch.float64)
    if p.ndim < 2 or p.shape[-1] != p.shape[-2] or not p.shape[-1]:
        raise AssentError(f"the preference matrix has shape {list(p.shape)}; expected [..., A, A] with A of 1 or more")
    if not bool(p.isfinite().all()) or float(p.min()) < 0 or float(p.max()) > 1:
        raise AssentError("the preference matrix has entries outside [0, 1]; expected probabilities that a beats b")
    off = (p + p.mT - 1).abs()
    if float(off.max()) > TOLERANCE:
        a, b = divmod(int(off.reshape(-1, *p.shape[-2:]).amax(0).argmax()), p.shape[-1])
        raise AssentError(
            f"P[{a}, {b}] + P[{b}, {a}] is off 1 by {float(off.max()):.3g}; expected 1: ask the judge both ways and average"
        )
    return p


def random(draws: Sequence[torch.Generator], arms: int, kind: Kind = "uniform") -> Tensor:
    """One matrix for each generator [M, A, A]: above the diagonal uniform on (0, 1), or 0 and 1 alike ("tournament")."""
    if arms < 2 or kind not in ("uniform", "tournament"):
        raise AssentError(f"random: got {arms} arms of kind {kind!r}; expected 2 or more, 'uniform' or 'tournament'")
    found = []
    for g in draws:
        u = torch.rand(arms, arms, generator=g, dtype=torch.float64).triu(1)
        u = u if kind == "uniform" else (u > 0.5).double()
        found.append(u + (1 - u).mT.tril(-1) + torch.eye(arms, dtype=torch.float64) / 2)
    return torch.stack(found)


def preferences(*better: tuple[int, int, float], arms: int = 3) -> Tensor:
    """P [A, A] from (a, b, P(a preferred to b)), checked; 1/2 elsewhere."""
    return checked(worlds_arms.preferences(*better, arms=arms))


def cyclic(arms: int = 3, strength: float = 1.0) -> Tensor:
    """Each arm beats the (A - 1) / 2 arms after it, in a circle, with probability (1 + strength) / 2; A odd, [A, A]."""
    if arms < 3 or arms % 2 == 0 or not 0 <= strength <= 1:
        raise AssentError(
            f"cyclic: got {arms} arms and strength {strength!r}; expected an odd number from 3, and [0, 1]"
        )
    ahead = (torch.arange(arms) - torch.arange(arms)[:, None]) % arms
    sign = (ahead > 0).double() - 2 * (ahead > arms // 2).double()
    return 0.5 + strength / 2 * sign


def bradley_terry(reward: Tensor) -> Tensor:
    """sigmoid(r_a - r_b) of rewards [..., A] in nats: no cycles."""
    return torch.sigmoid(reward.double()[..., :, None] - reward.double()[..., None, :])


def of(prefer: Callable[[int, int], float], arms: int) -> Tensor:
    """P [A, A] of a function of two arms, called once for each pair a < b; equal arms are even."""
    if arms < 1:
        raise AssentError(f"got {arms} arms; expected 1 or more")
    return preferences(*((a, b, float(prefer(a, b))) for a in range(arms) for b in range(a + 1, arms)), arms=arms)


def from_judge(judge: Prefers, prompt: str, completions: Sequence[str]) -> Tensor:
    """P [A, A] as a judge compares the completions of one prompt, in one call; AssentError where it has no answer."""
    count = len(completions)
    first, second = torch.triu_indices(count, count, 1).tolist()
    found = judge.prefer([prompt] * len(first), [completions[a] for a in first], [completions[b] for b in second])
    told = torch.as_tensor(found, dtype=torch.float64)
    if not bool(told.isfinite().all()):
        missing = int((~told.isfinite()).sum())
        raise AssentError(
            f"the judge gave no answer to {missing} of {len(first)} comparisons; expected all: ask again or use fewer arms"
        )
    return preferences(*zip(first, second, told.tolist(), strict=True), arms=count)
