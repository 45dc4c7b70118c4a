"""What the common suite knows of an expression: its oracle, its value at the start, its limits, what it is exempt from.

An oracle sees plain dictionaries, one for each completion: ``logp``, ``ref`` (nats per sequence), ``length``, ``score`` (the
data's; a pair's ``margin`` is the difference), ``confidence`` (of the pair), ``label`` for labelled rows, and ``tokens``, a
list of dictionaries with ``logp``, ``ref``, ``entropy``, ``sum_sq``, ``kl``, ``reward`` and ``mask``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Case:
    """An expression and how it is checked.

    oracle: loss of one row in float64 arithmetic, written from the sheet: ``(w, l)`` for pairs, ``(c)`` for labelled rows,
    ``([c, ...])`` for groups.  coupled: the oracle sees all rows of the step, a list of those arguments, and gives a list.
    at_start: the value where policy = reference and all sides are alike (log-probability -6, three tokens, score 0,
    confidence 1/2, label 1); None where it is not defined.  reference: whether a reference is read.
    limits: pairs of expressions that must agree in value and gradient on all rows.
    kink: distance of a row from the nearest kink (same arguments as the oracle); gradients are checked beyond .05.
    exempt: names of laws that do not hold, each with the reason: "gradient", "soft label", "swap", "weight", "huge margins",
        "field NAME".
    """

    text: str
    oracle: Callable[..., Any]
    at_start: float | None
    reference: bool = True
    rows: Literal["pairs", "labelled", "groups"] = "pairs"
    coupled: bool = False
    limits: tuple[tuple[str, str], ...] = ()
    kink: Callable[..., float] | None = None
    exempt: Mapping[str, str] = field(default_factory=dict)
