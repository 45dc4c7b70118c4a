"""The parts of a run's page about its looks at itself: figures with what they say, calibration, buckets, completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from assent.reporting import diagnosis_plots, run_plots
from assent.reporting.metric_words import grouped
from assent.reporting.run_plots import Panel
from assent.reporting.runs import Run
from assent.reporting.text import visible

_PROMPTS = 12  # prompts with completions on a page
_TEXT = 2_000  # characters of a prompt or completion there
_BROKEN = (0, (4, 2))
_DOTS = (0, (1.5, 1.5))

PANELS = (
    Panel("Pairs ranked by log-probability", "share of pairs",
          (("ranking/accuracy", "the policy", "-"), ("ranking/reference", "the reference", _BROKEN)),
          "Preference training turns few pairs; the margin can grow without any being turned.", share=True),
    Panel("Where each side's probability goes", "nats per token, from the reference",
          (("displacement/chosen", "chosen", "-"), ("displacement/rejected", "rejected", _BROKEN)),
          "Both falling: what is lost goes to texts that nobody compared."),
    Panel("Drop, suppression and dispersion", "nats per sequence",
          (("three_d/drop", "drop", "-"), ("three_d/suppression", "suppression", _BROKEN),
           ("three_d/dispersion", "dispersion", _DOTS)),
          "How far the rejected side fell, how far the chosen side fell, and what neither side has."),
    Panel("Distance from the reference", "KL, nats per token", (("kl/pairs", "KL", "-"),)),
    Panel("Calibration error", "probability", (("calibration/ece", "ECE", "-"),),
          "How far the stated probabilities are from the share of labels that agree."),
    Panel("Cosine of the gradients of both sides", "cosine", (("entanglement/cosine", "cosine", "-"),),
          "Near 1 the two sides cannot be told apart by a step."),
    Panel("Entropy of what it writes", "nats per token", (("samples/entropy", "entropy", "-"),)),
)  # fmt: skip


def split_of(run: Run) -> str | None:
    """The split that the page shows: held-out pairs where there are any."""
    splits = {line.get("split") for line in run.diagnostics}
    return next((name for name in ("held_out", "train") if name in splits), None)


def looks(run: Run, split: str | None) -> list[dict[str, Any]]:
    """The looks at one split, oldest first."""
    return [line for line in run.diagnostics if line.get("split") == split and isinstance(line["values"], dict)]


def _curves(run: Run) -> Run:
    """The run with its looks in place of its log."""
    return replace(run, history=[{"step": line["step"], **line["values"]} for line in looks(run, split_of(run))])


def context(runs: Sequence[Run]) -> dict[str, Any] | None:
    """What the page shows of the looks; None where no run took any."""
    if not any(run.diagnostics for run in runs):
        return None
    seen = [run for run in runs if run.diagnostics]
    return {
        "panels": run_plots.panels([_curves(run) for run in seen], PANELS),
        "tables": _tables(seen),
        "columns": _heads(seen),
        "details": [_detail(run, len(runs) > 1) for run in seen],
    }


def _heads(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Columns of the table: start, now and training pairs of one run; the last look of each of several."""
    if len(runs) > 1:
        return [{"name": visible(run.name), "note": _where(split_of(run))} for run in runs]
    found = looks(runs[0], split_of(runs[0]))
    heads = [{"name": f"step {line['step']:,}", "note": _where(line["split"])} for line in (found[0], found[-1])]
    if _train(runs[0]) is not None:
        heads.append({"name": f"step {_train(runs[0])['step']:,}", "note": "training pairs"})
    return heads


def _where(split: str | None) -> str:
    return "held out" if split == "held_out" else "training pairs"


def _train(run: Run) -> Any:
    """The last look at training pairs beside held-out ones; None where those are all there is."""
    found = looks(run, "train")
    return found[-1] if found and split_of(run) == "held_out" else None


def _tables(runs: Sequence[Run]) -> list[dict[str, Any]]:
    ends = [looks(run, split_of(run)) for run in runs]
    if len(runs) > 1:
        shown = [found[-1]["values"] for found in ends]
    else:
        last = _train(runs[0])
        shown = [ends[0][0]["values"], ends[0][-1]["values"], *([] if last is None else [last["values"]])]
    keys = {key for values in shown for key, value in values.items() if value is None or isinstance(value, int | float)}
    return [
        {
            "title": title,
            "rows": [
                {
                    "name": metric.name, "unit": "" if metric.unit == "share" else metric.unit, "says": metric.says,
                    "key": visible(key), "values": [metric.shown(_finite(values.get(key))) for values in shown],
                    "errors": [_error(metric, values.get(f"{key}_se")) for values in shown],
                }
                for key, metric in rows
            ],
        }
        for title, rows in grouped(keys)
    ]  # fmt: skip


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _error(metric: Any, value: Any) -> str:
    return "" if _finite(value) is None else f"± {metric.shown(_finite(value))}"


def _detail(run: Run, several: bool) -> dict[str, Any]:
    """Calibration, buckets and transitions at the last look of a run."""
    last = looks(run, split_of(run))[-1]
    tables = last.get("tables") if isinstance(last.get("tables"), dict) else {}
    name = f" {run.name}" if several else ""
    buckets = tables.get("buckets") if isinstance(tables.get("buckets"), dict) else {}
    figures = [diagnosis_plots.calibration(tables.get("calibration") or (), f"Calibration{name}")]
    figures += [diagnosis_plots.buckets(rows, cut, name) for cut, rows in buckets.items()]
    return {
        "run": run.name, "figures": [figure for figure in figures if figure], "step": last["step"],
        "split": _where(last["split"]), "transition": _transition(tables.get("transition")),
    }  # fmt: skip


def _transition(table: Any) -> dict[str, Any] | None:
    """Counts of pairs ranked right or wrong before and now, with their shares."""
    keys = ("right_right", "right_wrong", "wrong_right", "wrong_wrong")
    if not isinstance(table, Mapping) or not all(_finite(table.get(key)) is not None for key in keys):
        return None
    total = sum(table[key] for key in keys)
    return {key: {"count": table[key], "share": table[key] / total} for key in keys} if total else None


def samples(run: Run) -> dict[str, Any] | None:
    """The completions of each prompt at the first and the last look; None where there are none."""
    if not run.samples:
        return None
    steps = sorted({line["step"] for line in run.samples})
    shown = [steps[0], steps[-1]] if len(steps) > 1 else steps
    prompts: dict[str, dict[int, Any]] = {}
    for line in run.samples:
        if line["step"] in shown:
            prompts.setdefault(str(line.get("prompt", "")), {})[line["step"]] = line
    rows = [
        {"prompt": prompt, "answers": [{"step": step, **_answer(found.get(step))} for step in shown]}
        for prompt, found in list(prompts.items())[:_PROMPTS]
    ]
    return {"run": run.name, "steps": shown, "rows": rows, "hidden": max(0, len(prompts) - _PROMPTS), "limit": _TEXT}


def _answer(line: Mapping[str, Any] | None) -> dict[str, Any]:
    if line is None:
        return {"text": None, "nll": None, "cut": False}
    return {"text": str(line["completion"]), "nll": _finite(line.get("nll")), "cut": bool(line.get("cut"))}
