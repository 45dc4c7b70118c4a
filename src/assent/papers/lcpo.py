"""Latent Collective Preference Optimization (also Robust Preference Optimization, RE-PO).  arXiv:2509.24159.

The composition is ``lcpo(dpo())``: any pairwise loss induces a logit, EM over the labels gives every annotator a
reliability.  Worlds A to D are those of the project's sheet on the paper; its limits E are in `lcpo_limits`.  Where the
sheet leaves a size open the choice is: Adam at .02 falling linearly to 0, batches of 64, beta = 1, annotators with
equal shares, world A 10 passes, world D 30; l2 is l2/2 |theta|^2 on the mean loss; the AUC is that of the posterior
after training on the training pairs.  Source "paper" means that the paper claims it, here checked on a small world.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers import lcpo_limits
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.robust import LCPO
from assent.scores import Labels, PairScores, Scores
from assent.worlds import linear, stacked, tabular

LOSS = "lcpo(dpo(beta=1.0))"
TRUE = (0.935, 0.761, 0.587, 0.413, 0.239)  # .935 (1 - rho) + .065 rho for flip rates rho = 0, .2, .4, .6, .8
CROWD = (0.9,) * 12 + (0.2,) * 8  # world C
PANEL = (0.95,) * 5 + (0.25,) * 3  # world D


def calibrated_margins(seeds: Sequence[int], epochs: int = 10) -> list[Claim]:
    """World A: s ~ N(0, 2^2) known exactly, only the reliabilities move."""
    world = linear.stack([linear.draw(seeds, [eta], pairs=8000, features=1, norm=2.0) for eta in TRUE])
    found = stacked.fit(parse(LOSS), world, epochs=epochs, lr=0.0, theta=world.truth).eta.reshape(len(TRUE), -1)
    runs = {f"{eta}": found[i] for i, eta in enumerate(TRUE)}
    worst = float((found - torch.tensor(TRUE)[:, None]).abs().max())
    statement = "Theorem 4.1 (world A): with calibrated margins the mini-batch EMA ends at the true reliability."
    return [
        near("theorem_ema", statement, "paper", {f"{eta}": eta for eta in TRUE}, runs, 0.02, seeds,
             shown={"largest error of a seed": worst})
    ]  # fmt: skip


def population_operator(seeds: Sequence[int] = ()) -> list[Claim]:
    """Theorem 4.1 without sampling: the objective's own M-step (rate 1) on a fine grid of weighted margins."""
    starts = (0.05, 0.55, 0.99)
    true = torch.tensor((0.95, *TRUE), dtype=torch.float64).repeat(len(starts))
    path = population_path(true, torch.tensor(starts, dtype=torch.float64).repeat_interleave(1 + len(TRUE)), 300)
    gaps = (path[:, 6] - 0.95).abs()  # the run with eta* = .95 from .55
    late = int((gaps > 1e-7).sum()) - 1  # before rounding enters
    observed = float(gaps[late] / gaps[late - 1])
    s, density = _grid()
    p = torch.sigmoid(s)
    d = 0.95 * p + 0.05 * (1 - p)
    formula = float((density * p * (1 - p) / (d * (1 - d))).sum() / density.sum())
    error = {"largest error": float((path[-1] - true).abs().max())}
    figure = "EM's linear rate at eta* = .95 is .81297 (to the digits printed)."
    return [
        near("theorem_any_start", "Theorem 4.1: the population operator reaches eta* from any start in (0, 1).",
             "paper", {"largest error": 0.0}, error, 1e-12, ()),
        near("linear_rate", "EM's linear rate at eta* = .95 is E[p(1-p) / (D(1-D))].", "sheet",
             {"observed less formula": 0.0}, {"observed less formula": observed - formula}, 1e-6, (),
             shown={"observed": observed, "formula": formula}),
        near("linear_rate_figure", figure, "sheet", {"rate": 0.81297}, {"rate": formula}, 5e-6, ()),
    ]  # fmt: skip


def _grid() -> tuple[Tensor, Tensor]:
    """Margins s and the density of N(0, 2^2) there, symmetric and fine enough for rounding to be the only error."""
    s = torch.linspace(-24, 24, 801, dtype=torch.float64)
    return s, torch.exp(-(s**2) / 8)


def population_path(eta: Tensor, start: Tensor, steps: int) -> Tensor:
    """Reliabilities [steps + 1, K] of full-batch M-steps from ``start`` [K] for annotators of true ``eta`` [K]."""
    s, density = _grid()
    p = torch.sigmoid(s)
    weight = (density * (eta[:, None] * p + (1 - eta[:, None]) * (1 - p))).reshape(-1)  # margin in the order observed
    margins = s.repeat(len(eta))
    zero = torch.zeros_like(margins)
    annotator = torch.arange(len(eta)).repeat_interleave(len(s))
    labels = Labels(torch.arange(len(margins)), annotator, torch.ones_like(margins), weight=weight)
    scores = PairScores(Scores(margins, zero), Scores(zero, zero), weight=weight, labels=labels)
    objective, path = LCPO(parse("dpo(beta=1.0)"), rate=1.0), [start]
    for _ in range(steps):
        state = {"eta": path[-1]}
        path.append(objective.update(state, objective.sums(scores, state))["eta"])
    return torch.stack(path)


def two_annotators(seeds: Sequence[int], epochs: int = 30) -> list[Claim]:
    """World B: policy and reliabilities learned together, a steady annotator beside one that gets worse."""
    worlds = [linear.draw(seeds, [TRUE[0], eta], pairs=8000, features=8, norm=3.0) for eta in TRUE]
    world, runs, predicted = linear.stack(worlds), {}, {}
    robust = stacked.fit(parse(LOSS), world, epochs=epochs)
    plain = stacked.fit(parse("dpo(beta=1.0)"), world, epochs=epochs)
    found = robust.eta.reshape(len(TRUE), len(seeds), 2)
    lengths = {
        name: (fit.theta.norm(dim=1) / 3).reshape(len(TRUE), -1) for name, fit in (("lcpo", robust), ("dpo", plain))
    }
    for i, eta in enumerate(TRUE):
        for annotator, true in ((1, TRUE[0]), (2, eta)):
            predicted[f"annotator {annotator}, second at {eta}"] = true
            runs[f"annotator {annotator}, second at {eta}"] = found[i, :, annotator - 1]
    worst = max(float((runs[cell] - true).abs().max()) for cell, true in predicted.items())
    sizes = {f"lcpo, second at {eta}": lengths["lcpo"][i] for i, eta in enumerate(TRUE)}
    sizes |= {f"dpo, second at {eta}": lengths["dpo"][i] for i, eta in enumerate(TRUE)}
    expected = {f"lcpo, second at {eta}": 0.99 for eta in TRUE}
    expected |= {f"dpo, second at {TRUE[0]}": 0.65, f"dpo, second at {TRUE[-1]}": 0.09}
    return [
        near("two_annotators", "Fig. 2b (world B): learned jointly, both annotators' reliabilities are recovered at "
             "every noise level of the second.", "paper", predicted, runs, 0.05, seeds,
             shown={"largest error of a seed": worst}),
        near("implicit_reward_length", "World B: |theta| / |theta*| stays near 1 under LCPO and falls under DPO.",
             "sheet", expected, sizes, 0.05, seeds),
    ]  # fmt: skip


def crowd(seeds: Sequence[int], epochs: int = 40) -> list[Claim]:
    """World C, the headline: 20 annotators, 12 at .9 and 8 at .2, few pairs."""
    world = linear.draw(seeds, CROWD, pairs=1500, features=20, norm=4.0)
    eps = 1 - sum(CROWD) / len(CROWD)
    methods = {
        "lcpo": (LOSS, world), "dpo": ("dpo(beta=1.0)", world),
        "cdpo": (f"cdpo(beta=1.0, eps={eps!r})", world), "rdpo": (f"rdpo(beta=1.0, eps={eps!r})", world),
        "lcpo, names hidden": (LOSS, world.anonymous()),
    }  # fmt: skip
    fits = {name: stacked.fit(parse(text), data, epochs=epochs, l2=1e-3) for name, (text, data) in methods.items()}
    accuracy = {name: linear.sign_accuracy(fit.theta, world.truth) for name, fit in fits.items()}
    lead = {f"over {name}": accuracy["lcpo"] - accuracy[name] for name in accuracy if name != "lcpo"}
    oracle = stacked.Fit(world.truth, world.reliability, ())
    reading = {
        "mean error of eta": (fits["lcpo"].eta - world.reliability).abs().mean(1),
        "AUC of w": linear.auc(stacked.posterior(parse(LOSS), world, fits["lcpo"]), world.right),
        "AUC, Bayes": linear.auc(stacked.posterior(parse(LOSS), world, oracle), world.right),
    }
    baselines = {"dpo": 0.858, "cdpo": 0.855, "rdpo": 0.857, "lcpo, names hidden": 0.865}
    return [
        above("crowd_beats_baselines", "World C: with annotators known LCPO ranks held-out pairs better than DPO, "
              "label smoothing, rDPO and LCPO with one annotator.", "paper", {}, lead, 0.0, seeds),
        above("crowd_accuracy", "World C: held-out sign accuracy of LCPO with 20 annotators.", "sheet",
              {"lcpo": 0.954}, {"lcpo": accuracy["lcpo"]}, 0.94, seeds),
        above("crowd_lead", "World C: LCPO's lead over DPO in held-out sign accuracy.", "sheet",
              {"over dpo": 0.096}, {"over dpo": lead["over dpo"]}, 0.08, seeds),
        near("crowd_baselines", "World C: held-out sign accuracy of the baselines.", "sheet", baselines, accuracy,
             0.02, seeds),
        near("crowd_labels", "World C: reliabilities, and the posterior's AUC for wrong labels.", "sheet",
             {"mean error of eta": 0.06, "AUC of w": 0.954, "AUC, Bayes": 0.980}, reading, 0.02, seeds),
    ]  # fmt: skip


def policy(seeds: Sequence[int], epochs: int = 30) -> list[Claim]:
    """World D: tabular softmax policies, exact regret of E[r] - KL, eight annotators."""
    world, eps = tabular.draw(seeds, PANEL), 1 - sum(PANEL) / len(PANEL)
    methods = {
        "dpo, clean labels": ("dpo(beta=1.0)", world.clean()), "lcpo": (LOSS, world),
        "rdpo": (f"rdpo(beta=1.0, eps={eps!r})", world), "lcpo, names hidden": (LOSS, world.anonymous()),
        "dpo": ("dpo(beta=1.0)", world), "cdpo": (f"cdpo(beta=1.0, eps={eps!r})", world),
    }  # fmt: skip
    regret = {
        name: tabular.regret(stacked.fit(parse(text), data, epochs=epochs).theta, world.reward)
        for name, (text, data) in methods.items()
    }
    noisy = ("rdpo", "lcpo, names hidden", "dpo", "cdpo")
    sheet = (0.013, 0.032, 0.15, 0.27, 0.32, 0.51)
    return [
        above("policy_beats_baselines", "World D: with annotators known LCPO's regret is below every noisy "
              "baseline's.", "paper", {}, {f"below {n}": regret[n] - regret["lcpo"] for n in noisy}, 0.0, seeds),
        above("policy_halves_regret", "World D: LCPO at least halves DPO's regret.", "sheet",
              {"dpo over lcpo": 10.0}, {"dpo over lcpo": regret["dpo"] / regret["lcpo"]}, 2.0, seeds),
        near("policy_regret", "World D: regret of E[r] - KL.", "sheet", dict(zip(methods, sheet, strict=True)),
             regret, 0.05, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="lcpo",
    title="Latent Collective Preference Optimization: A General Framework for Robust LLM Alignment",
    arxiv="2509.24159",
    objective="lcpo(dpo())",
    statements=(calibrated_margins, population_operator, two_annotators, crowd, policy, *lcpo_limits.STATEMENTS),
    formula_tests=("tests/robust/test_lcpo_sheet.py", "tests/robust/test_lcpo_pooling.py"),
    model_tests=("tests/papers/test_lcpo_model.py",),
)
