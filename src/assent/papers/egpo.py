"""EGPO: extragradient preference optimisation, last iterates that reach the Nash policy.  COLM 2025, arXiv:2503.08942.

The composition is ``ipo_soft()`` whose win rates are against the policy after a half step (`games.mirror`, row egpo).  World A
is a cycle of three arms; world B the authors' setting, 10 arms and a drawn reference, 4 games a seed, 5 for what is sampled
or follows a loss step by step.  Sizes: s = 4 rate / (beta n).  Gaps at the level of rounding count as 0.  The sheet does not
say to which game its gaps without KL belong: they are read as world A's.  Not stated: win rates of language models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from assent.games import matrices, mirror
from assent.games.descent import descend, policy_gradient
from assent.games.equilibrium import Game, nash, rotation
from assent.games.expectation import Facts, gradient
from assent.games.noisy import noisy_gaps
from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds.stacked import generators

CYCLE = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))
START = torch.tensor([0.5, 0.0, -0.5], dtype=torch.float64)
FLOOR = 1e-15
"""What float64 leaves of a gap or a divergence of 0."""
PLAIN = {0.1: 0.027, 0.05: 0.018, 0.02: 0.009, 0.01: 0.005, 0.005: 0.0024}


def drawn(seeds: Sequence[int], beta: float, each: int = 4, arms: int = 10) -> Game:
    """``each`` games a seed [M each, A, A] with references of standard normal logits."""
    draws = [g for g in generators(seeds, 61) for _ in range(each)]
    p = matrices.random(draws, arms)
    return Game.of(p, beta, torch.stack([torch.randn(arms, generator=g, dtype=torch.float64) for g in draws]))


def cycle(seeds: Sequence[int] = ()) -> list[Claim]:
    """World A: three methods after 2000 updates."""
    found = {}
    for beta, size in ((0.01, 1.0), (0.01, 0.5), (0.05, 0.5)):
        game = Game.of(CYCLE, beta)
        best = nash(game).log_policy
        for method in ("egpo", "omd", "nash_md"):
            path = mirror.run(game, method, size, 2000, start=START)
            found[f"{method}, beta {beta:g}, size {size:g}"] = float(path.divergence(best)[-1])
    told = {"omd, beta 0.01, size 1": (0.2, 0.005), "nash_md, beta 0.01, size 1": (0.19, 0.005),
            "omd, beta 0.01, size 0.5": (1.5e-4, 5e-6), "nash_md, beta 0.01, size 0.5": (1.5e-4, 5e-6),
            "nash_md, beta 0.05, size 0.5": (2e-5, 5e-6)}  # fmt: skip
    game = Game.of(CYCLE, 0.01)
    edge = float(mirror.omd_threshold(game, rotation(game, nash(game).log_policy)))
    plain = {f"beta {b:g}": float(Game.of(CYCLE, b).plain_gap(nash(Game.of(CYCLE, b)).log_policy)) for b in PLAIN}
    gone = {name: x for name, x in found.items() if name not in told}
    return [
        near("egpo_settles", "EGPO reaches the Nash policy in the last iterate, also where self-play cycles; with beta .05 so "
             "does self-play (KL).", "paper", dict.fromkeys(gone, 0.0), gone, FLOOR, ()),
        near("cycle_figures", "KL of the other methods after 2000 updates: distance to the sheet's figures in halves of their "
             "last digit.", "sheet", dict.fromkeys(told, 0.0), {n: (found[n] - x) / u for n, (x, u) in told.items()}, 1.0, (),
             shown={f"{name}: KL": found[name] for name in told}),
        near("threshold", "The size above which self-play cycles at beta .01.", "sheet", {"size": 0.748}, {"size": edge},
             5e-4, ()),
        near("plain_gap", "The regularised equilibrium's gap in the game without KL falls about linearly in beta.", "sheet",
             {f"beta {b:g}": x for b, x in PLAIN.items()}, plain, 5e-4, ()),
    ]  # fmt: skip


def same_step(seeds: Sequence[int]) -> list[Claim]:
    """The loss of the registry against the closed form, on world B."""
    game, size = drawn(seeds, 0.01), 0.8
    arms = game.p.shape[-1]
    uniform, loss = torch.full((arms, arms), arms**-2.0, dtype=torch.float64), parse("ipo_soft(tau=0.01)")
    worst = []
    for p, ref in zip(game.p, game.ref, strict=True):
        one, theta, miss = Game(p, ref, 0.01), ref, 0.0
        for _ in range(20):
            o = mirror.extrapolated(one, theta, size)
            slope = gradient(loss, lambda x: x.log_softmax(0), theta, Facts(ref, one.against(o)), uniform)
            moved, theta = theta - size * 0.01 * arms / 4 * slope, mirror.step(one, theta, o, size)
            miss = max(miss, float((moved - moved.mean() - theta).abs().max()))
        worst.append(miss)
    return [near("gradient_is_the_step", "A gradient step on the online IPO loss is the tabular rule, rate = s beta n / 4 "
                 "(largest difference in logits over 20 steps of every game).", "paper", {"difference": 0.0},
                 {"difference": max(worst)}, 1e-11, seeds)]  # fmt: skip


def sheet_games(seeds: Sequence[int] = ()) -> list[Claim]:
    """The sheet's own three games of world B, beta .01 and size .8."""
    edge, gap, last = {}, {}, {}
    for i in range(3):
        draw = np.random.default_rng(i)
        below = torch.zeros(10, 10, dtype=torch.float64)
        below[*torch.tril_indices(10, 10, -1)] = torch.from_numpy(draw.random(45))
        p = below + (1 - below).mT.triu(1) + torch.eye(10, dtype=torch.float64) / 2
        game = Game.of(p, 0.01, torch.from_numpy(draw.standard_normal(10)))
        egpo = mirror.run(game, "egpo", 0.8, 2500, every=500)
        edge[f"game {i}"] = float(mirror.omd_threshold(game, rotation(game, nash(game).log_policy)))
        gap[f"game {i}"], last[f"game {i}"] = 1e6 * float(egpo.gap[1]), float(egpo.gap[-1])
        last[f"game {i}, self-play"] = float(mirror.run(game, "omd", 0.8, 5000).gap[-1])
    told = {"game 0, self-play": (2e-5, 5e-6), "game 1, self-play": (0.45, 0.005), "game 2, self-play": (2e-16, FLOOR)}
    told |= {f"game {i}": (0.0, FLOOR) for i in range(3)}
    return [
        near("sheet_gaps_at_500", "EGPO's gap after 500 updates, in millionths.", "sheet",
             {"game 0": 2.0, "game 1": 4.0, "game 2": 6.0}, gap, 0.5, ()),
        near("sheet_ends", "Gaps of EGPO after 2500 and of self-play after 5000 updates: distance to the sheet's figures in "
             "halves of their last digit, or in 1e-15.", "sheet", dict.fromkeys(told, 0.0),
             {n: (last[n] - x) / u for n, (x, u) in told.items()}, 1.0, (), shown={f"{n}: gap": last[n] for n in told}),
        near("sheet_thresholds", "Thresholds of self-play, over the sheet's figures.", "sheet", dict.fromkeys(edge, 1.0),
             {n: x / t for (n, x), t in zip(edge.items(), (0.91, 0.43, 37.0), strict=True)}, 0.02, ()),
    ]  # fmt: skip


def random_games(seeds: Sequence[int]) -> list[Claim]:
    """World B at beta .01 and size .8, the authors' rate: EGPO 5000 updates, self-play 20,000."""
    game, size = drawn(seeds, 0.01), 0.8
    found = nash(game)
    egpo = mirror.run(game, "egpo", size, 5000, every=100)
    omd = mirror.run(game, "omd", size, 20_000, every=20)
    kl = egpo.divergence(found.log_policy)
    bound = (1 - size * 0.01) ** torch.tensor(egpo.at, dtype=torch.float64)[:, None] * kl[0]
    edge = mirror.omd_threshold(game, rotation(game, found.log_policy))
    far = omd.divergence(found.log_policy)
    middle, last = far[400:600].amax(0), far[-200:].amax(0)
    cycles = (last > 0.9 * middle) & (last > FLOOR)
    at = {n: egpo.gap[egpo.at.index(n)] for n in (500, 2500, 5000)}
    many = drawn(seeds, 0.01, each=100)
    below = (mirror.omd_threshold(many, rotation(many, nash(many).log_policy)) < size).double()
    none = lambda bad: {"games": float(bad.sum())}  # noqa: E731
    return [
        near("lowest_gap", "EGPO's gap after 5000 updates is not above self-play's in any game.", "paper", {"games": 0.0},
             none(at[5000] > omd.gap[omd.at.index(5000)].clamp_min(FLOOR)), 0.0, seeds,
             shown={"games played": float(len(edge)), "egpo, largest gap": float(at[5000].max()),
                    "self-play, largest gap": float(omd.gap[omd.at.index(5000)].max())}),
        near("linear_rate", "KL(Nash || EGPO) is within (1 - s beta)^T of its start in every game, at every hundredth step.",
             "paper", {"games": 0.0}, none((kl > bound + FLOOR).any(0)), 0.0, seeds),
        near("gap_after_2500", "EGPO's gap after 2500 updates is below 1e-15 in every game.", "sheet", {"games": 0.0},
             none(at[2500] > FLOOR), 0.0, seeds, shown={"largest gap": float(at[2500].max()),
                                                        "largest gap after 500": float(at[500].max())}),
        near("cycles_where_predicted", "Self-play cycles where 2 beta / (beta^2 + omega^2) is below the size and settles "
             "elsewhere (games that do otherwise).", "sheet", {"games": 0.0}, none(cycles != (edge < size)), 0.0, seeds,
             shown={"games that cycle": float(cycles.sum()), "nearest threshold / size": float(nearest(edge / size))}),
        near("share_that_cycles", "About 35 % of random games have a threshold below .8.", "sheet", {"share": 0.35},
             {"share": below.reshape(len(seeds), -1).mean(1)}, 0.05, seeds),
    ]  # fmt: skip


def nearest(ratio: Tensor) -> Tensor:
    """The ratio nearest to 1."""
    return ratio[ratio.log().abs().argmin()]


def other_losses(seeds: Sequence[int]) -> list[Claim]:
    """World B at beta .1, rate .1, 1000 updates, with pairs from the policy itself and with policy gradients."""
    beta, rate = 0.1, 0.1
    game = drawn(seeds, beta, each=1)
    size = 4 * rate / (beta * game.p.shape[-1])
    gaps = {method: mirror.run(game, method, size, 1000).gap[-1] for method in ("egpo", "omd")}
    ends = descend(parse(f"ipo(tau={beta})"), game, lambda theta: theta.softmax(-1), game.ref, rate, 1000)
    gaps |= {"online ipo 2": game.gap(ends), "nash-md-pg": game.gap(policy_gradient(game, size, rate, 1000))}
    tiny = {name: gaps[name].max() for name in ("egpo", "omd")}
    slow = {name: gaps[name].clamp_min(1e-17).log10() for name in ("online ipo 2", "nash-md-pg")}
    return [
        near("both_settle", "At beta .1 EGPO and self-play are at rounding after 1000 updates (largest gap).", "sheet",
             dict.fromkeys(tiny, 0.0), tiny, FLOOR, seeds),
        near("slower_losses", "Pairs from the policy itself leave a gap of about 1e-6, policy gradients 1e-2 (log10).",
             "sheet", {"online ipo 2": -6.0, "nash-md-pg": -2.0}, slow, 1.0, seeds),
    ]  # fmt: skip


def noise(seeds: Sequence[int], steps: int = 40_000) -> list[Claim]:
    """World B, 100 drawn pairs and opponents a step, rate 2e-4: mean gaps over the second half."""
    found = noisy_gaps(drawn(seeds, 0.01, each=1), ("omd", "egpo"), rate=2e-4, steps=steps, seeds=seeds)
    lead = found["egpo"] - found["omd"]
    return [above("not_better_under_noise", "With sampled gradients at small steps EGPO is not better in every game: its mean "
                  "gap less self-play's, where it is largest.", "sheet", {}, {"largest difference": lead.max().reshape(1)},
                  0.0, seeds, shown={"games where EGPO's gap is larger": float((lead > 0).sum()),
                                     "mean gap, egpo": float(found["egpo"].mean()),
                                     "mean gap, self-play": float(found["omd"].mean())})]  # fmt: skip


PAPER = Paper(
    slug="egpo",
    title="Extragradient Preference Optimization (EGPO): Beyond Last-Iterate Convergence for Nash Learning from Human Feedback",
    arxiv="2503.08942",
    objective="egpo()",
    statements=(cycle, same_step, sheet_games, random_games, other_losses, noise),
    formula_tests=(
        "tests/objectives/test_anchored.py",
        "tests/games/test_mirror.py",
        "tests/games/test_equilibrium.py",
    ),
    model_tests=("tests/papers/test_egpo_model.py",),
)
