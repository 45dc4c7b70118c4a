"""BCO, from its sheet: shift, class means, matching weights, pairs."""

from __future__ import annotations

from case import Case
from oracle import nls

LN2 = 0.6931471805599453
STOPPED = "the shift carries no gradient, which a finite difference cannot know; tests/objectives/test_bco.py has it"
DECAY = {"field decay": "it acts from the second step on; tests/objectives/test_bco.py has it"}
CLASSES = {"soft label": "class means divide by the step's labels, so the loss is not linear in them"}
SHIFTED = {"soft label": "the shift depends on the step's labels"}


def bco(rows: list[tuple[dict]], beta: float, shift: str, mean: str, match: bool = False) -> list[float]:
    r = [beta * (c["logp"] - c["ref"]) for (c,) in rows]
    up = [v for (c,), v in zip(rows, r, strict=True) if c["label"]]
    down = [v for (c,), v in zip(rows, r, strict=True) if not c["label"]]
    delta = {"class": lambda: (sum(up) / len(up) + sum(down) / len(down)) / 2, "row": lambda: sum(r) / len(r)}
    d = 0.0 if shift == "none" else delta[shift]()
    good, bad = (len(r) / len(up), len(r) / len(down)) if mean == "class" else (1.0, 1.0)
    out = []
    for (c,), v in zip(rows, r, strict=True):
        w = c["score"] if match else 1.0
        out.append(good * nls(v - d) if c["label"] else bad * w * nls(-(v - d)))
    return out


def bco_pair(rows: list[tuple[dict, dict]], beta: float, shift: bool = True) -> list[float]:
    r = [tuple(beta * (c["logp"] - c["ref"]) for c in pair) for pair in rows]
    d = sum(a + b for a, b in r) / (2 * len(r)) if shift else 0.0
    return [nls(a - d) + nls(d - b) for a, b in r]


CASES = [
    Case(
        "bco(beta=0.2)",
        lambda rows: bco(rows, 0.2, "class", "class"),
        LN2,
        rows="labelled",
        coupled=True,
        exempt={"gradient": STOPPED} | DECAY | CLASSES,
    ),
    Case(
        "bco(beta=0.2, shift='row', mean='row', match='score')",
        lambda rows: bco(rows, 0.2, "row", "row", match=True),
        LN2,
        rows="labelled",
        coupled=True,
        exempt={"gradient": STOPPED} | DECAY,
    ),
    Case(
        "bco(beta=0.2, mean='row')",
        lambda rows: bco(rows, 0.2, "class", "row"),
        LN2,
        rows="labelled",
        coupled=True,
        exempt={"gradient": STOPPED} | DECAY | SHIFTED,
    ),
    Case(
        "bco(mean='row', statistic='none')",
        lambda rows: bco(rows, 0.1, "none", "row"),
        LN2,
        rows="labelled",
        coupled=True,
        exempt=DECAY,
    ),
    Case(
        "bco_pair(beta=0.3)",
        lambda rows: bco_pair(rows, 0.3),
        2 * LN2,
        coupled=True,
        exempt={"gradient": STOPPED} | DECAY,
    ),
    Case(
        "bco_pair(statistic='none')",
        lambda rows: bco_pair(rows, 0.01, shift=False),
        2 * LN2,
        coupled=True,
        exempt=DECAY,
    ),
]
