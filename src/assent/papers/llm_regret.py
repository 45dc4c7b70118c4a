"""Do LLM agents have regret?  Tests of regret, and a loss that trains it away.  ICLR 2025, arXiv:2403.16843.

The loss is `games.regret.regret_loss`; ``regret()`` is its one-round form on groups.  The world is that of the project's sheet:
two actions, losses uniform on [0, 1], 2000 sequences a seed, learners with one parameter alpha (projection or softmax of
-alpha times the past losses); alpha is found to 1 % in logarithms.  Choices of this file: the tests of regret take T = 100 and
the mean curve of all sequences; one side's losses are raised by .1, .2 and .3.  Not stated: regrets of language models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assent.games import regret as r
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds.stacked import generators

ROUNDS = (25, 100, 400)
LEARNERS: dict[str, Callable[[Tensor, float], Tensor]] = {"projection": r.lazy_projection, "softmax": r.hedge}
SHEET = {"projection": (2.63, 2.74, 2.50), "softmax": (6.55, 6.82, 6.23)}
"""alpha* sqrt(T) at T = 25, 100, 400."""
MEAN, TRAPPED, LED = (0.82, 1.63, 3.25), (3.4, 6.7, 13.2), (12.25, 49.75, 199.75)
SLOPES = (1.14, 1.06, 1.02)
LIMITS = {1: 0.798, 2: 0.886}
"""E chi_d / sqrt(d)."""
BIASES = (0.1, 0.2, 0.3)


def losses(seeds: Sequence[int], rounds: int, sequences: int) -> Tensor:
    """Uniform losses [M, N, T, 2]."""
    return torch.stack(
        [torch.rand(sequences, rounds, 2, generator=g, dtype=torch.float64) for g in generators(seeds, 66)]
    )


def best_alpha(learner: str, found: Tensor, k: float = 0.0, group: int = 1) -> float:
    """The alpha that minimises the regret loss on ``found`` [N, T, 2], in groups of sequences; refined by thirds."""
    shaped = found.reshape(-1, group, *found.shape[-2:])
    low, high = math.log(0.3 / found.shape[-2] ** 0.5), math.log(30 / found.shape[-2] ** 0.5)

    def cost(at: float) -> float:
        return float(r.regret_loss(shaped, LEARNERS[learner](shaped, math.exp(at)), k))

    while high - low > math.log(10) / 200:  # the loss falls and rises once
        third = (high - low) / 3
        if cost(low + third) < cost(high - third):
            high -= third
        else:
            low += third
    return math.exp((low + high) / 2)


def step_size(seeds: Sequence[int], sequences: int = 2000, rounds: Sequence[int] = ROUNDS) -> list[Claim]:
    """What minimising the regret loss on random losses finds, and how it fares where follow-the-leader fails."""
    scaled, mean, apart = {}, {}, {}
    for t in rounds:
        drawn = losses(seeds, t, sequences)
        for name in LEARNERS:
            alpha = [best_alpha(name, one) for one in drawn]
            scaled[name, t] = torch.tensor(alpha, dtype=torch.float64) * t**0.5
            if name == "projection":
                plays = torch.stack([r.lazy_projection(x, a) for x, a in zip(drawn, alpha, strict=True)])
                mean[t] = r.regret(drawn, plays)[..., -1].mean(1)
        trap = r.trap(t)
        apart[t] = float(r.regret(trap, r.lazy_projection(trap, 2.6 / t**0.5))[-1])
    spread = {name: torch.stack([scaled[name, t] for t in rounds]) for name in LEARNERS}
    spread = {name: x.amax(0) / x.amin(0) - 1 for name, x in spread.items()}
    led = {t: float(r.regret(r.trap(t), r.follow_leader(r.trap(t)))[-1]) for t in rounds}
    growth = math.log(apart[rounds[-1]] / apart[rounds[0]]) / math.log(rounds[-1] / rounds[0])
    name = lambda t: f"T {t}"  # noqa: E731
    at = [ROUNDS.index(t) for t in rounds]
    told = {f"{n}, T {t}": SHEET[n][i] for n in LEARNERS for i, t in zip(at, rounds, strict=True)}
    return [
        above("no_regret_step", "The alpha that minimises the regret loss falls like T^-1/2: alpha sqrt(T) varies by less than "
              "25 % (room left).", "paper", {}, {n: 0.25 - x for n, x in spread.items()}, 0.0, seeds),
        near("alpha", "alpha sqrt(T) at the least loss, over the sheet's figures.", "sheet", dict.fromkeys(told, 1.0),
             {c: scaled[n, t] / told[c] for n in LEARNERS for t in rounds for c in [f"{n}, T {t}"]}, 0.1, seeds),
        near("mean_regret", "Its expected regret, which doubles with four times T.", "sheet",
             {name(t): MEAN[i] for i, t in zip(at, rounds, strict=True)}, {name(t): mean[t] for t in rounds}, 0.1, seeds),
        near("sublinear_in_the_trap", "On the alternating losses its regret grows like T^1/2 (exponent); that of the leader is "
             "linear.", "paper", {"exponent": 0.5}, {"exponent": growth}, 0.1, ()),
        near("trap", "Regret in the trap with alpha = 2.6 / sqrt(T).", "sheet",
             {name(t): TRAPPED[i] for i, t in zip(at, rounds, strict=True)}, {name(t): apart[t] for t in rounds}, 0.05, ()),
        near("follow_the_leader", "Follow-the-leader's regret in the trap is T / 2 - 1/4.", "sheet",
             {name(t): LED[i] for i, t in zip(at, rounds, strict=True)}, {name(t): led[t] for t in rounds}, 1e-9, ()),
    ]  # fmt: skip


def worst_of_four(seeds: Sequence[int], sequences: int = 2000) -> list[Claim]:
    """How the weight k of the worst of N = 4 sequences moves alpha, T = 100."""
    drawn = losses(seeds, 100, sequences)
    found = {k: torch.tensor([best_alpha("projection", x, k, 4) for x in drawn]) for k in (0.0, 1.0, 2.0, 5.0)}
    moved = torch.stack([x / found[0.0] - 1 for x in found.values()]).abs().amax(0).double()
    return [above("k_hardly_matters", "k from 0 to 5 moves alpha by less than 13 % (room left).", "sheet", {},
                  {"room": 0.13 - moved}, 0.0, seeds, shown={f"k {k:g}: alpha sqrt(T)": 10 * float(x.mean())
                                                             for k, x in found.items()})]  # fmt: skip


def weak_tests(seeds: Sequence[int], sequences: int = 2000) -> list[Claim]:
    """The two tests alone: a policy that never learns, and follow-the-leader in its trap."""
    drawn, half = losses(seeds, 100, sequences), torch.tensor(0.5, dtype=torch.float64)
    worlds = {"fair": drawn} | {f"bias {b:g}": drawn + torch.tensor([b, 0.0], dtype=torch.float64) for b in BIASES}
    curve = {n: r.regret(x, half.expand_as(x)).mean(1) for n, x in worlds.items()}
    growth = {n: [r.growth_test(one) for one in x] for n, x in curve.items()}
    trend = torch.tensor([r.trend_test(one).p for one in curve["fair"]], dtype=torch.float64)
    number = lambda n, what: torch.tensor([getattr(g, what) for g in growth[n]], dtype=torch.float64)  # noqa: E731
    led = {t: r.regret(r.trap(t), r.follow_leader(r.trap(t))) for t in ROUNDS}
    fits, falls = (
        {f"T {t}": r.growth_test(x).exponent for t, x in led.items()},
        [r.trend_test(x).falls for x in led.values()],
    )
    return [
        above("uniform_play_passes", "A policy that never learns passes both tests on i.i.d. losses (.05 less the trend's p; 1 "
              "less the exponent).", "sheet", {}, {"trend": 0.05 - trend, "exponent": 1 - number("fair", "exponent")}, 0.0,
              seeds, shown={"trend p": float(trend.mean())}),
        near("its_exponent", "Its exponent there.", "sheet", {"exponent": 0.48}, {"exponent": number("fair", "exponent")}, 0.05,
             seeds),
        near("p_tests_the_wrong_thing", "On biased losses its regret grows linearly in the end, and the usual p of the fit is "
             "near 0 all the same (largest p).", "sheet", {f"bias {b:g}": 0.0 for b in BIASES},
             {f"bias {b:g}": number(f"bias {b:g}", "p_zero").max() for b in BIASES}, 1e-10, seeds,
             shown={f"exponent, bias {b:g} (sheet: .92, bias not given)": float(number(f"bias {b:g}", "exponent").mean())
                    for b in BIASES}),
        near("leader_in_the_trap", "Follow-the-leader in the trap: exponents, and steps that lower its mean regret.", "sheet",
             {f"T {t}": x for t, x in zip(ROUNDS, SLOPES, strict=True)} | {"falls": 0.0}, fits | {"falls": float(sum(falls))},
             0.005, ()),
    ]  # fmt: skip


def linear_attention(seeds: Sequence[int], sequences: int = 4000, rounds: int = 100) -> list[Claim]:
    """One layer of linear attention, pi_t = W sum of past losses, on a ball with h(x) = x^2: its W at the least loss."""
    cosine, size = {}, {}
    for d in LIMITS:
        ws = []
        for g in generators(seeds, 67 + d):
            x = torch.randn(sequences, rounds, d, generator=g, dtype=torch.float64)
            best = x.sum(1).norm(dim=1)  # the best fixed point of the unit ball
            moments = torch.einsum("ntd,nte->nde", x, r.past(x)).flatten(1)
            ws.append(torch.linalg.lstsq(moments, -best[:, None]).solution.reshape(d, d))
        w = torch.stack(ws)
        alpha = -w.diagonal(dim1=1, dim2=2).mean(1)
        cosine[f"d {d}"] = alpha * d**0.5 / w.flatten(1).norm(dim=1)
        size[f"d {d}"] = alpha * (rounds * d) ** 0.5
    return [
        above("attention_finds_descent", "The matrix of a linear attention layer at the least regret loss is -alpha times the "
              "identity: lazy online gradient descent (cosine).", "paper", {}, cosine, 0.95, seeds),
        near("attention_step", "Its alpha sqrt(T d) is E chi_d / sqrt(d).", "sheet", {f"d {d}": x for d, x in LIMITS.items()},
             size, 0.02, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="llm-regret",
    title="Do LLM Agents Have Regret? A Case Study in Online Learning and Games",
    arxiv="2403.16843",
    objective="regret()",
    statements=(step_size, worst_of_four, weak_tests, linear_attention),
    formula_tests=("tests/games/test_regret.py", "tests/objectives/test_regret.py"),
    model_tests=("tests/papers/test_llm_regret_model.py",),
)
