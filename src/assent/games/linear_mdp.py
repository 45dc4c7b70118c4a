"""Adversarial losses with linear action values: the log-barrier's policy, and estimators of losses that are seen once.

x [..., A] are policies, C [..., A] summed costs (losses, lower is better); rates eta multiply costs.  Action values are
Q(s, a) = phi(s, a) . theta with |phi| <= 1 and losses of an episode in [0, H].  After Dai et al., arXiv:2301.12942.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assent.errors import AssentError

HALVINGS = 200


def log_barrier(costs: Tensor, eta: float | Tensor, weights: Tensor | None = None) -> Tensor:
    """argmin over the simplex of eta <x, C> + sum_i w_i ln(1 / x_i): x_i = w_i / (eta C_i + lambda), [..., A].

    weights [..., A] above 0, ones where None; tau rho of a reference makes it the forward-KL policy (see `forward_kl`).
    Only differences of costs matter; any sign and size will do.
    """
    scaled = torch.as_tensor(costs, dtype=torch.float64) * torch.as_tensor(eta, dtype=torch.float64)
    if not bool(scaled.isfinite().all()):
        raise AssentError("log_barrier: a cost times eta is not finite; expected finite costs and a finite eta")
    weights = torch.ones_like(scaled) if weights is None else torch.as_tensor(weights, dtype=torch.float64)
    if float(weights.min()) <= 0:
        raise AssentError("log_barrier: a weight is 0 or below; expected weights above 0")
    above = scaled - scaled.amin(-1, keepdim=True)  # lambda counted from the cheapest action: within [w_min, sum w]
    low = torch.where(above == 0, weights, 0.0).amax(-1, keepdim=True)
    high = weights.sum(-1, keepdim=True) + torch.zeros_like(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        heavy = (weights / (above + middle)).sum(-1, keepdim=True) > 1
        low, high = torch.where(heavy, middle, low), torch.where(heavy, high, middle)
        if bool((high - low <= 1e-16 * high).all()):
            break
    x = weights / (above + high)
    return x / x.sum(-1, keepdim=True)


def barrier_bound(policies: Tensor, costs: Tensor, eta: float, other: Tensor) -> tuple[Tensor, Tensor]:
    """Regret against ``other`` [..., A] of log-barrier policies [..., T, A] and its bound, both [...]; for any costs.

    Bound: (Psi(other) - Psi(x_1)) / eta + eta sum_t sum_i x_i c_i^2, Psi(x) = sum_i ln(1 / x_i).
    """
    missed = ((policies - other.unsqueeze(-2)) * costs).sum((-1, -2))
    start = other.log().neg().sum(-1) - policies[..., 0, :].log().neg().sum(-1)
    return missed, start / eta + eta * (policies * costs**2).sum((-1, -2))


def hedge_bound(policies: Tensor, costs: Tensor, eta: float, other: Tensor) -> tuple[Tensor, Tensor]:
    """The same for exponential weights: ln A / eta + eta sum x c^2; it needs eta c >= -1."""
    missed = ((policies - other.unsqueeze(-2)) * costs).sum((-1, -2))
    return missed, torch.log(torch.tensor(float(costs.shape[-1]))) / eta + eta * (policies * costs**2).sum((-1, -2))


def covariance(features: Tensor, policy: Tensor) -> Tensor:
    """E phi phi^T [..., d, d] of features [..., A, d] under a policy [..., A]."""
    return torch.einsum("...a,...ad,...ae->...de", policy, features, features)


def resampled_inverse(draws: Tensor, gamma: float, step: float = 0.5) -> Tensor:
    """An estimate of (gamma I + E phi phi^T)^-1 [d, d] from draws of phi [N, d], by geometric resampling.

    It is step times the sum over n = 0 .. N of prod_{j <= n} (1 - step (gamma I + phi_j phi_j^T)).  Its mean is
    (gamma I + Sigma)^-1 (1 - (1 - step (gamma I + Sigma))^(N + 1)).
    """
    eye = torch.eye(draws.shape[-1], dtype=draws.dtype)
    total, product = eye.clone(), eye
    for phi in draws:
        product = product @ (eye - step * (gamma * eye + torch.outer(phi, phi)))
        total = total + product
    return step * total


def plain_estimate(features: Tensor, inverse: Tensor, played: Tensor, loss: Tensor) -> Tensor:
    """phi(a)^T Sd phi(played) L for all actions [..., A]: unbiased up to gamma, as low as -H / gamma.

    features [..., A, d]; inverse Sd [..., d, d]; played [...] int; loss [...], of the episode from here on.
    """
    return _inner(features, inverse, played) * loss.unsqueeze(-1)


def reduced_estimate(
    features: Tensor, inverse: Tensor, played: Tensor, loss: Tensor, policy: Tensor, horizon: float = 1.0
) -> Tensor:
    """The magnitude-reduced estimate g L - H (g)_- + m for all actions [..., A], never below -H |phi|_Sd.

    g = phi(a)^T Sd phi(played); (z)_- = min(z, 0); m(a) = H E_{b ~ policy} (phi(a)^T Sd phi(b))_-, here exactly, from the
    policy [..., A]: what is taken off is given back on average, so the mean is that of `plain_estimate`.
    """
    g = _inner(features, inverse, played)
    all_pairs = torch.einsum("...ad,...de,...be->...ab", features, inverse, features)
    m = horizon * (all_pairs.clamp_max(0) * policy.unsqueeze(-2)).sum(-1)
    return g * loss.unsqueeze(-1) - horizon * g.clamp_max(0) + m


def _inner(features: Tensor, inverse: Tensor, played: Tensor) -> Tensor:
    wide = features.expand(*inverse.shape[:-2], *features.shape[-2:])
    at = wide.take_along_dim(played[..., None, None], -2).squeeze(-2)
    return torch.einsum("...ad,...de,...e->...a", wide, inverse, at)


def dilated_bonus(bonus: Tensor, transition: Tensor, policy: Tensor) -> Tensor:
    """B_h(s, a) = b_h(s, a) + (1 + 1/H) E B_{h+1}(s', a'), [H, S, A]; nothing follows the last step.

    bonus [H, S, A]; transition [H, S, A, S]; policy [H, S, A].
    """
    horizon = len(bonus)
    found, after = [], torch.zeros_like(bonus[0])
    for h in reversed(range(horizon)):
        value = (policy[h + 1] * after).sum(-1) if h + 1 < horizon else torch.zeros_like(bonus[0, :, 0])
        after = bonus[h] + (1 + 1 / horizon) * transition[h] @ value
        found.append(after)
    return torch.stack(found[::-1])
