"""The limits of LCPO (arXiv:2509.24159), to be published beside its merits: E (i) to (v) of the project's sheet."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.worlds import linear, loop, tabular

LOSS = "lcpo(dpo(beta=1.0))"
TRUE = (0.935, 0.761, 0.587, 0.413, 0.239)
CROWD = (0.9,) * 12 + (0.2,) * 8


def cold_start(seeds: Sequence[int], epochs: int = 30) -> list[Claim]:
    """E (i), world B with one annotator: more than half of the labels wrong leads to the mirror image."""
    world = linear.stack([linear.draw(seeds, [eta], pairs=8000, features=8, norm=3.0) for eta in TRUE])
    fit = loop.fit(parse(LOSS), world, epochs=epochs)
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
    path = loop.fit(parse(LOSS), world, epochs=epochs).path
    found = {f"after {e}": path[e - 1][:, 0] for e in (1, 3, 10, 40) if e <= epochs}
    sheet = {"after 1": 0.72, "after 3": 0.90, "after 10": 0.98, "after 40": 0.996}
    return [
        near("memorisation_path", "One annotator at .75, 2000 parameters, 1000 pairs: the estimate after 1, 3, 10 "
             "and 40 epochs.", "sheet", {k: sheet[k] for k in found}, found, 0.05, seeds),
        above("memorisation", "One annotator at .75, more parameters than pairs: the estimate drifts to 1.",
              "sheet", {"last epoch": 0.996}, {"last epoch": path[-1][:, 0]}, 0.95, seeds),
    ]  # fmt: skip


def unidentified(seeds: Sequence[int], epochs: int = 100) -> list[Claim]:
    """E (iii), a tabular policy and one annotator: D - 1/2 = (p - 1/2)(2 eta - 1), so that eta is a free choice.

    Check: the marginal NLL per label reached by training with eta fixed at .8, .9 and .97 on world D's labels (one
    annotator at .75) differs by less than .001 nats, and online estimates end where their start lets them.
    """
    p, eta = torch.meshgrid(*[torch.linspace(0.001, 0.999, 333, dtype=torch.float64)] * 2, indexing="ij")
    gap = ((eta * p + (1 - eta) * (1 - p) - 0.5) - (p - 0.5) * (2 * eta - 1)).abs().max()
    world, nll, online = tabular.draw(seeds, [0.75]), {}, {}
    for value in (0.8, 0.9, 0.97):
        fit = loop.fit(parse(f"lcpo(dpo(beta=1.0), reliability={value})"), world, epochs=epochs)
        p = torch.sigmoid(parse("dpo(beta=1.0)").induced_logit(loop.pair_scores(world, fit.theta), {}))
        nll[value] = -(value * p + (1 - value) * (1 - p)).log().reshape(len(seeds), -1).mean(1)
        begin = torch.full_like(world.reliability, value)
        online[value] = loop.fit(parse(LOSS), world, epochs=epochs, start=begin).eta[:, 0]
    spread = {
        "identity": float(gap),
        "NLL, largest less smallest": torch.stack(list(nll.values())).aminmax(dim=0),
    }
    low, high = spread.pop("NLL, largest less smallest")
    return [
        near("unidentified", "Tabular policy, one annotator: D - 1/2 = (p - 1/2)(2 eta - 1), and the likelihood "
             "reached does not depend on the eta assumed (nats per label).", "sheet",
             {"identity": 0.0, "NLL, largest less smallest": 0.0},
             spread | {"NLL, largest less smallest": high - low}, 0.001, seeds,
             shown={f"online, start {v}": float(e.mean()) for v, e in online.items()}),
    ]  # fmt: skip


def dead_point(seeds: Sequence[int], epochs: int = 30) -> list[Claim]:
    """E (iv), world B with annotators at .935 and .761: starts at and below one half."""
    world = linear.draw(seeds, [0.935, 0.761], pairs=8000, features=8, norm=3.0)
    runs = linear.stack([world, world])
    start = torch.tensor([0.5, 0.4], dtype=torch.float64).repeat_interleave(len(seeds))[:, None].expand(-1, 2)
    fit = loop.fit(parse(LOSS), runs, epochs=epochs, start=start)
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
    stacked = linear.stack([world] * len(starts))
    start = torch.tensor(starts, dtype=torch.float64).repeat_interleave(len(seeds))[:, None].expand(-1, len(CROWD))
    fit = loop.fit(parse(LOSS), stacked, epochs=epochs, l2=1e-3, start=start)
    accuracy = linear.sign_accuracy(fit.theta, stacked.truth).reshape(len(starts), -1)
    rates = {}
    for rate in (0.001, 1.0):
        slow = loop.fit(parse(f"lcpo(dpo(beta=1.0), rate={rate})"), world, epochs=epochs, l2=1e-3)
        rates[f"rate {rate:g}"] = linear.sign_accuracy(slow.theta, world.truth)
    return [
        near("any_start", "World C: accuracy is the same for every start from .55 to .99.", "sheet",
             {f"start {s}": 0.955 for s in starts}, {f"start {s}": accuracy[i] for i, s in enumerate(starts)}, 0.01,
             seeds),
        near("rates", "World C: accuracy with the EMA's rate at .001 and at 1.", "sheet",
             {"rate 0.001": 0.884, "rate 1": 0.945}, rates, 0.02, seeds),
    ]  # fmt: skip


STATEMENTS = (cold_start, memorisation, unidentified, dead_point, starts_and_rates)
