"""The KL-regularised preference game: V(p, q) = p^T P q - tau KL(p || ref) + tau KL(q || ref), in closed form where it has one.

Policies are logits [..., A], normalised inside; V is in units of win rate, tau in win rate per nat.  V(p, q) + V(q, p) = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.games.matrices import checked

STEPS, HALVINGS = 60, 40


@dataclass(frozen=True)
class Game:
    """p [..., A, A], checked; ref [..., A] logits of the reference (0: uniform); tau >= 0: 0 is the game without KL."""

    p: Tensor
    ref: Tensor
    tau: float

    @staticmethod
    def of(p: Tensor, tau: float, ref: Tensor | None = None) -> Game:
        """A game with its matrix checked; a uniform reference where none is given."""
        p = checked(p)
        if not 0 <= tau < float("inf"):
            raise AssentError(f"tau is {tau!r}; expected a finite number, 0 or more")
        ref = p.new_zeros(p.shape[:-1]) if ref is None else torch.as_tensor(ref, dtype=torch.float64)
        if ref.shape[-1] != p.shape[-1] or not bool(ref.isfinite().all()):
            raise AssentError(
                f"the reference has shape {list(ref.shape)} for {p.shape[-1]} arms; expected a finite logit for each arm"
            )
        return Game(p, ref.log_softmax(-1), float(tau))

    @property
    def lead(self) -> Tensor:
        """P - 1/2, antisymmetric."""
        return self.p - 0.5

    def against(self, opponent: Tensor) -> Tensor:
        """Win rate less 1/2 of every arm against a policy of probabilities [..., A]."""
        return (self.lead @ opponent.unsqueeze(-1)).squeeze(-1)

    def best_response(self, opponent: Tensor) -> Tensor:
        """Log-probabilities of ref exp(P o / tau) / Z, the best answer to probabilities o."""
        if self.tau == 0:
            raise AssentError("without KL (tau 0) the best response is the arm that wins most; use plain_gap")
        return (self.ref + self.against(opponent) / self.tau).log_softmax(-1)

    def value(self, one: Tensor, other: Tensor) -> Tensor:
        """V of two policies [..., A]."""
        p, q = one.log_softmax(-1), other.log_softmax(-1)
        cost = self.tau * (kl(q, self.ref) - kl(p, self.ref))
        return 0.5 + (p.exp() * self.against(q.exp())).sum(-1) + cost

    def gap(self, policy: Tensor) -> Tensor:
        """max_p V(p, policy) - min_q V(policy, q) = 2 tau KL(policy || best response); 0 at the equilibrium alone."""
        policy = policy.log_softmax(-1)
        if self.tau == 0:
            return self.plain_gap(policy)
        return 2 * self.tau * kl(policy, self.best_response(policy.exp()))

    def plain_gap(self, policy: Tensor) -> Tensor:
        """The duality gap without KL, 2 (max_y P(y > policy) - 1/2)."""
        return 2 * self.against(policy.softmax(-1)).amax(-1)


def kl(one: Tensor, other: Tensor) -> Tensor:
    """KL(softmax(one) || softmax(other)) [...] in nats, as a sum of terms that are never negative: exact near 0."""
    one, other = one.log_softmax(-1), other.log_softmax(-1)
    d = other - one
    return (one.exp() * (torch.expm1(d) - d)).sum(-1)


@dataclass(frozen=True)
class Nash:
    """log_policy [..., A]; error: largest |policy - its best response|; gap: the duality gap, both as certificates."""

    log_policy: Tensor
    error: float
    gap: float

    @property
    def policy(self) -> Tensor:
        return self.log_policy.exp()


def nash(game: Game, tolerance: float = 1e-12) -> Nash:
    """The equilibrium policy = ref exp(P policy / tau) / Z, by damped Newton along falling tau; unique for tau > 0.

    The unknown is y = (P - 1/2) policy, within +-1/2 whatever tau; the Jacobian 1 - A D / tau has eigenvalues with real
    part 1 (A antisymmetric, D a covariance), so it is never singular.  AssentError where the certificate fails.
    """
    if game.tau == 0:
        raise AssentError("without KL (tau 0) the equilibrium need not be unique; give a tau above 0")
    y, tau = torch.zeros_like(game.p[..., 0]) + torch.zeros_like(game.ref), max(1.0, game.tau)
    while True:
        y = _newton(game, y, tau)
        if tau == game.tau:
            break
        tau = max(tau / 2, game.tau)
    log_policy = (game.ref + y / game.tau).log_softmax(-1)
    error = float((log_policy.exp() - game.best_response(log_policy.exp()).exp()).abs().max())
    if not error <= tolerance:
        raise AssentError(
            f"the equilibrium is known to {error:.1e} only, expected {tolerance:.0e}: tau {game.tau:g} is too small for float64"
        )
    return Nash(log_policy, error, float(game.gap(log_policy).max()))


def _newton(game: Game, y: Tensor, tau: float) -> Tensor:
    """Where y = (P - 1/2) softmax(ref + y / tau), from ``y``; each game keeps the longest halved step that improves it."""

    def miss(y: Tensor) -> Tensor:
        return y - game.against((game.ref + y / tau).softmax(-1))

    eye = torch.eye(y.shape[-1], dtype=y.dtype)
    for _ in range(STEPS):
        f, pi = miss(y), (game.ref + y / tau).softmax(-1)
        lead = game.lead * pi.unsqueeze(-2) - game.against(pi).unsqueeze(-1) * pi.unsqueeze(-2)
        move = torch.linalg.solve(eye - lead / tau, f.unsqueeze(-1)).squeeze(-1)
        size, length = f.square().sum(-1), torch.ones_like(f[..., 0])
        for _ in range(HALVINGS):
            worse = miss(y - length.unsqueeze(-1) * move).square().sum(-1) >= size
            if not bool(worse.any()):
                break
            length = torch.where(worse, length / 2, length)
        better = miss(y - length.unsqueeze(-1) * move).square().sum(-1) < size
        if not bool(better.any()):
            break
        y = torch.where(better.unsqueeze(-1), y - length.unsqueeze(-1) * move, y)
    return y


def rotation(game: Game, policy: Tensor) -> Tensor:
    """omega: the largest |eigenvalue| of D^1/2 (P - 1/2) D^1/2, D the covariance of the policy's indicator; [...].

    How fast the game turns round its equilibrium; 0 for two arms and where P is 1/2.
    """
    pi = policy.softmax(-1)
    cov = torch.diag_embed(pi) - pi.unsqueeze(-1) * pi.unsqueeze(-2)
    return torch.linalg.eigvals(game.lead @ cov).imag.abs().amax(-1)
