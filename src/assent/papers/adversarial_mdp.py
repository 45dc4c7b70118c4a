"""Refined regret for adversarial MDPs: policy updates for any costs, estimates that stay small.  ICML 2023, arXiv:2301.12942.

The pieces are `games.linear_mdp`; the bridge to preferences is ``forward_kl()``, a loss of scored groups whose minimum is the
log-barrier's policy.  World A: heavy-tailed costs, 300 runs a seed with 5 comparators each.  World B: one state, 10 unit
features of 4 dimensions, losses .5 + .35 phi . theta_0 + .15 phi . (a vector that turns once), drawn as 0 or 1, exact
covariance, gamma = 1/K; the sheet gives neither the rates nor the turning: here eta = (ln A / (d K))^1/2.  Not stated:
rates of regret in MDPs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.games import linear_mdp as lm
from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import GroupScores, Scores
from assent.worlds.solving import solve
from assent.worlds.stacked import generators

LEARNERS = ("standard", "reduced", "log-barrier")
ROUNDS = (500, 2000)
ARMS, FEATURES = 10, 4


def heavy_costs(seeds: Sequence[int], runs: int = 300) -> list[Claim]:
    """World A: the two regret bounds on the same costs (share of the bound by which the worst comparator is missed)."""
    beyond = {"log-barrier": [], "hedge": []}
    for g in generators(seeds, 71):
        worst = dict.fromkeys(beyond, -1.0)
        for _ in range(runs):
            u = torch.rand(3, generator=g, dtype=torch.float64)
            rounds, arms, eta = 2 + int(59 * u[0]), 2 + int(5 * u[1]), float(0.01 * 3000 ** u[2])
            noise = torch.randn(rounds, arms, generator=g, dtype=torch.float64)
            spread = torch.rand(rounds, arms, generator=g, dtype=torch.float64).clamp_min(1e-12)
            costs = noise / (-spread.log()).sqrt()  # Student's t of two degrees of freedom
            low = torch.rand(rounds, arms, generator=g, dtype=torch.float64) < 0.3
            costs = torch.where(low, -5 * costs.abs(), costs)
            past = costs.cumsum(0) - costs
            other = torch.randn(5, arms, generator=g, dtype=torch.float64).mul(2).softmax(1)
            for name, x, bound in (
                ("log-barrier", lm.log_barrier(past, eta), lm.barrier_bound),
                ("hedge", (-eta * past).softmax(1), lm.hedge_bound),
            ):
                missed, most = bound(x.expand(5, rounds, arms), costs.expand(5, rounds, arms), eta, other)
                worst[name] = max(worst[name], float((missed / most - 1).max()))
        for name, value in worst.items():
            beyond[name].append(value)
    found = {name: torch.tensor(x, dtype=torch.float64) for name, x in beyond.items()}
    return [
        above("lemma", "The refined bound of the log barrier holds for costs of any sign and size (room left of the bound, "
              "least of all runs).", "paper", {}, {"log-barrier": -found["log-barrier"].max().reshape(1)}, 0.0, seeds),
        above("hedge_breaks_its_own", "The same bound for exponential weights is broken by some of these costs (largest "
              "excess; the sheet saw .71).", "sheet", {}, {"hedge": found["hedge"].max().reshape(1)}, 0.0, seeds),
    ]  # fmt: skip


def bandit(seeds: Sequence[int], rounds: int, name: str) -> dict[str, Tensor]:
    """World B for one learner: least estimate, regret, room above -|phi|_Sd and largest bias of the reduced one, [M] each.

    Every learner meets the same uniform draws.
    """
    shape, draws = (ARMS + 3, FEATURES), generators(seeds, 72)
    vectors = torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in draws])
    vectors = vectors / vectors.norm(dim=2, keepdim=True)
    toss = torch.stack([torch.rand(rounds, 2, generator=g, dtype=torch.float64) for g in draws])
    phi, (fixed, one, two) = vectors[:, :ARMS], vectors[:, ARMS:].unbind(1)
    angle = 2 * math.pi * torch.arange(rounds, dtype=torch.float64)[:, None] / rounds
    drift = (angle.cos() * one[:, None] + angle.sin() * two[:, None]) / math.sqrt(2)
    means = 0.5 + (0.35 * fixed[:, None] + 0.15 * drift) @ phi.mT
    eta, ridge = math.sqrt(math.log(ARMS) / (FEATURES * rounds)), torch.eye(FEATURES, dtype=torch.float64) / rounds
    total = torch.zeros(len(seeds), ARMS, dtype=torch.float64)
    least, paid, bias = (torch.zeros(len(seeds), dtype=torch.float64) for _ in range(3))
    room = least + math.inf
    for k in range(rounds):
        pi = lm.log_barrier(total, eta) if name == "log-barrier" else (-eta * total).softmax(1)
        inverse = torch.linalg.inv(lm.covariance(phi, pi) + ridge)
        played = (toss[:, k, :1] > pi.cumsum(1)[:, :-1]).sum(1)
        loss = (toss[:, k, 1] < means[:, k].gather(1, played[:, None])[:, 0]).double()
        if name == "reduced":
            estimate = lm.reduced_estimate(phi, inverse, played, loss, pi)
            size = torch.einsum("mad,mde,mae->ma", phi, inverse, phi).sqrt()
            room = torch.minimum(room, (estimate + size).amin(1))
            if k % 50 == 0:
                bias = torch.maximum(bias, _bias(phi, inverse, means[:, k], pi))
        else:
            estimate = lm.plain_estimate(phi, inverse, played, loss)
        total, paid = total + estimate, paid + (pi * means[:, k]).sum(1)
        least = torch.minimum(least, estimate.amin(1))
    return {"least": least, "regret": paid - means.sum(1).amin(1), "room": room, "bias": bias}


def _bias(phi: Tensor, inverse: Tensor, means: Tensor, pi: Tensor) -> Tensor:
    """Largest difference between the expectations of the two estimates over the arm that is played, [M]."""
    found = 0.0
    for arm in range(ARMS):
        at = torch.full((len(phi),), arm)
        gap = lm.reduced_estimate(phi, inverse, at, means[:, arm], pi) - lm.plain_estimate(
            phi, inverse, at, means[:, arm]
        )
        found = found + pi[:, arm : arm + 1] * gap
    return found.abs().amax(1)


def magnitudes(seeds: Sequence[int], rounds: Sequence[int] = ROUNDS) -> list[Claim]:
    """World B at two lengths."""
    found = {(n, k): bandit(seeds, k, n) for n in LEARNERS for k in rounds}
    few, many = rounds
    grown = {n: (found[n, many]["least"] / found[n, few]["least"]).log() for n in LEARNERS}
    shown = lambda what: {f"{n}, K {k}: {what}": float(x[what].mean()) for (n, k), x in found.items()}  # noqa: E731
    grows = "The most negative estimate grows with K for the standard estimator (log of its ratio, K = 2000 over 500)"
    return [
        above("standard_grows", f"{grows}, under exponential weights.", "sheet", {}, {"standard": grown["standard"]}, 0.0,
              seeds, shown=shown("least")),
        above("standard_grows_under_the_barrier", f"{grows}, under the log barrier.", "sheet", {},
              {"log-barrier": grown["log-barrier"]}, 0.0, seeds),
        near("reduced_is_flat", "It does not for the magnitude-reduced one (log of the ratio).", "sheet", {"reduced": 0.0},
             {"reduced": grown["reduced"]}, 0.25, seeds),
        above("reduced_is_bounded", "The reduced estimate is never below -H |phi|_Sd (least room of all runs and rounds).",
              "paper", {}, {f"K {k}": found["reduced", k]["room"].min().reshape(1) + 1e-9 for k in rounds}, 0.0, seeds),
        near("reduced_is_unbiased", "Its mean is that of the standard estimate (largest difference).", "paper", {"bias": 0.0},
             {"bias": max(float(found["reduced", k]["bias"].max()) for k in rounds)}, 1e-8, seeds),
        near("regret_does_not_separate", "Regret does not tell the three apart at K = 500: over that of the standard one.",
             "sheet", dict.fromkeys(LEARNERS[1:], 1.0),
             {n: found[n, few]["regret"] / found["standard", few]["regret"] for n in LEARNERS[1:]}, 0.1, seeds,
             shown=shown("regret")),
    ]  # fmt: skip


def bridge(seeds: Sequence[int]) -> list[Claim]:
    """Five responses with drawn scores and reference: the loss's minimum against tau ref / (lambda - r)."""
    miss, kept, loss = [], [], parse("forward_kl(tau=0.3)")
    for g in generators(seeds, 74):
        score, ref = torch.randn(2, 5, generator=g, dtype=torch.float64)

        def mean(x: Tensor, ref: Tensor = ref, score: Tensor = score) -> Tensor:
            side = Scores(x.log_softmax(0), ref.log_softmax(0))
            return loss(GroupScores(side, torch.zeros(5, dtype=torch.long), score)).sum()

        found = solve(mean, ref, max_iter=300, tol=1e-11).log_softmax(0)
        told = lm.log_barrier(-score, 1.0, weights=0.3 * ref.softmax(0))
        miss.append(float((found.exp() - told).abs().max()))
        other = (ref + score / 0.3).log_softmax(0)
        kept.append((found - ref.log_softmax(0)).min() - (other - ref.log_softmax(0)).min())
    return [
        near("bridge", "Maximising E r - tau KL(ref || pi) ends at tau ref / (lambda - r) (largest difference).", "sheet",
             {"difference": 0.0}, {"difference": max(miss)}, 1e-8, seeds),
        above("no_mode_collapse", "The least likely response keeps more of its reference share than under the other KL (log of "
              "the ratio).", "sheet", {}, {"ratio": torch.stack(kept)}, 0.0, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="adversarial-mdp",
    title="Refined Regret for Adversarial MDPs with Linear Function Approximation",
    arxiv="2301.12942",
    objective="forward_kl()",
    statements=(heavy_costs, magnitudes, bridge),
    formula_tests=("tests/games/test_linear_mdp.py", "tests/objectives/test_regret.py"),
    model_tests=("tests/papers/test_adversarial_mdp_model.py",),
)
