"""A claim: what a source says, what a small world shows, and the verdict.  Contract, part 7.

Verdicts are three-way.  A figure ``near`` its prediction is supported when every cell's mean over seeds lies within the
tolerance, refuted when some cell's mean lies outside by more than two standard errors, unclear otherwise.  A quantity
``above`` a bound is supported when its mean less two standard errors is above, refuted when its mean plus two standard
errors is below, unclear otherwise.  Several quantities: the worst of them decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Source = Literal["paper", "sheet"]
Outcome = Literal["supported", "refuted", "unclear"]
Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Claim:
    """One statement with its check.

    source: "paper" for what the paper says, "sheet" for what a prototype of this project predicted.
    tolerance: allowed distance per cell, or the bound in words.  seeds: empty for what is not random.
    """

    name: str
    statement: str
    source: Source
    predicted: Mapping[str, float | str]
    measured: Numbers
    tolerance: float | str
    seeds: tuple[int, ...]
    outcome: Outcome

    def as_json(self) -> dict[str, Any]:
        """The claim as the contract spells it."""
        return asdict(self) | {"seeds": list(self.seeds)}


def near(
    name: str,
    statement: str,
    source: Source,
    predicted: Numbers,
    runs: Mapping[str, Tensor | float],
    tolerance: float,
    seeds: Sequence[int],
    shown: Numbers | None = None,
) -> Claim:
    """A claim that the mean over seeds of each cell of ``runs`` ([R] or a number) is near its prediction.

    shown: further figures to print beside the measured means.
    """
    outcomes = []
    for cell, expected in predicted.items():
        mean, error = mean_and_error(runs[cell])
        outcomes.append(_verdict(tolerance - abs(mean - expected), error, within=True))
    measured = {cell: mean_and_error(runs[cell])[0] for cell in predicted} | dict(shown or {})
    return Claim(name, statement, source, dict(predicted), measured, tolerance, tuple(seeds), _worst(outcomes))


def above(
    name: str,
    statement: str,
    source: Source,
    predicted: Numbers,
    runs: Mapping[str, Tensor],
    bound: float,
    seeds: Sequence[int],
    shown: Numbers | None = None,
) -> Claim:
    """A claim that the mean over seeds of every quantity of ``runs`` ([R], paired by seed) lies above ``bound``.

    predicted: figures where the source gives some; empty where it gives the direction alone, shown as the bound.
    """
    found = {cell: mean_and_error(values) for cell, values in runs.items()}
    outcome = _worst([_verdict(mean - bound, error, within=False) for mean, error in found.values()])
    measured = {cell: mean for cell, (mean, _) in found.items()}
    words = f"above {bound:g}"
    expected = dict(predicted) or dict.fromkeys(measured, words)
    errors = {f"standard error, {cell}": error for cell, (_, error) in found.items()}
    return Claim(
        name,
        statement,
        source,
        expected,
        measured | errors | dict(shown or {}),
        words,
        tuple(seeds),
        outcome,
    )


def mean_and_error(values: Tensor | float) -> tuple[float, float]:
    """Mean over seeds and its standard error; 0 for a single value."""
    values = torch.as_tensor(values, dtype=torch.float64).reshape(-1)
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else 0.0
    return float(values.mean()), error


def _verdict(room: float, error: float, within: bool) -> Outcome:
    """The verdict for a mean that has ``room`` left before its bound."""
    if room >= (0.0 if within else 2 * error):
        return "supported"
    return "refuted" if room < -2 * error else "unclear"


def _worst(outcomes: Sequence[Outcome]) -> Outcome:
    for outcome in ("refuted", "unclear"):
        if outcome in outcomes:
            return outcome
    return "supported"


def counts(claims: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Outcomes counted per source: ``{"paper": {"supported": 3, "refuted": 1, "unclear": 0}, "sheet": ...}``."""
    found = {source: dict.fromkeys(("supported", "refuted", "unclear"), 0) for source in ("paper", "sheet")}
    for claim in claims:
        found[claim["source"]][claim["outcome"]] += 1
    return found
