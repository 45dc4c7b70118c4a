"""CoLoR: passages compressed for retrieval in long contexts, trained on success and length.  arXiv:2412.18232.

The composition is ``color()`` on pairs of `assent.data.success_length`.  The world is that of the project's sheet: summaries
of at most 24 words by three generators, 400 queries, success iff one word occurs.  As in the released code the likelihood
term is the mean over the words of all chosen summaries, written as a sum; ``color()`` by itself takes the mean of each
row first, and its figures stand beside.  Success and length are exact.  Tolerances that the sheet leaves open: .05 for
shares, 10 % for lengths, the change that it calls an effect.  Not stated: the paper's tables, which need retrievers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.data.success_length import success_length_pairs
from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.records import Group
from assent.worlds import summaries
from assent.worlds.stacked import generators

BATCH = " - sft() + sft(per='batch_token')"
"""From the mean of each row to the mean over all words."""
METHODS = {
    "sft": "sft(per='batch_token')",
    "orpo": "color(coefficient=0.0)" + BATCH,
    "0.1": "color(coefficient=0.1, most=100.0)" + BATCH,
    "0.5": "color(coefficient=0.5, most=100.0)" + BATCH,
    "orpo, rows": "color(coefficient=0.0)",
    "0.1, rows": "color(coefficient=0.1)",
}
SHEET = {
    "rule": {"sft": (0.786, 6.7), "orpo": (0.929, 4.1), "0.1": (0.911, 3.65), "0.5": (0.754, 2.7)},
    "success": {"sft": (0.791, 9.8), "orpo": (0.970, 9.9), "0.1": (0.970, 9.8), "0.5": (0.970, 10.0)},
}
"""Success and mean length by pairs and method."""
Pairs = list[tuple[str, str]]


def draw(g: torch.Generator, queries: int = 400) -> dict[str, Pairs]:
    """(chosen, rejected) by CoLoR's rule, and a random success before a random failure of the same candidates."""
    each = [summaries.sample(logits, queries, g) for logits in summaries.GENERATORS.values()]
    rule, success = [], []
    for texts in zip(*each, strict=True):
        group = Group("", texts, tuple(float(summaries.KEY in text) for text in texts))
        rule += [(pair.chosen, pair.rejected) for pair in success_length_pairs([group])]
        sides = [[t for t in texts if (summaries.KEY in t) == found] for found in (True, False)]
        if all(sides):
            success.append(tuple(side[int(torch.randint(len(side), (), generator=g))] for side in sides))
    return {"rule": rule, "success": success}


def runs(seeds: Sequence[int], queries: int = 400, steps: int = 150) -> dict[tuple[str, str], Tensor]:
    """Success and length [M, 2] by pairs and method, and the share of pairs [M] of the rule whose chosen side is shorter."""
    found: dict[tuple[str, str], list[Tensor]] = {}
    for g in generators(seeds, 41):
        for name, pairs in draw(g, queries).items():
            for method, text in METHODS.items():
                theta = summaries.train(parse(text), pairs, steps)
                found.setdefault((name, method), []).append(torch.stack(summaries.outcome(theta)))
            shorter = torch.tensor([float(len(a) < len(b)) for a, b in pairs], dtype=torch.float64).mean()
            found.setdefault((name, "shorter"), []).append(shorter)
    return {cell: torch.stack(values) for cell, values in found.items()}


def compression(seeds: Sequence[int], queries: int = 400, steps: int = 150) -> list[Claim]:
    """What shortens: the rule that makes the pairs, or the factor of the loss."""
    found = runs(seeds, queries, steps)
    start = torch.stack(summaries.outcome(torch.tensor(summaries.GENERATORS["medium"], dtype=torch.float64)))
    success, length = ({cell: v[:, i] for cell, v in found.items() if cell[1] != "shorter"} for i in (0, 1))
    told = {f"{name}, {m}": v for name, row in SHEET.items() for m, v in row.items()}
    cells = {f"{name}, {m}": found[name, m] for name, row in SHEET.items() for m in row}
    saved = {m: length["success", "orpo"] - length["rule", m] for m in ("orpo", "0.1")}
    rows = {f"{what} by rows' means, {name}, {m}": float(of[name, f"{m}, rows"].mean())
            for what, of in (("success", success), ("length", length)) for name in SHEET for m in ("orpo", "0.1")}  # fmt: skip
    order = lambda of, names: {f"{b} below {a}": of["rule", a] - of["rule", b] for a, b in names}  # noqa: E731
    steps_up = (("orpo", "0.1"), ("0.1", "0.5"))
    kept = {m: 0.1 - (1 - length["success", m] / length["success", "orpo"]) for m in ("0.1", "0.5")}
    return [
        above("shorter_and_better", "Training with CoLoR's pairs and loss raises success and shortens the summaries.",
              "paper", {}, {"success": success["rule", "0.1"] - start[0], "words": start[1] - length["rule", "0.1"]}, 0.0,
              seeds, shown={"success at the start": float(start[0]), "length at the start": float(start[1])}),
        above("factor_shortens", "With CoLoR's pairs length falls as the coefficient rises, 0 to .1 to .5.", "sheet", {},
              order(length, steps_up), 0.0, seeds, shown=rows),
        above("factor_costs", "With CoLoR's pairs success falls as the coefficient rises.", "sheet", {},
              order(success, steps_up), 0.0, seeds),
        above("rule_shortens_most", "The rule that makes the pairs shortens more than the factor adds.", "sheet", {},
              {"difference": 2 * saved["orpo"] - saved["0.1"]}, 0.0, seeds,
              shown={"words saved by the rule": float(saved["orpo"].mean()),
                     "by the factor": float((saved["0.1"] - saved["orpo"]).mean())}),
        above("factor_needs_the_rule", "On pairs by success alone the factor shortens by less than 10 % (room left).",
              "sheet", {}, kept, 0.0, seeds),
        near("success", "Success by pairs and method, and the share of the rule's pairs whose chosen side is shorter.",
             "sheet", {k: v[0] for k, v in told.items()} | {"shorter": 0.4},
             {k: v[:, 0] for k, v in cells.items()} | {"shorter": found["rule", "shorter"]}, 0.05, seeds),
        near("length", "Mean length over the sheet's figure.", "sheet", dict.fromkeys(told, 1.0),
             {k: v[:, 1] / told[k][1] for k, v in cells.items()}, 0.1, seeds,
             shown={f"words, {k}": float(v[:, 1].mean()) for k, v in cells.items()}),
    ]  # fmt: skip


PAPER = Paper(
    slug="color",
    title="Efficient Long Context Language Model Retrieval with Compression",
    arxiv="2412.18232",
    objective="color()",
    statements=(compression,),
    formula_tests=("tests/objectives/test_color.py", "tests/data/test_success_length.py"),
    model_tests=("tests/papers/test_color_model.py",),
)
