"""SPPO: self-play preference optimisation.  ICLR 2025, arXiv:2405.00675.

The composition is ``sppo()`` on judged pairs of the last policy's samples.  World A of the project's sheet: log-linear policies
whose responses have features, chosen and rejected alike by rho; hard labels at beta = 1, plain descent from zero.  World B: a
cycle of three arms whose only equilibrium is (1/3, 2/9, 4/9), tables, exact multiplicative weights (`games.mirror`, row
sppo).  The sheet prints no start for B; its figures are those of (.3, 0, -.3), found by trying starts, as for INPO.  Not
stated: the win rates of language models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.games import matrices, mirror
from assent.games.equilibrium import Game
from assent.games.expectation import Facts, expected_loss, product
from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.worlds.solving import solve
from assent.worlds.stacked import generators

P = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))
LAST = torch.tensor([0.4, -0.1, -0.5], dtype=torch.float64)
NEAR = torch.tensor([0.3, 0.0, -0.3], dtype=torch.float64)
LOSSES = {"dpo": ("dpo(beta=1.0)", 0.2), "ipo": ("ipo(tau=1.0)", 0.02), "sppo": ("sppo(beta=1.0)", 0.02)}
"""Loss and rate of plain descent."""
ALIKE = {"dpo": (-10.3, 0.05, 1.0), "ipo": (-0.41, 0.38, 1.0), "sppo": (0.22, 0.85, 0.93)}
APART = {"dpo": -3.3, "ipo": 0.14, "sppo": 0.37}
"""The sheet's chosen log-ratio, share above 0 and accuracy at rho = .9, and the log-ratio at rho = 0."""
DISTANCE = {0.1: 1.8e-7, 1.0: 1.6e-4, 5.0: 0.011, 20.0: 0.072}


def trained(name: str, rho: float, seeds: Sequence[int], steps: int = 3000) -> dict[str, Tensor]:
    """Mean chosen log-ratio, share above 0 and pair accuracy [M] after training on 24 pairs among 60 responses."""
    drawn = [_features(g, rho) for g in generators(seeds, 64)]
    x, f = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    objective, rate = parse(LOSSES[name][0]), LOSSES[name][1]
    theta = torch.zeros(len(seeds), 4, 12, dtype=torch.float64)
    start = torch.full((len(seeds) * 24,), -math.log(60), dtype=torch.float64)
    row = torch.arange(24)

    def sides(theta: Tensor) -> tuple[Tensor, Tensor]:
        logp = torch.einsum("mkd,mde,mye->mky", x, theta, f).log_softmax(-1)
        return logp[:, row, 2 * row], logp[:, row, 2 * row + 1]

    for _ in range(steps):
        theta.requires_grad_()
        w, l = sides(theta)
        loss = objective(PairScores(Scores(w.flatten(), start), Scores(l.flatten(), start))).sum() / 24
        (slope,) = torch.autograd.grad(loss, theta)
        theta = theta.detach() - rate * slope
    w, l = (side + math.log(60) for side in sides(theta))
    return {"a": w.mean(1), "share": (w > 0).double().mean(1), "accuracy": (w > l).double().mean(1)}


def _features(g: torch.Generator, rho: float) -> tuple[Tensor, Tensor]:
    """Prompts [24, 4] and responses [60, 12]; prompt k has chosen 2k and rejected 2k + 1, alike by rho."""
    x = torch.randn(24, 4, generator=g, dtype=torch.float64) / 2
    f, noise = torch.randn(2, 60, 12, generator=g, dtype=torch.float64)
    f[1:48:2] = rho * f[0:48:2] + math.sqrt(1 - rho**2) * noise[1:48:2]
    return x, f


def chosen_rises(seeds: Sequence[int], steps: int = 3000) -> list[Claim]:
    """World A: where the chosen responses' log-probabilities go."""
    far = {rho: {name: trained(name, rho, seeds, steps) for name in LOSSES} for rho in (0.0, 0.9)}
    close = trained("sppo", 0.98, seeds, steps)
    order = {
        f"{a} less {b}, rho {rho:g}": found[a]["a"] - found[b]["a"]
        for rho, found in far.items() for a, b in (("sppo", "ipo"), ("ipo", "dpo"))
    }  # fmt: skip
    a = lambda rho: {name: x["a"] for name, x in far[rho].items()}  # noqa: E731
    said = {f"{name}, {what}": ALIKE[name][i] for name in LOSSES for i, what in ((1, "share"), (2, "accuracy"))}
    seen = {f"{name}, {what}": far[0.9][name][what] for name in LOSSES for what in ("share", "accuracy")}
    return [
        above("chosen_rises", "SPPO raises the chosen log-probability, also where chosen and rejected are alike (mean "
              "log-ratio).", "paper", {}, {f"rho {rho:g}": far[rho]["sppo"]["a"] for rho in far}, 0.0, seeds),
        above("order", "The chosen log-ratio is highest under SPPO, then IPO, then DPO, at rho 0 and .9.", "sheet", {}, order,
              0.0, seeds),
        near("apart", "Mean chosen log-ratio at rho = 0, over the sheet's figures.", "sheet", dict.fromkeys(APART, 1.0),
             {name: x / APART[name] for name, x in a(0.0).items()}, 0.25, seeds),
        near("alike", "Mean chosen log-ratio at rho = .9, over the sheet's figures.", "sheet", dict.fromkeys(ALIKE, 1.0),
             {name: x / ALIKE[name][0] for name, x in a(0.9).items()}, 0.25, seeds),
        near("alike_shares", "Share of chosen log-ratios above 0 and pair accuracy at rho = .9.", "sheet", said, seen, 0.1,
             seeds),
        near("accuracy_is_the_price", "SPPO's pair accuracy falls as the sides become alike: .84 at rho = .98.", "sheet",
             {"accuracy": 0.84}, {"accuracy": close["accuracy"]}, 0.05, seeds),
    ]  # fmt: skip


def cycle(seeds: Sequence[int] = ()) -> list[Claim]:
    """World B: the last policy and the average of all."""
    game = Game.of(P, 0.0)
    path, even = (mirror.run(game, "sppo", 0.1, 2000, start=x, every=1) for x in (NEAR, game.ref))
    average = float(game.plain_gap(path.average.log()))
    over = {}
    for steps in (125, 500, 2000, 8000):  # Hedge's bound of the regret, twice, at size T^-1/2
        found = mirror.run(game, "sppo", steps**-0.5, steps, start=NEAR)
        bound = 2 * (-float(NEAR.log_softmax(0).min()) + 1 / 8) / steps**0.5
        over[f"T {steps}"] = float(game.plain_gap(found.average.log())) / bound
    return [
        near("last_iterate_cycles", "The last policy does not settle: its gap after 2000 steps of size .1, and the largest of "
             "the last 500.", "sheet", {"last": 0.18, "largest": 0.3},
             {"last": float(path.plain[-1]), "largest": float(path.plain[-500:].max())}, 0.005, (),
             shown={"last, from the reference": float(even.plain[-1])}),
        near("average_settles", "The average policy's gap is .007.", "sheet", {"average": 0.007}, {"average": average}, 5e-4,
             (), shown={"average, from the reference": float(game.plain_gap(even.average.log()))}),
        near("average_rate", "The average policy's gap is O(T^-1/2) with steps of size T^-1/2: within 2 (ln(1/min pi_1) + 1/8) "
             "T^-1/2 (largest gap over this bound, less 1 where above).", "paper", {"beyond": 0.0},
             {"beyond": max(0.0, max(over.values()) - 1)}, 0.0, (), shown={f"{t}: gap / bound": x for t, x in over.items()}),
    ]  # fmt: skip


def constant_baseline(seeds: Sequence[int] = ()) -> list[Claim]:
    """What the constant 1/2 in place of log Z costs: the loss's own minimum against multiplicative weights."""
    game, pi = Game.of(P, 0.0), LAST.softmax(0)
    rates = 0.5 + game.against(pi)
    apart = {}
    for eta in DISTANCE:
        loss, facts = parse(f"sppo_soft(beta={1 / eta!r})"), Facts(LAST.log_softmax(0), rates=rates)
        mean = lambda x, loss=loss, facts=facts: expected_loss(loss, x.log_softmax(0), facts, product(pi, pi))  # noqa: E731
        ends = solve(mean, LAST, max_iter=500, tol=1e-12).softmax(0)
        exact = mirror.step(game, LAST, pi, eta).softmax(0)
        apart[f"eta {eta:g}"] = float((ends - exact).abs().sum() / 2)
    return [near("constant_baseline", "Total variation between the normalised minimum and multiplicative weights, over the "
                 "sheet's figures.", "sheet", dict.fromkeys(apart, 1.0),
                 {f"eta {eta:g}": apart[f"eta {eta:g}"] / x for eta, x in DISTANCE.items()}, 0.05, ())]  # fmt: skip


PAPER = Paper(
    slug="sppo",
    title="Self-Play Preference Optimization for Language Model Alignment",
    arxiv="2405.00675",
    objective="sppo()",
    statements=(chosen_rises, cycle, constant_baseline),
    formula_tests=("tests/objectives/test_sppo.py", "tests/games/test_mirror.py"),
    model_tests=("tests/papers/test_sppo_model.py",),
)
