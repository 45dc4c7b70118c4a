"""Preference Learning Algorithms Do Not Learn Preference Rankings.  Chen et al., arXiv:2405.19534.

The composition is ``gamma_dpo(beta, gamma)``, DPO with the reference's own gap scaled by gamma (gamma = 1 is DPO).
A pair has the log-ratio a = log p(w) / p(l) under the policy and the difficulty c = log r(l) / r(w) under the
reference; it is ranked right when a >= 0.  Sizes that the project's sheet leaves open: |w| = 1 in the true label's
sigmoid(3 x . w), 200 steps, shares over all 1000 pairs; the tolerance of its measured figures is .05 here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.diagnostics.difficulty import flip_time, idealised_accuracy, threshold_loss
from assent.objectives import parse
from assent.objectives.pair_weights import pair_weights
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds import reference_gap
from assent.worlds.reference_gap import scores
from assent.worlds.stacked import generators

BETAS = (0.01, 0.1, 1.0, 5.0, 10.0)


def thresholds(seeds: Sequence[int], pairs: int = 20_000) -> list[Claim]:
    """Theorem 4.1, propositions 2.6 and A.7 on random pairs: violations counted, none allowed."""
    found: dict[str, list[int]] = {"theorem 4.1": [], "proposition 2.6": [], "proposition A.7": []}
    for g in generators(seeds, 12):
        a, c = (20 * torch.randn(pairs, generator=g, dtype=torch.float64) for _ in range(2))
        beta, tau = 0.1, 0.05
        right, pair = a >= 0, scores(a + c, c)
        loss = parse(f"dpo(beta={beta})")(pair)
        found["theorem 4.1"].append(int(((loss <= threshold_loss(c, beta)) != right).sum()))
        found["proposition 2.6"].append(int(((c <= 0) & (loss <= 0.6) & ~right).sum()))
        squared = parse(f"ipo(tau={tau})")(pair)
        safe, reach = -c >= -1 / (2 * tau), 1 / (2 * tau) - c
        lost = ((squared <= reach**2) & safe & ~right) | (~safe & (squared <= 1e-9) & right)
        found["proposition A.7"].append(int(lost.sum()))
    runs = {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()}
    statement = "DPO ranks a pair right exactly when its loss is at most -log sigmoid(beta c); a loss of at most .6 is "
    return [
        near("thresholds", statement + "enough where the reference is right; IPO's thresholds: violations in 20000.",
             "paper", dict.fromkeys(runs, 0.0), runs, 0.0, seeds)
    ]  # fmt: skip


def optimum(seeds: Sequence[int], pairs: int = 1000) -> list[Claim]:
    """Theorem 3.1: the slope of DPO on labels of share alpha is 0 at a = -c + logit(alpha) / beta, for any beta."""
    worst = []
    for g in generators(seeds, 13):
        c = 20 * torch.randn(pairs, generator=g, dtype=torch.float64)
        share = 0.02 + 0.96 * torch.rand(pairs, generator=g, dtype=torch.float64)
        slopes = []
        for beta in BETAS:
            pair, dpo = scores(torch.logit(share) / beta, c), parse(f"dpo(beta={beta})")
            forward, back = pair_weights(dpo, pair)[0], pair_weights(dpo, pair.swapped())[0]
            slopes.append(((share * forward - (1 - share) * back) / beta).abs().max())
        worst.append(torch.stack(slopes).max())
    return [
        near("idealised_optimum", "Theorem 3.1: DPO's optimum has the log-ratio -c + logit(alpha) / beta.", "paper",
             {"largest slope": 0.0}, {"largest slope": torch.stack(worst)}, 1e-12, seeds)
    ]  # fmt: skip


def flips(seeds: Sequence[int], steps: int = 200) -> list[Claim]:
    """The sheet's world: c ~ N(10, 150^2), checkpoint of the lowest validation loss; gamma = 1, .5, 0."""
    world = reference_gap.draw(seeds, 10.0, 150.0)
    found, wrong = {}, world.c > 0
    for gamma in (1.0, 0.5, 0.0):
        theta, loss = reference_gap.fit(parse(f"gamma_dpo(beta=0.1, gamma={gamma})"), world, steps)
        found |= {f"{name}, gamma {gamma:g}": value for name, value in _ranks(world, theta).items()}
        found[f"loss, gamma {gamma:g}"] = loss[1] / loss[0]
    narrow = reference_gap.draw(seeds, 5.0, 20.0)
    control = _ranks(narrow, reference_gap.fit(parse("gamma_dpo(beta=0.1, gamma=1.0)"), narrow, steps)[0])["flipped"]
    flipped = {gamma: found[f"flipped, gamma {gamma}"] for gamma in ("1", "0.5", "0")}
    sheet = {
        "accuracy, gamma 1": 0.543, "flipped, gamma 1": 0.105, "agreement, gamma 1": 0.94, "accuracy, gamma 0.5": 0.645,
        "flipped, gamma 0.5": 0.33, "accuracy, gamma 0": 0.725, "flipped, gamma 0": 0.51,
    }  # fmt: skip
    seen = {
        "reference's accuracy": float(1 - wrong.double().mean()),
        "loss over its start": found["loss, gamma 1"].mean(),
    }
    seen |= {"reward accuracy": found["reward accuracy, gamma 1"].mean(), "accuracy": found["accuracy, gamma 1"].mean()}
    rest = {"room below a quarter": 0.25 - flipped["1"], "fall of the loss": 1 - found["loss, gamma 1"]}
    order = {"gamma 0.5 over 1": flipped["0.5"] - flipped["1"], "gamma 0 over 0.5": flipped["0"] - flipped["0.5"]}
    return [
        above("dpo_rarely_flips", "DPO's loss falls far while at most a quarter of the wrongly ranked pairs turn.",
              "paper", {}, rest, 0.0, seeds, shown={k: float(v) for k, v in seen.items()}),
        above("smaller_gamma_flips_more", "The less the reference's gap counts, the more wrong pairs turn.", "sheet",
              {}, order, 0.0, seeds),
        near("flip_figures", "Ranking accuracy, share of wrong pairs turned, agreement with the reference.", "sheet",
             sheet, found, 0.05, seeds),
        near("narrow_reference", "c ~ N(5, 20^2): 63 % of the wrong pairs turn under DPO; the scale of c decides.",
             "sheet", {"flipped": 0.63}, {"flipped": control}, 0.05, seeds),
    ]  # fmt: skip


def _ranks(world: reference_gap.ReferenceGap, theta: Tensor) -> dict[str, Tensor]:
    """Shares [M] of all pairs: ranked right, of the wrong ones turned right, with the reference, move in the right way."""
    move, wrong = world.moves(theta), world.c > 0
    right = move >= world.c
    return {
        "accuracy": right.double().mean(1),
        "flipped": (right & wrong).double().sum(1) / wrong.double().sum(1),
        "agreement": (right == ~wrong).double().mean(1),
        "reward accuracy": (move > 0).double().mean(1),
    }


def idealised(seeds: Sequence[int], pairs: int = 1000) -> list[Claim]:
    """What table 1's idealised accuracy would be by equation 3, and by the ratio of log-likelihoods of the authors' code.

    log r(l) ~ -U(50, 300), log r(w) = log r(l) - c, c ~ N(5, 20^2); alpha is .75 or .999, each for half of the pairs.
    """
    equation, code = [], []
    for g in generators(seeds, 14):
        rejected = -(50 + 250 * torch.rand(pairs, generator=g, dtype=torch.float64))
        c = 5 + 20 * torch.randn(pairs, generator=g, dtype=torch.float64)
        chosen = (rejected - c).clamp_max(-1.0)
        share = torch.tensor([0.75, 0.999], dtype=torch.float64).repeat(pairs // 2)
        equation.append(torch.stack([idealised_accuracy(rejected - chosen, share, beta) for beta in BETAS]))
        wrong_way = (chosen / rejected).log()  # the likelier response has the smaller magnitude
        code.append(torch.stack([idealised_accuracy(-wrong_way, share, beta) for beta in BETAS]))
    runs = {f"equation, beta {b:g}": torch.stack(equation)[:, i] for i, b in enumerate(BETAS)}
    runs |= {f"code, beta {b:g}": torch.stack(code)[:, i] for i, b in enumerate(BETAS)}
    sheet = dict(zip(runs, (1.0, 0.815, 0.468, 0.407, 0.396, 1.0, 1.0, 1.0, 0.98, 0.91), strict=True))
    gap = {f"beta {b:g}": runs[f"code, beta {b:g}"] - runs[f"equation, beta {b:g}"] for b in (1.0, 5.0, 10.0)}
    return [
        near("table_1_figures", "Idealised accuracy over beta .01, .1, 1, 5, 10: by equation 3, and by the code.",
             "sheet", sheet, runs, 0.02, seeds),
        above("table_1_follows_the_code", "At beta of 1 and more equation 3 stays near the reference; the code does not.",
              "sheet", {}, gap, 0.0, seeds),
    ]  # fmt: skip


def flip_times(seeds: Sequence[int] = ()) -> list[Claim]:
    """Gradient flow of DPO on two free logits: the time to turn a pair, from the objective's own slopes by Simpson."""
    found = {}
    for c in (5.0, 20.0, 50.0):
        move = torch.linspace(0, c, 2001, dtype=torch.float64)
        up, down = pair_weights(parse("dpo(beta=0.1)"), scores(move, torch.full_like(move, c)))
        weight = torch.tensor([4.0, 2.0], dtype=torch.float64).repeat(1000)[:-1]
        speed = 1 / (up + down)
        found[c] = float((speed[0] + (weight * speed[1:-1]).sum() + speed[-1]) * c / 6000)
    formula = {c: float(flip_time(torch.tensor(c, dtype=torch.float64), 0.1)) for c in found}
    figures = {"c = 5": 57.4, "c = 20": 419.0, "c = 50": 7621.0}
    off = max(abs(found[c] / formula[c] - 1) for c in found)
    return [
        near("flip_time", "Time to turn a pair grows as e^(beta c): [c + (e^(beta c) - 1) / beta] / (2 beta).", "sheet",
             {"relative error": 0.0}, {"relative error": off}, 1e-9, ()),
        near("flip_time_figures", "beta = .1: 57.4, 419 and 7621 (to the digits printed).", "sheet", figures,
             dict(zip(figures, found.values(), strict=True)), 0.5, ()),
    ]  # fmt: skip


PAPER = Paper(
    slug="preference-rankings",
    title="Preference Learning Algorithms Do Not Learn Preference Rankings",
    arxiv="2405.19534",
    objective="gamma_dpo()",
    statements=(thresholds, optimum, flips, idealised, flip_times),
    formula_tests=("tests/objectives/test_gamma_dpo.py", "tests/diagnostics/test_difficulty.py"),
    model_tests=("tests/papers/test_preference_rankings_model.py",),
)
