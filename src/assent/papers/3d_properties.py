"""3D-Properties: Identifying Challenges in DPO and Charting a Path Forward.  Yan et al., arXiv:2406.07327.

The compositions are ``flex_dpo(beta_pos, beta_neg)`` and ``sft_dpo(gamma, beta)`` beside ``dpo(beta)``.  Worlds A and B
are those of the project's sheet.  Where it leaves a size open: the policies of world B are fitted to their start by
1500 steps of Adam, .005 falling to 0; p+ is the mean over the four prompts; its measured means have tolerance .05 here.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.diagnostics.three_d import log_unseen
from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.worlds import unseen

STARTS = {"S1": (0.3, 0.3), "S2": (0.3, 0.02), "S3": (0.02, 0.3), "S4": (0.02, 0.02)}
METHODS = {
    "dpo": "dpo(beta=0.1)",
    "flex": "flex_dpo(beta_pos=0.1, beta_neg=0.05)",
    "sft": "sft_dpo(gamma=0.01, beta=0.1)",
}
STEPS = (0, 100, 500, 2000)


def corollaries(seeds: Sequence[int] = ()) -> list[Claim]:
    """Corollaries 1 and 2 in the coordinates p+, p-, by autograd through the objective."""
    beta, slopes = 0.1, []
    for rejected in (-690.0, -700.0):
        p = torch.tensor([0.3, 1.0], dtype=torch.float64, requires_grad=True)
        ref = torch.tensor([0.2], dtype=torch.float64).log()
        logp = p.log() + torch.tensor([0.0, rejected], dtype=torch.float64)  # d/dp- without leaving float64
        pair = PairScores(Scores(logp[:1], ref), Scores(logp[1:], ref))
        (slope,) = torch.autograd.grad(parse(f"dpo(beta={beta})")(pair).sum(), p)
        slopes.append((float(slope[0]), float(slope[1])))
    balance = max(abs(0.3 * w + l) / l for w, l in slopes)
    growth = float(torch.tensor(slopes[1][1] / slopes[0][1], dtype=torch.float64).log()) / -10 - 1
    return [
        near("corollaries", "Slopes in p: p+ dl/dp+ = -p- dl/dp- (1); |dl/dp-| grows as p-^(beta - 1) (2), beta = .1.",
             "paper", {"relative imbalance": 0.0, "exponent": beta - 1}, {"relative imbalance": balance, "exponent": growth},
             1e-9, ())
    ]  # fmt: skip


def exact_geometry(seeds: Sequence[int] = (), last: int = 20_000) -> list[Claim]:
    """World A: one prompt, ten responses, the unseen one four times as steep along the axis that DPO moves."""
    dpo = unseen.geometry(parse("dpo(beta=0.1)"), [0, 21, 100, min(last, 1000)])
    found = {
        f"{side} at {step}": float(dpo[i, j])
        for i, step in ((1, 21), (2, 100), (3, 1000))
        for j, side in enumerate(("p+", "p-", "unseen"))
    }
    predicted = {
        "p+ at 21": 0.109, "p+ at 100": 0.027, "p- at 100": 0.0026, "unseen at 100": 0.913, "p+ at 1000": 0.0,
        "p- at 1000": 0.0, "unseen at 1000": 1.0,
    }  # fmt: skip
    flex, limits, told = {}, {}, {}
    for beta_neg, limit in ((0.05, 7 / 13), (0.01, 37 / 39), (0.08, 0.0)):
        text = f"flex_dpo(beta_pos=0.1, beta_neg={beta_neg})"
        path = unseen.geometry(parse(text), [min(last, 1000), last])
        flex |= {f"{side} at 1000, {beta_neg}": float(path[0, j]) for j, side in enumerate(("p+", "p-", "unseen"))}
        told[f"p+, {beta_neg}"], limits[f"p+, {beta_neg}"] = limit, float(path[-1, 0])
    sheet = dict(zip(flex, (0.522, 0.008, 0.470, 0.797, 0.091, 0.102, 0.0, 0.0, 1.0), strict=True))
    sft = unseen.geometry(parse("sft_dpo(gamma=0.01, beta=0.1)"), [100, last])
    return [
        near("geometry_dpo", "World A: DPO first lifts p+ (peak .109 at step 21), then all mass goes to the unseen "
             "response.", "sheet", predicted, found, 1e-3, (), shown={"p- at 1000, exactly": found["p- at 1000"]}),
        near("geometry_flex", "World A: Flex-DPO at step 1000, beta_neg .05, .01 and .08 beside .1 (.08: DPO's fate).",
             "sheet", sheet, flex, 1e-3, ()),
        near("geometry_limits", "World A: p+ ends at max(0, (13 beta_pos - 19 beta_neg) / (13 (beta_pos - beta_neg))).",
             "sheet", told, limits, 1e-3, (), shown={"step": float(last)}),
        near("geometry_sft", "World A: SFT-DPO, gamma .01: p+ is .056 at step 100 and .823 at 20000.", "sheet",
             {"p+ at 100": 0.056, "p+ at 20000": 0.823}, {"p+ at 100": float(sft[0, 0]), "p+ at 20000": float(sft[-1, 0])},
             1e-3, ()),
    ]  # fmt: skip


def toy(seeds: Sequence[int], steps: Sequence[int] = STEPS, fitting: int = 1500) -> list[Claim]:
    """World B, the paper's toy: MLPs from four starts on- and off-policy, DPO and its two regularisers."""
    start = unseen.draw(seeds, list(STARTS.values()), fitting)
    watched = sorted({*range(0, steps[-1] + 1, 20), *steps})
    paths = {name: unseen.train(parse(text), start, watched) for name, text in METHODS.items()}
    mean = {name: path[0].exp().mean(2).reshape(len(watched), len(STARTS), -1) for name, path in paths.items()}
    p = {
        name: {f"{s} at {step}": mean[name][watched.index(step), i] for i, s in enumerate(STARTS) for step in steps}
        for name in METHODS
    }
    final = {name: {s: mean[name][-1, i] for i, s in enumerate(STARTS)} for name in METHODS}
    peak = {s: mean["dpo"][:, i].amax(0) for i, s in enumerate(STARTS)}
    chosen, rejected = paths["dpo"]
    by_start = functools.partial(_by_start, len(seeds))
    outside = by_start(log_unseen(chosen, rejected).exp().mean(2))
    log_rejected = by_start(rejected.mean(2))
    half = watched.index(steps[-2])
    on = torch.minimum(peak["S1"], peak["S2"]) - torch.maximum(peak["S3"], peak["S4"])
    properties = {
        "drop: fall of log p-, S1": log_rejected["S1"][0] - log_rejected["S1"][-1],
        "degradation: peak of p+ less its end, S1": peak["S1"] - final["dpo"]["S1"],
        "dispersion: rise of the mass outside the pair, S1": outside["S1"][-1] - outside["S1"][0],
    }
    small = {s: float(log_rejected[s][half].mean()) / 2.302585 for s in STARTS}
    return [
        above("three_properties", "World B: DPO drives p- down, lets p+ fall from its peak, and mass goes to responses "
              "outside the pair.", "paper", {}, properties, 0.0, seeds,
              shown={f"log10 p- at {steps[-2]}, {s}": v for s, v in small.items()}),
        above("on_policy", "World B: p+ peaks highest where the chosen side is on-policy (S1, S2 over S3, S4).", "paper",
              {}, {"lead": on}, 0.0, seeds),
        above("regularisers", "World B: Flex-DPO ends with more p+ than DPO in S1 to S3, SFT-DPO in all four.", "paper",
              {}, {f"flex, {s}": final["flex"][s] - final["dpo"][s] for s in ("S1", "S2", "S3")}
              | {f"sft, {s}": final["sft"][s] - final["dpo"][s] for s in STARTS}, 0.0, seeds),
        above("flex_fails_off_policy", "World B: Flex-DPO does not help in S4, both sides off-policy (DPO less Flex).",
              "sheet", {"dpo less flex": 0.07}, {"dpo less flex": final["dpo"]["S4"] - final["flex"]["S4"]}, 0.0, seeds),
        *_figures(seeds, p, outside["S1"][-1], steps),
    ]  # fmt: skip


def _by_start(seeds: int, values: Tensor) -> dict[str, Tensor]:
    """[S, starts x seeds] as one [S, seeds] for each start."""
    return dict(zip(STARTS, values.split(seeds, 1), strict=True))


def _figures(
    seeds: Sequence[int], p: dict[str, dict[str, Tensor]], outside: Tensor, steps: Sequence[int]
) -> list[Claim]:
    """The sheet's measured means of p+ in world B."""
    dpo = ((0.3, 0.9, 0.47, 0.38), (0.3, 0.89, 0.61, 0.5), (0.02, 0.1, 0.26, 0.1), (0.02, 0.04, 0.19, 0.25))
    told = {f"{s} at {t}": x for s, row in zip(STARTS, dpo, strict=True) for t, x in zip(STEPS, row, strict=True)}
    cells = [f"{s} at {steps[-1]}" for s in STARTS]
    return [
        near("toy_dpo", "World B: mean p+ under DPO at steps 0, 100, 500 and 2000.", "sheet",
             {k: v for k, v in told.items() if k in p["dpo"]}, p["dpo"], 0.05, seeds),
        near("toy_dispersion", "World B: mass outside the pair in S1 ends at .62.", "sheet", {"S1": 0.62},
             {"S1": outside}, 0.05, seeds),
        near("toy_flex", "World B: mean p+ under Flex-DPO (.1, .05) at step 2000.", "sheet",
             dict(zip(cells, (0.68, 0.86, 0.5, 0.18), strict=True)), p["flex"], 0.05, seeds),
        near("toy_sft", "World B: mean p+ under SFT-DPO (gamma .01) at step 2000.", "sheet",
             dict(zip(cells, (0.995, 0.998, 0.978, 0.997), strict=True)), p["sft"], 0.05, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="3d-properties",
    title="3D-Properties: Identifying Challenges in DPO and Charting a Path Forward",
    arxiv="2406.07327",
    objective="flex_dpo()",
    statements=(corollaries, exact_geometry, toy),
    formula_tests=("tests/objectives/test_flex_dpo.py", "tests/diagnostics/test_three_d.py"),
    model_tests=("tests/papers/test_3d_properties_model.py",),
)
