"""The page of ``assent audit``: the verdict first, then what it rests on, the annotators and the doubtful pairs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypedDict

from assent.reporting import audit_plots
from assent.reporting.page import percent, plain, render, save
from assent.reporting.text import flat, short, visible

_SHOWN = 40  # annotators in the table and pairs on the page
_EMBEDDED = 1000  # annotators in the figures for machines
_ENDS = 20  # of a longer panel: the least reliable shown by name


class Annotator(TypedDict, total=False):
    """One annotator: `reliability` is P(their label is right) with a 95 % interval, `agreement` a share or None."""

    labels: int
    reliability: float
    low: float | None
    high: float | None
    agreement: float | None
    truth: float | None


class Doubt(TypedDict, total=False):
    """One label on the page: the text it judged, who gave it, and P(it is right). `chosen` is what it prefers."""

    row: int
    pair: int
    annotator: str
    p_correct: float
    logit: float | None
    length_gap: float | None
    flags: list[str]
    prompt: Any
    chosen: Any
    rejected: Any


class AuditView(TypedDict, total=False):
    """All that the page reads. Rates are shares of labels in [0, 1]; arrays have one entry per label."""

    source: str
    scorer: str
    command: str
    pairs: int
    labels: int
    ties: int
    noise_rate: float
    noise_rate_low: float | None
    noise_rate_high: float | None
    rests_on: str
    limits: list[str]  # sentences; the first says what the estimate rests on
    telling: bool  # False where the data cannot say which labels are wrong
    decision: dict[str, int]
    plain_dpo: str | None
    annotators: dict[str, Annotator]
    flags: dict[str, int]
    p_correct: Sequence[float]
    length_gap: Sequence[float]
    length_bias: dict[str, float] | None
    suspicious: list[Doubt]
    seconds: float
    notes: list[str]


_RESTS = {
    "gold": "It rests on gold labels: pairs whose right order is known fix how far each annotator can be trusted.",
    "agreement": "It rests on agreement: pairs judged by several annotators show who departs from the others.",
    "model": "It rests on the model alone: no pair is judged twice and none is known to be right, so a label counts "
    "as wrong when it surprises a model fitted to the other labels.",
}
_LIMITS = {
    "gold": ["It holds for the other pairs as far as they are like the gold ones."],
    "agreement": [
        "A mistake that all annotators share is not seen.",
        "If most annotators are wrong more often than right, the answer is the mirror image.",
    ],
    "model": [
        "Preferences the model cannot express look like noise; habits that all labels share look like truth.",
        "If more than half of the labels are wrong, the answer is the mirror image: a few gold pairs would settle it.",
    ],
}
_FLAGS = {
    "duplicate": "the same annotator judged the same pair again; averaged into one label",
    "near_duplicate": "another pair is the same but for spacing, case or a few words",
    "contradiction": "labels of one pair disagree with each other",
    "contradictory": "labels of one pair disagree with each other",
    "cycle": "the responses to one prompt are preferred in a circle",
    "length": "the label prefers the longer response and little else speaks for it",
    "length_driven": "the label prefers the longer response and little else speaks for it",
    "tie": "the label prefers neither",
    "identical": "both responses are the same text",
}


def view(result: Any) -> AuditView:
    """The result of an audit as the page reads it: a mapping as it is, a dataclass or `.view()` turned into one."""
    if hasattr(result, "view"):
        result = result.view()
    if is_dataclass(result) and not isinstance(result, type):
        result = asdict(result)
    return result


def write(result: Any, path: str | os.PathLike[str], *, text: bool = True) -> Path:
    """Write the audit's page and return its path.

    result: an `AuditView`, or an object whose `view()` gives one. text=False leaves every prompt and response out.
    Raises AssentError where the path cannot be written.
    """
    data = view(result)
    context = _context(data)
    pairs = [_doubt(d, text) for d in data.get("suspicious", ())[:_SHOWN]]
    return save(render("audit.html", pairs=pairs, text=text, **context), path)


def _context(data: AuditView) -> dict[str, Any]:
    labels = max(1, data["labels"])
    rests_on = data.get("rests_on", "model")
    limits = list(data.get("limits") or [_RESTS.get(rests_on, f"It rests on {rests_on}."), *_LIMITS.get(rests_on, [])])
    decision = data.get("decision") or {}
    names = {"keep": "Keep", "look": "Look at", "drop": "Drop"}
    notes = {
        "keep": "nothing speaks against these labels",
        "look": "undecided, or flagged: worth a person's time",
        "drop": "more likely to harm than to help",
    }
    parts = [
        {"kind": k, "name": names[k], "count": decision.get(k, 0), "share": decision.get(k, 0) / labels,
         "note": notes[k]}
        for k in names
    ]  # fmt: skip
    shown, hidden = _panel(data.get("annotators", {}))
    figures = [audit_plots.certainty(data.get("p_correct", ()))]
    for figure in (
        audit_plots.length(data.get("length_gap", ()), (data.get("length_bias") or {}).get("nats_per_doubling")),
        audit_plots.agreement(data.get("annotators", {})),
    ):
        if figure is not None:
            figures.append(figure)
    return {
        "data": data,
        "source": Path(str(data.get("source") or "the data")).name,
        "verdict": verdict(data),
        "undecided": "cannot tell" in verdict(data),
        "rests": limits[0],
        "limits": limits[1:],
        "parts": parts if decision else [],
        "figures": figures,
        "annotators": shown,
        "hidden": hidden,
        "spread": audit_plots.spread(data["annotators"]) if hidden else None,
        "quantiles": _quantiles(data["annotators"]) if hidden else [],
        "has_agreement": any(a.get("agreement") is not None for _, a in shown),
        "flags": _flags(data.get("flags", {}), labels),
        "summary": _summary(data),
    }


def verdict(data: Mapping[str, Any]) -> str:
    """The first sentence of the page and of the terminal: how much of the data is wrong, in plain words."""
    rate, low, high = data["noise_rate"], data.get("noise_rate_low"), data.get("noise_rate_high")
    wide = low is not None and high is not None and high - low > 0.3
    if rate is None or wide or not data.get("telling", True):
        return "These data cannot tell how many of their labels are wrong"
    if rate < 0.02:
        return f"The labels look clean: {percent(rate, 1)} look wrong"
    return f"About {percent(rate)} of the labels look wrong"


def _panel(annotators: Mapping[str, Annotator]) -> tuple[list[tuple[str, Annotator]], int]:
    """Rows of the table, most reliable first, and how many annotators it leaves out."""
    rows = sorted(annotators.items(), key=lambda item: -_reliability(item[1]))
    if len(rows) <= _SHOWN:
        return rows, 0
    return rows[-_ENDS:], len(rows) - _ENDS


def _reliability(annotator: Mapping[str, Any]) -> float:
    value = annotator.get("reliability")
    return float("-inf") if value is None else value


def _quantiles(annotators: Mapping[str, Annotator]) -> list[tuple[str, float]]:
    import numpy as np

    values = np.array([a["reliability"] for a in annotators.values() if a["reliability"] is not None], dtype=float)
    marks = {"lowest": 0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "highest": 1}
    return [(name, float(np.quantile(values, q))) for name, q in marks.items()]


def _flags(flags: Mapping[str, int], labels: int) -> list[dict[str, Any]]:
    rows = sorted(((name, n) for name, n in flags.items() if n), key=lambda item: -item[1])
    return [
        {"name": name.replace("_", " "), "count": n, "share": n / labels, "meaning": _FLAGS.get(name, "")}
        for name, n in rows
    ]


def _doubt(doubt: Doubt, text: bool) -> dict[str, Any]:
    """One doubtful label as the template reads it; without `text` no word of the data goes in."""
    p = doubt["p_correct"]
    flags = [visible(f).replace("_", " ") for f in doubt.get("flags", ())]
    gap = doubt.get("length_gap")
    out = {
        "row": doubt.get("row"), "annotator": str(doubt.get("annotator", "*")), "p": p, "flags": flags,
        "gap": gap, "logit": doubt.get("logit"), "against": p is not None and p < 0.5, "sides": [],
        "filters": {"annotator": json.dumps([short(doubt.get("annotator", "*"))]), "flags": json.dumps(flags)},
    }  # fmt: skip
    if text and "prompt" in doubt:
        out |= {
            "prompt": flat(doubt.get("prompt", "")).strip("\n"),
            "sides": [
                {"title": "The label prefers", "text": doubt.get("chosen", ""), "estimate": not out["against"]},
                {"title": "over", "text": doubt.get("rejected", ""), "estimate": out["against"]},
            ],
        }
        for side in out["sides"]:
            side["length"] = len(flat(side["text"]))
    return out


def _summary(data: AuditView) -> dict[str, Any]:
    """The figures of the page for machines: the same keys as ``assent audit --json``."""
    keys = (
        "pairs", "labels", "noise_rate", "noise_rate_low", "noise_rate_high", "rests_on", "decision", "flags",
        "seconds",
    )  # fmt: skip
    out: dict[str, Any] = {"schema": 1, **{k: data.get(k) for k in keys}}
    panel = data.get("annotators", {})
    if len(panel) <= _EMBEDDED:
        keys = ("labels", "reliability", "low", "high")
        out["annotators"] = {short(name): {k: a.get(k) for k in keys} for name, a in panel.items()}
    return plain(out)
