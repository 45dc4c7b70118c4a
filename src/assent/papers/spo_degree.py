"""Self-supervised Preference Optimization with preference degree awareness.  Findings of EMNLP 2024, arXiv:2409.17791.

The composition is ``spo_degree_reconstructed()``: a pair loss with two terms that grade degraded answers, whose details are
the project's reading of the abstract.  The world is that of the project's sheet.  Sizes that it leaves open: all
parameters start at .1 N(0, 1), four runs a seed with 100 pairs (so 20 in all) and one with more; a wrong extractor marks
20 words, as many as are key: none of them key, or 14.  Tolerances that it leaves open: .05 for accuracies, .02 for
gains, the least that it lets pass.  Not stated: the sheet's larger version with a small transformer, which was not run.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds import degraded

WORDS = torch.arange(degraded.WORDS)
KEY = WORDS < degraded.KEYS
ARMS = {
    "gamma .1": (0.1, KEY, False),
    "gamma 1": (1.0, KEY, False),
    "degrees shuffled": (1.0, KEY, True),
    "filler marked": (1.0, (WORDS >= 20) & (WORDS < 40), False),
    "70 % right": (1.0, (WORDS < 14) | ((WORDS >= 20) & (WORDS < 26)), False),
}
"""gamma, the words that the extractor marks, whether the degrees are shuffled."""
SHEET = {
    100: {"base": 0.853, "gamma .1": 0.901, "gamma 1": 0.902, "degrees shuffled": 0.815, "filler marked": 0.806,
          "70 % right": 0.869},
    300: {"base": 0.850, "gamma 1": 0.870, "degrees shuffled": 0.835},
    1000: {"base": 0.899, "gamma 1": 0.902},
}  # fmt: skip
"""Sign accuracy on fresh pairs by number of pairs and arm."""
GAINS = {
    100: {
        "gamma .1": 0.048,
        "gamma 1": 0.048,
        "degrees shuffled": -0.039,
        "filler marked": -0.048,
        "70 % right": 0.015,
    },
    300: {"gamma 1": 0.020, "degrees shuffled": -0.015},
    1000: {"gamma 1": 0.003},
}


def arm(world: degraded.Answers, name: str, steps: int = 400) -> degraded.Fit:
    """DPO, or DPO with both degree terms."""
    if name == "base":
        return degraded.fit(parse("dpo(beta=1.0)"), world, KEY, steps=steps)
    gamma, marked, shuffled = ARMS[name]
    text = f"spo_degree_reconstructed(beta=1.0, gamma_w={gamma}, gamma_l={gamma})"
    return degraded.fit(parse(text), world, marked, shuffled=shuffled, steps=steps)


def runs(
    seeds: Sequence[int], pairs: int, names: Sequence[str], draws: int = 1, steps: int = 400
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Accuracy on fresh pairs, and the share of degrees graded right in training, by arm, [M] each."""
    world = degraded.draw(seeds, pairs, draws=draws)
    fits = {name: arm(world, name, steps) for name in names}
    by_seed = lambda values: values.reshape(len(seeds), draws).mean(1)  # noqa: E731
    return {n: by_seed(f.accuracy(world)) for n, f in fits.items()}, {n: by_seed(f.graded) for n, f in fits.items()}


def gain(
    seeds: Sequence[int], sizes: Sequence[int] = (100, 300, 1000), draws: int = 4, steps: int = 400
) -> list[Claim]:
    """What the degree terms add to DPO, by number of pairs and by what the extractor marks."""
    few = sizes[0]
    found, graded = {}, {}
    for pairs in sizes:
        found[pairs], right = runs(seeds, pairs, tuple(SHEET[pairs]), draws if pairs == few else 1, steps)
        graded = graded or {name: right[name] for name in ("gamma .1", "gamma 1")}
    over = {pairs: {n: v - cells["base"] for n, v in cells.items() if n != "base"} for pairs, cells in found.items()}
    first = over[few]
    gains = {n: first[n] for n in ("gamma .1", "gamma 1")}
    cell = lambda pairs, name: f"{name}, {pairs} pairs"  # noqa: E731
    told = {cell(pairs, n): x for pairs in sizes for n, x in SHEET[pairs].items()}
    return [
        above("gain", "The degree terms raise accuracy on fresh pairs over the same loss without them, at 100 pairs.",
              "paper", {n: GAINS[few][n] for n in gains}, gains, 0.0, seeds),
        above("gain_of_two_points", "At 100 pairs the gain is at least .02.", "sheet", {}, gains, 0.02, seeds),
        above("degrees_matter", "Shuffled degrees gain less than true ones.", "sheet", {},
              {f"at {p}": over[p]["gamma 1"] - over[p]["degrees shuffled"] for p in sizes if "degrees shuffled" in over[p]},
              0.0, seeds),
        above("wrong_extractor_hurts", "Shuffled degrees, or an extractor that marks only filler, make DPO worse (loss of "
              "accuracy).", "sheet", {}, {n: -first[n] for n in ("degrees shuffled", "filler marked")}, 0.0, seeds),
        above("partly_right", "An extractor that is 70 % right gains, but less than one that is right.", "sheet", {},
              {"gain": first["70 % right"], "less than right": first["gamma 1"] - first["70 % right"]}, 0.0, seeds),
        above("little_data", "The gain is larger the fewer pairs there are.", "sheet", {},
              {f"{a} over {b}": over[a]["gamma 1"] - over[b]["gamma 1"] for a, b in itertools.pairwise(sizes)}, 0.0, seeds),
        near("accuracy", "Sign accuracy on fresh pairs.", "sheet", told,
             {cell(pairs, n): v for pairs, cells in found.items() for n, v in cells.items()}, 0.05, seeds),
        near("gains", "Gain over DPO.", "sheet",
             {cell(p, n): x for p in sizes for n, x in GAINS[p].items()},
             {cell(p, n): v for p in sizes for n, v in over[p].items()}, 0.02, seeds),
        near("degree_accuracy", "In training .55 to .61 of the degrees are graded right (chance .25).", "sheet",
             dict.fromkeys(graded, 0.58), graded, 0.03, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="spo-degree",
    title="Self-supervised Preference Optimization: Enhance Your Language Model with Preference Degree Awareness",
    arxiv="2409.17791",
    objective="spo_degree_reconstructed()",
    statements=(gain,),
    formula_tests=("tests/objectives/test_spo_degree.py",),
    model_tests=("tests/papers/test_spo_degree_model.py",),
)
