"""One mirror step for a family of methods: theta+ = (1 - s tau) theta + s tau theta_ref + s P o.

The rows of `METHODS` differ in the opponent o, in the anchor (whether theta_ref pulls) and in the loss whose step it is.
theta are logits [..., A] of tabular policies; s > 0 is the step size (SPPO's and EGPO's eta; 1/eta of INPO).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.games.equilibrium import Game, kl

Opponent = Callable[[Game, Tensor, float], Tensor]
"""Probabilities [..., A] from the game, the logits and the step size."""


def step(game: Game, theta: Tensor, opponent: Tensor, size: float, tau: float | None = None) -> Tensor:
    """The next logits, centred; tau: the game's unless given (0: no anchor)."""
    tau = game.tau if tau is None else tau
    moved = (1 - size * tau) * theta + size * tau * game.ref + size * game.against(opponent)
    return moved - moved.mean(-1, keepdim=True)  # a drift of all logits would eat digits


def current(game: Game, theta: Tensor, size: float) -> Tensor:
    """The policy itself: self-play."""
    return theta.softmax(-1)


def mixture(game: Game, theta: Tensor, size: float) -> Tensor:
    """pi^(1 - s tau) ref^(s tau) / Z: the geometric mixture that the step itself starts from."""
    return ((1 - size * game.tau) * theta + size * game.tau * game.ref).softmax(-1)


def extrapolated(game: Game, theta: Tensor, size: float) -> Tensor:
    """The policy after a step against itself: the extragradient's half step."""
    return step(game, theta, current(game, theta, size), size).softmax(-1)


@dataclass(frozen=True)
class Method:
    """A row of the table.

    opponent: name and function.  anchor: whether the reference pulls (tau of the game) or not (tau = 0).
    loss: the objective at step size s and weight tau, in this package's spelling; reference: what its log-ratios are
    taken to.  pairs: the law of its two completions.  how: in which sense the step is that of the loss.
    judged: opponents judged a step.
    """

    paper: str
    opponent: Opponent
    anchor: bool
    loss: Callable[[float, float], str]
    reference: str
    pairs: str
    how: str
    judged: int = 1


_RATES = lambda s, tau: f"ipo_soft(tau={tau!r})"  # noqa: E731
_GRADIENT = "gradient step, s tau = 4 rate / A"

METHODS: dict[str, Method] = {
    "sppo": Method("2405.00675", current, False, lambda s, tau: f"sppo_soft(beta={1 / s!r})", "last policy", "last policy",
                   "its targets, up to the normaliser"),
    "inpo": Method("2407.00617", current, True, lambda s, tau: f"inpo(eta={1 / s!r}, tau={tau!r})", "both", "last policy",
                   "exact minimum"),
    "online_ipo": Method("2403.08635", current, True, lambda s, tau: f"ipo(tau={tau!r})", "reference", "policy now",
                         "natural-gradient step, s tau = 4 rate"),
    "omd": Method("2503.08942", current, True, _RATES, "reference", "uniform", _GRADIENT),
    "nash_md": Method("2312.00886", mixture, True, _RATES, "reference", "uniform", _GRADIENT),
    "egpo": Method("2503.08942", extrapolated, True, _RATES, "reference", "uniform", _GRADIENT, judged=2),
}  # fmt: skip
"""The family.  Online IPO, OMD and INPO are one step in tables; sampled, they differ by the law of the pairs."""


def named(method: str) -> Method:
    """The row called ``method``; AssentError with the known names."""
    if method not in METHODS:
        raise AssentError(f"no mirror method is called {method!r}; expected one of {', '.join(METHODS)}")
    return METHODS[method]


@dataclass(frozen=True)
class Path:
    """What a run left.

    theta [..., A]: the last logits.  average [..., A]: mean policy over all steps.  at: steps at which the curves are
    taken, from 0.  gap, plain [K, ...]: duality gaps with and without the KL.  policies [K, ..., A].
    """

    theta: Tensor
    average: Tensor
    at: tuple[int, ...]
    gap: Tensor
    plain: Tensor
    policies: Tensor

    def divergence(self, best: Tensor) -> Tensor:
        """KL(best || policy) at the steps of the curves [K, ...], for log-probabilities ``best``."""
        return kl(best, self.policies.log())


def run(
    game: Game,
    method: str | Opponent,
    size: float | Callable[[int], float],
    steps: int,
    *,
    start: Tensor | None = None,
    every: int = 0,
) -> Path:
    """``steps`` exact steps from ``start`` (the reference where None).

    size: s, or a function of the step from 0.  every: steps between points of the curves; 0 for the two ends alone.
    A callable method is an opponent with the game's own anchor.  s tau above 1 is refused: the old policy would be repelled.
    """
    row = named(method) if isinstance(method, str) else None
    opponent = method if row is None else row.opponent
    tau = game.tau if row is None or row.anchor else 0.0
    theta = (game.ref if start is None else torch.as_tensor(start, dtype=torch.float64)) + torch.zeros_like(
        game.p[..., 0]
    )
    theta, total, kept = theta - theta.mean(-1, keepdim=True), torch.zeros_like(theta), {}
    for t in range(steps):
        if t == 0 or (every and t % every == 0):
            kept[t] = theta
        s = size(t) if callable(size) else size
        if not (s > 0 and s * tau <= 1 + 1e-12):
            raise AssentError(f"step {t} has size {s!r} at tau {tau:g}; expected above 0 and at most 1/tau")
        total += theta.softmax(-1)
        theta = step(game, theta, opponent(game, theta, s), s, tau)
    kept[steps] = theta
    points = torch.stack(list(kept.values()))
    policies = points.softmax(-1)
    average = total / max(steps, 1)
    return Path(theta, average, tuple(kept), game.gap(points), game.plain_gap(points), policies)


def omd_threshold(game: Game, omega: Tensor) -> Tensor:
    """The step size below which self-play settles at the equilibrium, 2 tau / (tau^2 + omega^2); it cycles above."""
    return 2 * game.tau / (game.tau**2 + omega**2)


def egpo_rate(game: Game, omega: Tensor, size: float) -> Tensor:
    """The factor a step by which the extragradient's distance to the equilibrium shrinks, nearby, along the fastest turn."""
    x, y = size * game.tau, size * omega
    return ((1 - x - y**2) ** 2 + (1 - x) ** 2 * y**2).sqrt()
