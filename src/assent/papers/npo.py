"""NPO: forgetting that slows down by itself.  arXiv:2404.05868.

The composition is ``npo()``, with ``+ retain()`` for what must stay.  Both worlds are those of the project's sheet.
World A: one answer of probability sigmoid(z), z = 2 at the start, gradient flow (Euler steps of .01 up to t = 10, of .1 up
to 100 and of 1 after).  World B (the authors' synthetic): 1000 inputs to retain from N(-alpha 1, I) in 16 dimensions and 200
to forget from N(+alpha 1, I), 128 random ReLU features, a linear head of two classes that starts at 0; "before" fits both
sets, "retrained" the first, by 20000 full-batch steps at rate .05; then 2000 steps of forgetting from "before".  The measure
is KL(retrained || current) on 1000 fresh inputs of each set, taken every 20 steps.  The sheet's figures of world B are those
of one seed.  Figures that the sheet gives without a tolerance have .05, ratios a tenth.  No statement is made of TOFU.
Worlds differ more than the methods do: of seeds 100-104 the first and last never come near the retrained head (best KL on
forget inputs 1.5 and .3, for gradient ascent and NPO alike), the others to .012.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import logsigmoid

from assent.objectives import parse, step_loss
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import Scores
from assent.worlds import unlearning

TIMES = (10, 100, 1000)
FLOW = {"gradient_ascent()": (-0.98, -90.6, -990.6), "npo(beta=0.1)": (-0.89, -28.0, -52.8),
        "npo(beta=0.5)": (-0.59, -9.0, -13.9), "npo(beta=1.0)": (-0.31, -5.2, -7.7)}  # fmt: skip
"""z at `TIMES`."""
METHODS = {"GA": ("gradient_ascent()", 5e-4), "GA + retain": ("gradient_difference()", 5e-4),
           "NPO": ("npo(beta=1.0)", 5e-3), "NPO + retain": ("npo_retain(beta=1.0)", 5e-3)}  # fmt: skip
"""Loss and learning rate."""
SLOW = {"NPO, rate 5e-4": ("npo(beta=1.0)", 5e-4)}
SHEET = {"GA": (0.0156, 0.119, 0.098, 0.721), "GA + retain": (0.0153, 0.045, 0.102, 0.159),
         "NPO": (0.0149, 0.101, 0.019, 0.142), "NPO + retain": (0.0131, 0.019, 0.013, 0.019)}  # fmt: skip
"""Best KL on forget inputs, KL on retain inputs there, and both at the end."""


def flow(text: str, start: float = 2.0, times: Sequence[int] = TIMES) -> list[float]:
    """z at each of ``times`` under gradient flow."""
    objective, z, t, found = parse(text), torch.tensor([start], dtype=torch.float64), 0.0, []
    ref = logsigmoid(z)
    label = {"label": torch.zeros(1, dtype=torch.float64)}
    for until in times:
        dt = until / 1000
        for _ in range(round((until - t) / dt)):
            z.requires_grad_(True)
            (slope,) = torch.autograd.grad(step_loss(objective, Scores(logsigmoid(z), ref, columns=label)), z)
            z = z.detach() - dt * slope
        t = until
        found.append(float(z))
    return found


def one_answer(seeds: Sequence[int]) -> list[Claim]:
    """World A: how fast an answer is forgotten.  Nothing is random."""
    found = {text: flow(text) for text in (*FLOW, "npo(beta=2.0)")}
    drop = {text: z[1] - z[2] for text, z in found.items()}
    rate = {f"beta {b:g}": drop[f"npo(beta={b!r})"] * b / math.log(10) for b in (0.1, 0.5, 1.0)}
    linear = {"drop over 900": drop["gradient_ascent()"] / 900}
    cells = {f"{text} at {t}": z[i] for text, z in found.items() for i, t in enumerate(TIMES)}
    predicted = {f"{text} at {t}": z[i] for text, z in FLOW.items() for i, t in enumerate(TIMES)}
    early = {"drop at beta 2": drop["npo(beta=2.0)"]}
    return [
        near("linear_collapse", "Under gradient ascent the logit falls linearly in t, by 900 from t = 100 to 1000.", "paper",
             dict.fromkeys(linear, 1.0), linear, 0.1, ()),
        near("log_rate", "Under NPO the logit falls like ln t / beta: its drop from t = 100 to 1000 times beta / ln 10.",
             "paper", dict.fromkeys(rate, 1.0), rate, 0.1, ()),
        near("not_yet", "At beta = 2 it is not there yet: the drop is 1.32 where ln 10 / beta is 1.15.", "sheet",
             dict.fromkeys(early, 1.32), early, 0.05, ()),
        near("flow", "The logit at t = 10, 100 and 1000.", "sheet", predicted, cells, 0.05, ()),
    ]  # fmt: skip


def two_sets(seeds: Sequence[int], fit_steps: int = 20_000, steps: int = 2000) -> list[Claim]:
    """World B at alpha = 1: what forgetting does to what should stay."""
    world = unlearning.draw(seeds, 1.0)
    courses = unlearning.forgotten(world, unlearning.fitted(world, fit_steps), METHODS, steps)
    figures = {m: course.figures() for m, course in courses.items()}
    words = ("best forget", "retain there", "final forget", "final retain")
    cells = {f"{w}, {m}": v for m, values in figures.items() for w, v in zip(words, values, strict=True)}
    predicted = {f"{w}, {m}": v for m, values in SHEET.items() for w, v in zip(words, values, strict=True)}
    cells |= {"start, forget": courses["GA"].forget[0], "start, retain": courses["GA"].retain[0]}
    predicted |= {"start, forget": 1.618, "start, retain": 0.017}
    drift = {m: figures[m][2] - figures[m][0] for m in ("GA", "NPO")}
    best = {"NPO's over GA's": figures["NPO"][0] / figures["GA"][0]}
    held = {"rise": courses["NPO + retain"].retain[-1] - courses["NPO + retain"].retain[0]}
    way = {m: courses[m].distance for m in ("GA", "NPO")}
    return [
        above("npo_stays", "On retain inputs gradient ascent ends farther from the retrained model than NPO.", "sheet",
              {"GA less NPO": 0.721 - 0.142}, {"GA less NPO": figures["GA"][3] - figures["NPO"][3]}, 0.0, seeds),
        above("drifts_on", "On forget inputs gradient ascent drifts farther than NPO once the best point is passed.", "sheet",
              {"GA less NPO": 0.078}, {"GA less NPO": drift["GA"] - drift["NPO"]}, 0.0, seeds),
        near("equal_best", "The best forgetting of NPO and of gradient ascent is equal.", "sheet", dict.fromkeys(best, 1.0),
             best, 0.1, seeds),
        near("retain_holds", "NPO + retain keeps the KL on retain inputs near its start.", "sheet", {"rise": 0.002}, held,
             0.05, seeds),
        near("distance", "How far the head moves.", "sheet", {"GA": 2.67, "NPO": 1.06}, way, 0.05, seeds),
        near("courses", "KL(retrained || current) at the start, at the best point and at the end.", "sheet", predicted, cells,
             0.05, seeds),
    ]  # fmt: skip


def one_place(seeds: Sequence[int], fit_steps: int = 20_000, steps: int = 2000) -> list[Claim]:
    """World B at alpha = 0, where the two sets overlap."""
    world = unlearning.draw(seeds, 0.0)
    final = {
        m: c.forget[-1]
        for m, c in unlearning.forgotten(world, unlearning.fitted(world, fit_steps), METHODS | SLOW, steps).items()
    }
    predicted = {"NPO": 1.34, "NPO, rate 5e-4": 0.49, "GA": 3.10, "NPO + retain": 0.12}
    gap = {f"{m} less NPO + retain": final[m] - final["NPO + retain"] for m in ("NPO", "GA")}
    gap |= {"GA less NPO at one rate": final["GA"] - final["NPO, rate 5e-4"]}
    return [
        above("overlap_drifts", "Where the sets overlap NPO alone drifts too, less than gradient ascent; NPO + retain holds: "
              "gaps of the final KL on forget inputs.", "sheet", dict(zip(gap, (1.22, 2.98, 2.61), strict=True)), gap, 0.0,
              seeds),
        near("overlap", "The final KL on forget inputs where the sets overlap.", "sheet", predicted, final, 0.05, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="npo",
    title="Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning",
    arxiv="2404.05868",
    objective="npo() + retain()",
    statements=(one_answer, two_sets, one_place),
    formula_tests=("tests/objectives/test_npo.py",),
    model_tests=("tests/papers/test_npo_model.py",),
)
