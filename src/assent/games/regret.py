"""Regret of any policy in online learning and repeated games, tests of its growth with their limits, and the regret loss.

Losses are [..., T, d], d actions, all entries of a round revealed after it; policies [..., T, d] are probabilities chosen from
the rounds before.  Rewards are losses with the other sign.  After Park et al., arXiv:2403.16843.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from assent.errors import AssentError

Agent = Callable[[Tensor], Tensor]
"""The losses of the rounds so far [..., t, d], t from 0 -> probabilities [..., d]."""
FLOOR = 1e-10
"""Least regret whose logarithm the regression takes."""


def regret(losses: Tensor, policies: Tensor) -> Tensor:
    """Regret after each round [..., T]: what was lost beyond the best fixed action so far."""
    if losses.shape != policies.shape:
        raise AssentError(f"losses have shape {list(losses.shape)}, policies {list(policies.shape)}; expected the same")
    return (losses * policies).sum(-1).cumsum(-1) - losses.cumsum(-2).amin(-1)


def dynamic_regret(losses: Tensor, policies: Tensor) -> Tensor:
    """Regret after each round [..., T] against the best action of every round."""
    return ((losses * policies).sum(-1) - losses.amin(-1)).cumsum(-1)


def play(agent: Agent, losses: Tensor) -> Tensor:
    """The policies [..., T, d] that an agent chooses, round by round; it never sees a loss before it has chosen."""
    return torch.stack([agent(losses[..., :t, :]) for t in range(losses.shape[-2])], -2)


def past(losses: Tensor) -> Tensor:
    """Summed losses before each round [..., T, d]."""
    return losses.cumsum(-2) - losses


def project(x: Tensor) -> Tensor:
    """The nearest point of the simplex, [..., d], by sorting; differentiable but at ties."""
    top = x.sort(-1, descending=True).values
    count = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    level = (top.cumsum(-1) - 1) / count
    last = (top > level).sum(-1, keepdim=True) - 1
    return (x - level.gather(-1, last)).clamp_min(0)


def lazy_projection(losses: Tensor, alpha: float | Tensor) -> Tensor:
    """Follow the leader with a Euclidean regulariser: the projection of -alpha times the past losses; policies [..., T, d]."""
    return project(-alpha * past(losses))


def hedge(losses: Tensor, alpha: float | Tensor) -> Tensor:
    """Follow the leader with an entropy: softmax of -alpha times the past losses; policies [..., T, d]."""
    return (-alpha * past(losses)).softmax(-1)


def follow_leader(losses: Tensor) -> Tensor:
    """All weight on the action of least past loss, shared among ties; policies [..., T, d]."""
    seen = past(losses)
    best = (seen <= seen.amin(-1, keepdim=True) + 1e-12).to(losses)
    return best / best.sum(-1, keepdim=True)


def follow_perturbed(losses: Tensor, noise: Tensor) -> Tensor:
    """How often each action leads after noise [S, ..., d] is added to the past losses; policies [..., T, d]."""
    seen = past(losses)[None] + noise.unsqueeze(-2)
    return torch.nn.functional.one_hot(seen.argmin(-1), losses.shape[-1]).to(losses).mean(0)


def trap(rounds: int) -> Tensor:
    """The losses [T, 2] that follow-the-leader always answers wrongly: (1/2, 0), then (0, 1) and (1, 0) in turn."""
    found = torch.zeros(rounds, 2, dtype=torch.float64)
    found[0, 0], found[1::2, 1], found[2::2, 0] = 0.5, 1.0, 1.0
    return found


@dataclass(frozen=True)
class Trend:
    """falls: of the T - 1 steps of Regret_t / t those that go down.  p: chance of as many if each did so with 1/2, apart."""

    falls: int
    steps: int
    p: float


def trend_test(curve: Tensor) -> Trend:
    """Does Regret_t / t fall?  ``curve``: the regret after each round [T].

    Limits: the steps depend on each other and shrink by themselves where single rounds cost little, so p is optimistic; a
    policy that never learns passes on i.i.d. losses.  With T = 25, p < .05 takes 17 falls.
    """
    _whole_curve(curve, 2)
    mean = curve / torch.arange(1, len(curve) + 1, dtype=curve.dtype)
    falls, steps = int((mean.diff() < 0).sum()), len(curve) - 1
    p = sum(math.comb(steps, k) for k in range(falls, steps + 1)) / 2**steps
    return Trend(falls, steps, p)


@dataclass(frozen=True)
class Growth:
    """Least squares of log Regret_t on log t.

    exponent: below 1 is sublinear.  error: its standard error.  p_zero: two-sided p of exponent 0, the usual print-out, small
    for linear regret too.  p_sublinear: one-sided p of "1 or more".  floored: rounds whose regret was below 1e-10.
    """

    exponent: float
    error: float
    p_zero: float
    p_sublinear: float
    floored: int


def growth_test(curve: Tensor) -> Growth:
    """How does regret grow?  ``curve``: the regret after each round [T].

    Limits: floored rounds are outliers in logarithms; errors of the fit depend on each other; an average of several runs hides
    a linear one; the exponent is that of this horizon, not of the limit.
    """
    _whole_curve(curve, 3)
    x = torch.arange(1, len(curve) + 1, dtype=torch.float64).log()
    y = curve.double().clamp_min(FLOOR).log()
    x = x - x.mean()
    slope = float((x * y).sum() / x.square().sum())
    rest = y - y.mean() - slope * x
    free = len(curve) - 2
    error = float((rest.square().sum() / free / x.square().sum()).sqrt())
    ratio = lambda d: d / error if error else math.copysign(math.inf, d) if d else 0.0  # noqa: E731
    p_zero = 2 * float(stats.t.sf(abs(ratio(slope)), free))
    return Growth(slope, error, p_zero, float(stats.t.sf(ratio(1 - slope), free)), int((curve < FLOOR).sum()))


def _whole_curve(curve: Tensor, least: int) -> None:
    if curve.ndim != 1 or len(curve) < least or not bool(curve.isfinite().all()):
        raise AssentError(
            f"the regret curve has shape {list(curve.shape)}; expected [T] with T of {least} or more, finite: one run at a time"
        )


def regret_loss(losses: Tensor, policies: Tensor, k: float = 0.0, power: float = 2.0, weights: str = "power") -> Tensor:
    """Mean over examples of sum_j h(R_j) f(R_j, k) / sum_j f(R_j, k), R_j the regret on sequence j of N; a scalar.

    losses, policies [B, N, T, d].  h(x) = max(0, x)^power.  f: "power" max(0, x)^k, "exp" e^(k x).  k = 0 or N = 1 is the
    mean of h; larger k leans to the worst sequence of each example.  The gradient goes through the weights as well.
    """
    if k < 0 or power < 1 or weights not in ("power", "exp"):
        raise AssentError(
            f"regret_loss: k {k!r}, power {power!r}, weights {weights!r}; expected k >= 0, power >= 1, 'power' or 'exp'"
        )
    found = regret(losses, policies)[..., -1]
    cost = found.clamp_min(0) ** power
    if k == 0:
        return cost.mean()
    lean = k * (found if weights == "exp" else found.clamp_min(1e-12).log())
    return (cost * lean.softmax(-1)).sum(-1).mean()


@dataclass(frozen=True)
class Match:
    """A repeated game of n players.  policies, losses: per player [T, d_i].  regret: per player [T]."""

    policies: tuple[Tensor, ...]
    losses: tuple[Tensor, ...]

    @property
    def regret(self) -> tuple[Tensor, ...]:
        return tuple(regret(x, pi) for x, pi in zip(self.losses, self.policies, strict=True))

    @property
    def cce_gap(self) -> float:
        """What a player gains by a fixed action against the averaged joint play: how far from a coarse correlated equilibrium.

        It is the largest Regret_T / T.
        """
        return max(float(curve[-1]) / len(curve) for curve in self.regret)


def repeated_game(agents: Sequence[Agent], costs: Sequence[Tensor], rounds: int) -> Match:
    """Two agents play ``rounds`` rounds of a matrix game with full information.

    costs: the losses [d_1, d_2] of the first and of the second player, by their actions.
    """
    if len(agents) != 2 or len(costs) != 2 or costs[0].shape != costs[1].shape or rounds < 1:
        raise AssentError(
            "repeated_game: expected two agents, two loss matrices of one shape and a number of rounds from 1"
        )
    first, second = (torch.zeros(0, d, dtype=torch.float64) for d in costs[0].shape)
    chosen: tuple[list[Tensor], list[Tensor]] = ([], [])
    for _ in range(rounds):
        p, q = agents[0](first), agents[1](second)
        first = torch.cat([first, (costs[0] @ q)[None]])
        second = torch.cat([second, (p @ costs[1])[None]])
        chosen[0].append(p)
        chosen[1].append(q)
    return Match((torch.stack(chosen[0]), torch.stack(chosen[1])), (first, second))
