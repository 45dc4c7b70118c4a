"""Provably Robust DPO: labels flipped at a known rate, corrected without bias.  arXiv:2403.00409.

The composition is ``unbiased(dpo(), eps)``.  The world is that of the project's sheet: log-linear policies over 200
prompts of 6 responses in 8 dimensions, beta = 1, the flip rate known to all methods, losses minimised to the end with
l2/2 |theta|^2 at l2 = 1e-4 on the mean loss.  Where the sheet gives figures without a tolerance it is .05, as in LCPO's
world D.  LCPO with a fixed reliability, whose gradient holds the posterior constant, is trained by full-batch Adam.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds import linear, log_linear, solving, stacked

RATES = {0.0: 2000, 0.1: 2000, 0.2: 2000, 0.3: 8000, 0.4: 8000}
"""Flip rates with the number of rows."""
SHEET = {
    0.0: (0.005, 0.005, 0.005, 0.005),
    0.1: (0.133, 0.334, 0.013, 0.008),
    0.2: (0.399, 0.746, 0.030, 0.019),
    0.3: (0.679, 1.043, 0.025, 0.012),
    0.4: (0.981, 1.232, 0.094, 0.039),
}
METHODS = ("dpo", "cdpo", "rdpo", "lcpo, reliability fixed")
GRID = ((0.1, 1000), (0.1, 4000), (0.1, 16000), (0.2, 1000), (0.2, 4000), (0.2, 16000), (0.3, 4000), (0.3, 16000),
        (0.4, 16000))  # fmt: skip
L2 = 1e-4


def expression(method: str, eps: float) -> str:
    """The loss of a pairwise method that knows the flip rate."""
    return "dpo(beta=1.0)" if method == "dpo" else f"{method}(beta=1.0, eps={eps!r})"


def regret(seeds: Sequence[int], rates: Sequence[float] = tuple(RATES), steps: int = 400) -> list[Claim]:
    """Regret of E[r] - KL by flip rate."""
    runs, predicted = {}, {}
    for eps in rates:
        world, phi = log_linear.draw(seeds, eps, rows=RATES[eps])
        thetas = {m: solving.fit(parse(expression(m, eps)), world, l2=L2) for m in METHODS[:3]}
        fixed = parse(f"lcpo(dpo(beta=1.0), reliability={1 - eps!r})")
        thetas[METHODS[3]] = stacked.fit(fixed, world, epochs=steps, batch=RATES[eps], lr=0.05, l2=L2).theta
        for method, figure in zip(METHODS, SHEET[eps], strict=True):
            runs[method, eps] = log_linear.regret(thetas[method], phi, world.truth)
            predicted[f"{method} at {eps:g}"] = figure
    noisy = [eps for eps in rates if eps > 0]
    lead = {f"{m} at {eps:g}": runs[m, eps] - runs["rdpo", eps] for m in ("dpo", "cdpo") for eps in noisy}
    ratio = {f"at {eps:g}": runs["dpo", eps] / runs["rdpo", eps] for eps in noisy if eps >= 0.2}
    cells = {f"{method} at {eps:g}": value for (method, eps), value in runs.items()}
    claims = [
        above("less_regret", "rDPO's regret is below that of DPO and of label smoothing at every flip rate above 0.",
              "paper", {}, lead, 0.0, seeds),
        above("three_times", "At flip rates from .2 rDPO's regret is at least 3 times below DPO's.", "sheet",
              {f"at {eps:g}": SHEET[eps][0] / SHEET[eps][2] for eps in noisy if eps >= 0.2}, ratio, 3.0, seeds),
        near("regret", "Regret by flip rate.", "sheet", predicted, cells, 0.05, seeds),
    ]  # fmt: skip
    if 0.0 in rates:
        equal = {m: (runs[m, 0.0] - runs["dpo", 0.0]).abs().max() for m in ("cdpo", "rdpo")}
        claims.append(near("equal_without_noise", "At flip rate 0 the three losses give one policy (largest difference "
                           "in regret).", "paper", dict.fromkeys(equal, 0.0), equal, 1e-9, seeds))  # fmt: skip
    return claims


def scaled_error(seeds: Sequence[int], grid: Sequence[tuple[float, int]] = GRID, repeats: int = 4) -> list[Claim]:
    """Logistic regression in 8 dimensions, |theta*| = 2: the error of rDPO times sqrt(n) (1 - 2 eps)."""
    draws = [100_000 + repeats * seed + i for seed in seeds for i in range(repeats)]
    cells = {}
    for eps, rows in grid:
        world = linear.draw(draws, [1 - eps], pairs=rows, features=8, norm=2.0)
        theta = solving.fit(parse(expression("rdpo", eps)), world, l2=L2)
        error = (theta - world.truth).norm(dim=1) * rows**0.5 * (1 - 2 * eps)
        cells[f"flips {eps:g}, n = {rows}"] = error.reshape(len(seeds), repeats).mean(1)
    means = torch.stack(list(cells.values())).mean(1)
    steady = {"smallest over largest mean": means.min() / means.max()}
    return [
        above("error_order", "rDPO's error grows like 1 / (1 - 2 eps) and falls like n^-1/2: over rates and sizes the "
              "largest scaled error is less than 1.5 times the smallest, each the mean of four runs a seed.", "paper", {},
              steady, 1 / 1.5, seeds),
        near("scaled_error", "The scaled error lies between 8.8 and 12.1.", "sheet", dict.fromkeys(cells, 10.45), cells,
             1.65, seeds),
    ]  # fmt: skip


def ranking(seeds: Sequence[int], rows: int = 4000) -> list[Claim]:
    """The sheet's companion: uniform flips shrink margins, they do not turn them."""
    world, _ = log_linear.draw(seeds, 0.3, rows=rows)
    found = {
        m: linear.sign_accuracy(solving.fit(parse(expression(m, 0.3)), world, l2=L2), world.truth) for m in METHODS[:3]
    }
    gap = {f"rdpo less {m}": found["rdpo"] - found[m] for m in ("dpo", "cdpo")}
    return [
        near("same_ranking", "At flip rate .3 the sign accuracy on held-out pairs is the same for DPO, label smoothing "
             "and rDPO.", "sheet", dict.fromkeys(gap, 0.0), gap, 0.005, seeds),
        near("ranking", "Sign accuracy at flip rate .3 with 4000 pairs.", "sheet", dict.fromkeys(found, 0.95), found,
             0.01, seeds),
    ]  # fmt: skip


def too_little_data(seeds: Sequence[int], rows: int = 1000) -> list[Claim]:
    """The sheet's companion: with few pairs the loss, unbounded below, carries the policy away."""
    norms = {}
    for eps in (0.3, 0.4):
        world, _ = log_linear.draw(seeds, eps, rows=rows)
        norms[f"flips {eps:g}"] = solving.fit(parse(expression("rdpo", eps)), world, l2=L2).norm(dim=1)
    return [
        above("runs_off", "With 1000 pairs rDPO's parameters end at more than twice their true length, 2.", "sheet",
              {"flips 0.3": 8.1, "flips 0.4": 32.0}, norms, 4.0, seeds)
    ]  # fmt: skip


PAPER = Paper(
    slug="rdpo",
    title="Provably Robust DPO: Aligning Language Models with Noisy Feedback",
    arxiv="2403.00409",
    objective="rdpo()",
    statements=(regret, scaled_error, ranking, too_little_data),
    formula_tests=("tests/robust/test_unbiased.py",),
    model_tests=("tests/papers/test_rdpo_model.py",),
)
