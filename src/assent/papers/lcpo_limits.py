"""The limits of LCPO (arXiv:2509.24159), to be published beside its merits: E (i) to (v) of the project's sheet."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.worlds import linear, stacked, tabular

LOSS = "lcpo(dpo(beta=1.0))"
TRUE = (0.935, 0.761, 0.587, 0.413, 0.239)
CROWD = (0.9,) * 12 + (0.2,) * 8


def cold_start(seeds: Sequence[int], epochs: int = 30) -> list[Claim]:
    """E (i), world B with one annotator: more than half of the labels wrong leads to the mirror image."""
    world = linear.stack([linear.draw(seeds, [eta], pairs=8000, features=8, norm=3.0) for eta in TRUE])
    fit = stacked.fit(parse(LOSS), world, epochs=epochs)
    eta = fit.eta.reshape(len(TRUE), -1)
    accuracy = linear.sign_accuracy(fit.theta, world.truth).reshape(len(TRUE), -1)
    found = {f"eta at {true}": eta[i] for i, true in enumerate(TRUE)}
    found |= {f"accuracy at {true}": accuracy[i] for i, true in enumerate(TRUE)}
    return [
        near("one_annotator", "Fig. 2a (world B, one annotator, policy untrained at the start): the reliability is "
             "recovered at every flip rate from 0 to .8.", "paper", {f"eta at {true}": true for true in TRUE}, found,
             0.05, seeds),
        near("cold_start_mirror", "World B, one annotator: true .239 ends at .77 with accuracy .02, true .587 at .65.",
             "sheet", {"eta at 0.239": 0.77, "accuracy at 0.239": 0.02, "eta at 0.587": 0.65}, found, 0.05, seeds),
    ]  # fmt: skip


def memorisation(seeds: Sequence[int], epochs: int = 40) -> list[Claim]:
    """E (ii), one annotator and more parameters than pairs: memorised noise reads as reliability.

    Sizes that the sheet leaves open: |theta*| = 3 and the optimiser of world B.
    """
    world = linear.draw(seeds, [0.75], pairs=1000, features=2000, norm=3.0)
    path = stacked.fit(parse(LOSS), world, epochs=epochs).path
    found = {f"after {e}": path[e - 1][:, 0] for e in (1, 3, 10, 40) if e <= epochs}
    sheet = {"after 1": 0.72, "after 3": 0.90, "after 10": 0.98, "after 40": 0.996}
    return [
        near("memorisation_path", "One annotator at .75, 2000 parameters, 1000 pairs: the estimate after 1, 3, 10 "
             "and 40 epochs.", "sheet", {k: sheet[k] for k in found}, found, 0.05, seeds),
        above("memorisation", "One annotator at .75, more parameters than pairs: the estimate drifts to 1.",
              "sheet", {"last epoch": 0.996}, {"last epoch": path[-1][:, 0]}, 0.95, seeds),
    ]  # fmt: skip


def unidentified(seeds: Sequence[int], steps: int = 300) -> list[Claim]:
    """E (iii), a free p for every pair and one annotator: D - 1/2 = (p - 1/2)(2 eta - 1), so that eta is a free choice.

    Check on 3000 labels of 20 pairs (two responses to each prompt) by one annotator at .75: the marginal NLL per label
    after full-batch training with eta held at .8, .9 and .97 is the same.  Online estimates from those starts are
    shown beside it.
    """
    p, eta = torch.meshgrid(*[torch.linspace(0.001, 0.999, 333, dtype=torch.float64)] * 2, indexing="ij")
    gap = ((eta * p + (1 - eta) * (1 - p) - 0.5) - (p - 0.5) * (2 * eta - 1)).abs().max()
    world, nll, online = tabular.draw(seeds, [0.75], rows=3000, responses=2), [], {}
    size = {"epochs": steps, "batch": world.annotator.shape[1], "lr": 0.05}
    for value in (0.8, 0.9, 0.97):
        held, free = parse(f"lcpo(dpo(beta=1.0), reliability={value})"), parse(LOSS)
        fit = stacked.fit(held, world, **size)
        scores = stacked.pair_scores(world, fit.theta)
        loss = held.marginal_nll(scores, stacked.initial_state(held, world, fit.eta))
        nll.append(loss.reshape(len(seeds), -1).mean(1))
        start = torch.full_like(world.reliability, value)
        online[f"online estimate from {value}"] = float(stacked.fit(free, world, start=start, **size).eta.mean())
    low, high = torch.stack(nll).aminmax(dim=0)
    found = {"identity": float(gap), "NLL, largest less smallest": high - low}
    statement = (
        "A free p for every pair, one annotator: D - 1/2 = (p - 1/2)(2 eta - 1), and the likelihood reached does not "
        "depend on the eta assumed (nats per label)."
    )
    return [near("unidentified", statement, "sheet", dict.fromkeys(found, 0.0), found, 0.001, seeds, shown=online)]


def dead_point(seeds: Sequence[int], epochs: int = 30) -> list[Claim]:
    """E (iv), world B with annotators at .935 and .761: starts at and below one half."""
    world = linear.draw(seeds, [0.935, 0.761], pairs=8000, features=8, norm=3.0)
    runs = linear.stack([world, world])
    start = torch.tensor([0.5, 0.4], dtype=torch.float64).repeat_interleave(len(seeds))[:, None].expand(-1, 2)
    fit = stacked.fit(parse(LOSS), runs, epochs=epochs, start=start)
    half, below = fit.eta.split(len(seeds))
    accuracy = linear.sign_accuracy(fit.theta, runs.truth)[len(seeds) :]
    found = {
        "|theta| from .5": fit.theta[: len(seeds)].norm(dim=1), "eta from .5": half.mean(1),
        "accuracy from .4": accuracy, "first eta from .4": below[:, 0], "second eta from .4": below[:, 1],
    }  # fmt: skip
    predicted = {
        "|theta| from .5": 0.0, "eta from .5": 0.5, "accuracy from .4": 0.02,
        "first eta from .4": 1 - 0.935, "second eta from .4": 1 - 0.761,
    }  # fmt: skip
    statement = "eta_0 = .5 is a dead point; eta_0 below .5 ends at the mirror image."
    return [near("dead_point", statement, "sheet", predicted, found, 0.05, seeds)]


def starts_and_rates(seeds: Sequence[int], epochs: int = 40) -> list[Claim]:
    """E (v), world C: the start hardly matters, a slow EMA does."""
    world, starts = linear.draw(seeds, CROWD, pairs=1500, features=20, norm=4.0), (0.55, 0.75, 0.9, 0.99)
    runs = linear.stack([world] * len(starts))
    start = torch.tensor(starts, dtype=torch.float64).repeat_interleave(len(seeds))[:, None].expand(-1, len(CROWD))
    fit = stacked.fit(parse(LOSS), runs, epochs=epochs, l2=1e-3, start=start)
    accuracy = linear.sign_accuracy(fit.theta, runs.truth).reshape(len(starts), -1)
    found = {"rate 0.1": accuracy[starts.index(0.9)]}
    for rate in (0.001, 1.0):
        fit = stacked.fit(parse(f"lcpo(dpo(beta=1.0), rate={rate})"), world, epochs=epochs, l2=1e-3)
        found[f"rate {rate:g}"] = linear.sign_accuracy(fit.theta, world.truth)
    found |= {f"start {s}": accuracy[i] for i, s in enumerate(starts)}
    spread = {"largest less smallest": accuracy.mean(1).max() - accuracy.mean(1).min()}
    levels = {f"start {s}": 0.955 for s in starts} | {"rate 0.001": 0.884, "rate 1": 0.945}
    return [
        near("any_start", "World C: LCPO's accuracy is the same from every start between .55 and .99.", "sheet",
             {"largest less smallest": 0.002}, spread, 0.01, seeds),
        above("slow_rate", "World C: a moving average with rate .001 loses accuracy to rate .1.", "sheet",
              {"loss": 0.070}, {"loss": found["rate 0.1"] - found["rate 0.001"]}, 0.03, seeds),
        near("levels", "World C: accuracy by start and by rate.", "sheet", levels, found, 0.02, seeds),
    ]  # fmt: skip


STATEMENTS = (cold_start, memorisation, unidentified, dead_point, starts_and_rates)
