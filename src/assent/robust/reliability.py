"""Reliabilities of annotators: how they are given, what a label says at a reliability, how they are started."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from assent.errors import AssentError
from assent.shapes import PerAnnotator, PerLabel

CLAMP = 1e-6
"""0 and 1 are absorbing points of the EM; reliabilities stay this far from them."""


class Given(dict):
    """Reliabilities by annotator's name; hashable, so that objectives that hold it are values."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


Reliability = str | float | Mapping[str, float]


def clamp(eta: PerAnnotator) -> PerAnnotator:
    """Reliabilities kept within [1e-6, 1 - 1e-6]."""
    return eta.clamp(CLAMP, 1 - CLAMP)


def evidence(p: PerLabel, eta: PerLabel) -> PerLabel:
    """logit(eta p + (1 - eta)(1 - p)) [J] in nats: logit eta at p = 1, 0 at p = 1/2, its negative at p = 0."""
    return torch.log(eta * p + (1 - eta) * (1 - p)) - torch.log(eta * (1 - p) + (1 - eta) * p)


def label_is_right(w: PerLabel, p: PerLabel, eta: PerLabel) -> PerLabel:
    """P(the annotator was right) [J] given w = P(stored order is right): w at p = 1, 1 - w at p = 0.

    For soft labels it is the exact E-step of the likelihood eta p + (1 - eta)(1 - p): a tie leaves the reliability
    where it is, so that EM's marginal likelihood never falls.
    """
    stored = eta * p / (eta * p + (1 - eta) * (1 - p))
    swapped = eta * (1 - p) / (eta * (1 - p) + (1 - eta) * p)
    return w * stored + (1 - w) * swapped


def mode_of(value: Reliability) -> str:
    """ "online", "crossfit", "audit" or "fixed"."""
    if isinstance(value, str):
        return "audit" if value.startswith("audit:") else value
    return "fixed"


def check(value: Any) -> Reliability:
    """The value in its canonical form; an error that names the four kinds otherwise."""
    if value in ("online", "crossfit") or (isinstance(value, str) and value.startswith("audit:") and value[6:]):
        return value
    if isinstance(value, Mapping) and value:
        return Given({_name(k): _probability(v, f"reliability of {k!r}") for k, v in value.items()})
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _probability(value, "reliability")
    raise AssentError(
        f"lcpo: reliability is {value!r}; expected 'online', 'crossfit', 'audit:DIR', a probability, "
        "or {'annotator': probability, '*': probability}"
    )


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise AssentError(f"lcpo: reliability names an annotator {key!r}; expected a text")
    return key


def _probability(value: Any, what: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise AssentError(f"lcpo: {what} is {value!r}; expected a probability between 0 and 1")
    return float(value)


def initial(value: Reliability, start: float, annotators: Sequence[str]) -> PerAnnotator:
    """eta [K] float64 before the first step, for the annotators in vocabulary order."""
    mode = mode_of(value)
    if mode in ("online", "crossfit"):
        etas = [start] * len(annotators)
    elif mode == "audit":
        known = read_audit(value[len("audit:") :])
        etas = [known.get(name, known["*"]) for name in annotators]
    elif isinstance(value, Mapping):
        unknown = [name for name in annotators if name not in value]
        if unknown and "*" not in value:
            raise AssentError(
                f"lcpo: no reliability is given for annotator {unknown[0]!r} "
                f"({len(unknown)} such); add it, or '*' for all others"
            )
        etas = [value.get(name, value.get("*")) for name in annotators]
    else:
        etas = [value] * len(annotators)
    return clamp(torch.tensor(etas, dtype=torch.float64))


def read_audit(folder: str) -> dict[str, float]:
    """Reliabilities by name from an audit's ``audit.json``; "*" stands for annotators it did not see."""
    path = Path(folder).expanduser() / "audit.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {name: float(row["reliability"]) for name, row in found["annotators"].items()}
        known.setdefault("*", 1.0 - float(found["noise_rate"]))
    except OSError:
        raise AssentError(
            f"lcpo: reliability='audit:{folder}' found no {path}; run assent audit FILE --out {folder} first"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise AssentError(f"lcpo: {path} is not an audit's result ({error}); run assent audit again") from None
    return known
