"""INPO: iterative Nash policy optimisation, no regret against itself.  ICLR 2025, arXiv:2407.00617.

The composition is ``inpo()``, IPO whose reference lies between the run's and the last policy.  The world is that of the
project's sheet: a cycle of three arms, uniform reference, policies as tables; s = 1 / eta.  Where the loss is minimised it is
that of the registry; long runs take its closed form, which the first statement compares.  "Settles" is a KL below 1e-12
after 20,000 steps.  Draws: ten fits for each of the five seeds.  The sheet prints no start for tau = 0; its figures are those
of (.3, 0, -.3), found by trying starts, and those from the reference stand beside them.  Not stated: AlpacaEval and Arena-Hard.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.games import matrices, mirror
from assent.games.equilibrium import Game, kl, nash, rotation
from assent.games.expectation import Facts, expected_loss, product
from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds.stacked import generators

P = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))
TRUTH = {0.1: (0.39234, 0.22500, 0.38266), 0.05: (0.36959, 0.21584, 0.41456)}
THRESHOLDS = {0.1: 0.187, 0.05: 0.293, 0.02: 0.676}
SIZES = {300: 0.0097, 3000: 0.0038, 30_000: 0.0008, 300_000: 0.0003}
"""Pairs, with the sheet's mean distance to the exact step."""
BEST_OF_8 = 0.043
LAST = torch.tensor([0.6, 0.0, -0.6], dtype=torch.float64)
NEAR = torch.tensor([0.3, 0.0, -0.3], dtype=torch.float64)
FITS = 10


def fitted(law: Tensor, *, eta: float = 1.0, tau: float = 0.1, soft: bool = False) -> Tensor:
    """The policy [A] where the INPO loss is least for ordered pairs (chosen, rejected) that occur as ``law`` [A, A] says."""
    facts = Facts(torch.zeros(3, dtype=torch.float64), old_logp=LAST.log_softmax(0), p=P if soft else None)
    loss = parse(f"inpo(eta={eta!r}, tau={tau!r})")

    def mean(theta: Tensor) -> Tensor:
        return expected_loss(loss, theta.log_softmax(0), facts, law)

    bend = torch.autograd.functional.hessian(mean, LAST)  # the loss is quadratic in the logits
    theta = LAST.clone().requires_grad_()
    (slope,) = torch.autograd.grad(mean(theta), theta)
    return (LAST - torch.linalg.pinv(bend, hermitian=True, rtol=1e-10) @ slope).softmax(0)


def minimum(seeds: Sequence[int] = ()) -> list[Claim]:
    """The loss on the population of pairs against the mirror step, and the equilibria."""
    pi = LAST.softmax(0)
    game = Game.of(P, 0.1)
    exact = mirror.step(game, LAST, pi, 1.0).softmax(0)
    found = {f"tau {tau:g}": nash(Game.of(P, tau)).policy for tau in TRUTH}
    cells = {f"{n}, arm {a}": float(x[a]) for n, x in found.items() for a in range(3)}
    told = {f"tau {tau:g}, arm {a}": TRUTH[tau][a] for tau in TRUTH for a in range(3)}
    hard = product(pi, pi) * P * 2
    miss = {"soft labels": float((fitted(product(pi, pi), soft=True) - exact).abs().max()),
            "drawn labels": float((fitted(hard / hard.sum()) - exact).abs().max())}  # fmt: skip
    return [
        near("minimum_is_the_step", "With pairs from the last policy the loss is least at the online-mirror-descent step "
             "(largest difference of a probability).", "paper", dict.fromkeys(miss, 0.0), miss, 1e-8, ()),
        near("equilibria", "The regularised game's Nash policies.", "sheet", told, cells, 5e-6, ()),
    ]  # fmt: skip


def last_iterate(seeds: Sequence[int] = ()) -> list[Claim]:
    """Exact dynamics from the reference: with the KL the last policy settles, without it goes round."""
    game = Game.of(P, 0.1)
    best = nash(game).log_policy
    constant = mirror.run(game, "inpo", 1.0, 500, every=100)
    falling = mirror.run(game, "inpo", lambda t: 2 / (0.1 * (t + 3)), 2000, every=1)
    plain = Game.of(P, 0.0)
    free, even = (mirror.run(plain, "inpo", 0.1, 2000, start=x, every=1) for x in (NEAR, plain.ref))
    far = {"constant": constant.divergence(best), "falling": falling.divergence(best)}
    bound = _bounds(falling.policies, best)
    log = lambda x: math.log10(float(x))  # noqa: E731
    return [
        near("last_iterate_settles", "With tau above 0 the last policy reaches the Nash policy (KL, eta = 1, 500 steps).",
             "paper", {"kl": 0.0}, {"kl": float(far["constant"][-1])}, 1e-15, ()),
        near("theorem_4", "With eta_t = tau (t + 2) / 2 the KL stays within 32 C^2 / (tau^2 (T + 1)) (steps beyond it).",
             "paper", {"steps": 0.0}, {"steps": float((far["falling"][1:] > bound).sum())}, 0.0, (),
             shown={"bound at the end": float(bound[-1])}),
        near("divergence_figures", "KL to the Nash policy (log10), constant eta = 1 after 100, falling eta after 100 and 2000.",
             "sheet", {"constant, 100": log(6e-10), "falling, 100": -6.0, "falling, 2000": -11.0},
             {"constant, 100": log(far["constant"][1]), "falling, 100": log(far["falling"][100]),
              "falling, 2000": log(far["falling"][2000])}, 0.5, ()),
        near("without_kl", "With tau = 0 and eta = 10 the last policy's gap is .18 at step 2000, the average policy's .007.",
             "sheet", {"last": 0.18, "average": 0.007},
             {"last": float(free.plain[-1]), "average": float(plain.plain_gap(free.average.log()))}, 0.005, (),
             shown={"last, largest of 500": float(free.plain[-500:].max()), "last, from the reference": float(even.plain[-1]),
                    "average, from the reference": float(plain.plain_gap(even.average.log()))}),
    ]  # fmt: skip


def _bounds(policies: Tensor, best: Tensor) -> Tensor:
    """Theorem 4's bound after each step, with C = max(B tau, 1) and B the largest |log policy / reference| seen."""
    log_ratio = (policies.log() + math.log(3)).abs().max()
    c = max(float(log_ratio) * 0.1, 1.0)
    return 32 * c**2 / (0.1**2 * torch.arange(2, len(policies) + 1, dtype=torch.float64))


def thresholds(seeds: Sequence[int] = ()) -> list[Claim]:
    """eta below which the exact update cycles, (tau^2 + omega^2) / (2 tau), and what happens 5 % to either side."""
    edge, ends = {}, {}
    for tau in THRESHOLDS:
        game = Game.of(P, tau)
        best = nash(game).log_policy
        edge[tau] = 1 / float(mirror.omd_threshold(game, rotation(game, best)))
        for factor in (0.95, 1.05):
            path = mirror.run(game, "inpo", 1 / (factor * edge[tau]), 20_000)
            ends[tau, factor] = (float(kl(best, path.theta)), float(path.gap[-1]))
    third = {}
    for eta in (0.2, 0.3, 0.005):
        game = Game.of(P, eta / 3)
        third[eta] = float(kl(nash(game).log_policy, mirror.run(game, "inpo", 1 / eta, 20_000).theta))
    settled = {f"tau {t:g}, {f:g} x": float(kl_end < 1e-12) for (t, f), (kl_end, _) in ends.items()}
    settled |= {f"tau eta/3, eta {eta:g}": float(x < 1e-12) for eta, x in third.items()}
    told = {name: float("1.05" in name or name.endswith("0.3")) for name in settled}
    return [
        near("thresholds", "eta below which the exact update goes round.", "sheet",
             {f"tau {t:g}": x for t, x in THRESHOLDS.items()}, {f"tau {t:g}": x for t, x in edge.items()}, 5e-4, ()),
        near("settles_above_it", "5 % above the threshold the last policy settles, 5 % below it does not; at tau = eta / 3 it "
             "settles for eta = .3 and not for .2, nor for the authors' .005 (1 where it settles).", "sheet", told, settled,
             0.0, (), shown={f"gap, tau {t:g}, {f:g} x": gap for (t, f), (_, gap) in ends.items()}),
    ]  # fmt: skip


def sampled(seeds: Sequence[int], fits: int = FITS, sizes: Sequence[int] = tuple(SIZES)) -> list[Claim]:
    """One step fitted to drawn pairs: i.i.d. with drawn labels, and the best against the worst of 8."""
    pi = LAST.softmax(0)
    exact = mirror.step(Game.of(P, 0.1), LAST, pi, 1.0).softmax(0)
    share, apart = product(pi, pi) * P, {}
    for i, g in enumerate(generators(seeds, 63)):
        for n in sizes:
            for name, law in (("iid", share), ("best of 8", None)):
                found = [fitted(_drawn(law, n, g) if law is not None else _ends_of_8(n, pi, g)) for _ in range(fits)]
                away = sum(float((x - exact).abs().sum() / 2) for x in found) / fits
                apart.setdefault((name, n), torch.zeros(len(seeds), dtype=torch.float64))[i] = away
    first, last = sizes[0], sizes[-1]
    slope = (apart["iid", last] / apart["iid", first]).log() / math.log(last / first)
    kept = {f"{n}": apart["best of 8", n] for n in sizes[1:]}
    return [
        above("iid_shrinks", "Independent pairs lead to the exact step as their number grows (distance at the fewest pairs "
              "over that at the most).", "sheet", {}, {"ratio": apart["iid", first] / apart["iid", last]}, 10.0, seeds),
        near("root_n", "The distance falls like n^-1/2 (exponent).", "sheet", {"exponent": -0.5}, {"exponent": slope}, 0.1,
             seeds),
        near("iid_figures", "Mean total variation to the exact step by number of pairs, over the sheet's figures.", "sheet",
             {f"{n}": 1.0 for n in sizes}, {f"{n}": apart["iid", n] / SIZES[n] for n in sizes}, 0.5, seeds),
        near("best_of_8_stays", "The best and the worst of 8 lead elsewhere, however many pairs.", "sheet",
             dict.fromkeys(kept, BEST_OF_8), kept, 0.005, seeds, shown={f"{first}": float(apart["best of 8", first].mean())}),
    ]  # fmt: skip


def _drawn(share: Tensor, count: int, g: torch.Generator) -> Tensor:
    """How often each ordered pair occurs among ``count`` independent pairs with drawn labels."""
    share = 2 * share / (2 * share).sum()
    found = torch.multinomial(share.flatten(), count, replacement=True, generator=g)
    return torch.bincount(found, minlength=9).double().reshape(3, 3) / count


def _ends_of_8(count: int, pi: Tensor, g: torch.Generator) -> Tensor:
    """Best and worst by mean preference against all 8, as ordered pairs; prompts whose 8 are alike give none."""
    arms = torch.multinomial(pi, count * 8, replacement=True, generator=g).reshape(count, 8)
    counts = torch.stack([(arms == a).sum(1) for a in range(3)], 1).double()
    score, absent = counts @ P.T / 8, counts == 0
    best, worst = score.masked_fill(absent, -1.0).argmax(1), score.masked_fill(absent, 2.0).argmin(1)
    found = torch.bincount((3 * best + worst)[best != worst], minlength=9).double().reshape(3, 3)
    return found / found.sum()


PAPER = Paper(
    slug="inpo",
    title="Iterative Nash Policy Optimization: Aligning LLMs with General Preferences via No-Regret Learning",
    arxiv="2407.00617",
    objective="inpo()",
    statements=(minimum, last_iterate, thresholds, sampled),
    formula_tests=("tests/objectives/test_anchored.py", "tests/games/test_mirror.py"),
    model_tests=("tests/papers/test_inpo_model.py",),
)
