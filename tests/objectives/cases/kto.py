"""KTO, from section 5 of the sheet of the standard losses; z0 from the step's own rows."""

from __future__ import annotations

from case import Case
from oracle import sigmoid

STOPPED = "z0 carries no gradient, which a finite difference cannot know; tests/objectives/test_kto.py has it by hand"
COUPLED = "z0 is a mean over the rows of the step, which other labels leave as it is but other rows do not"


def kto(rows: list[tuple[dict]], beta: float, up: float, down: float, previous: bool = False) -> list[float]:
    x = [c["logp"] - c["ref"] for (c,) in rows]
    z = 0.0 if previous else max(0.0, sum(x) / len(x))
    good = [up * (1 - sigmoid(beta * (v - z))) for v in x]
    bad = [down * (1 - sigmoid(beta * (z - v))) for v in x]
    return [g if c["label"] else b for (c,), g, b in zip(rows, good, bad, strict=True)]


CASES = [
    Case(
        "kto(beta=0.2, lam_d=1.5, lam_u=0.75)",
        lambda rows: kto(rows, 0.2, 1.5, 0.75),
        0.75,
        rows="labelled",
        coupled=True,
        exempt={"gradient": STOPPED},
    ),
    Case(
        "kto(statistic='previous')",
        lambda rows: kto(rows, 0.1, 1.0, 1.0, previous=True),
        0.5,
        rows="labelled",
        coupled=True,
    ),
]
