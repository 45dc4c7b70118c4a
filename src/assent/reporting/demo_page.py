"""The page of ``assent demo``: what each method made of the same noisy preferences, where the truth is known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from assent.reporting import demo_plots
from assent.reporting.page import percent, plain, render, save

_SAMPLES = 8  # prompts on the page

# What each method is told beyond prompts and labels.
TOLD = {
    "dpo_clean": "clean labels: the ceiling",
    "dpo": "nothing",
    "cdpo": "the true mean noise",
    "rdpo": "the true mean noise",
    "lcpo_online": "who gave each label",
    "lcpo_crossfit": "who gave each label",
    "lcpo_oracle": "each true reliability",
}


class Method(TypedDict, total=False):
    """Contract of the demo's ``--json``: rewards and KL in nats per sequence, the others shares in [0, 1]."""

    true_reward: float
    gain: float
    win_rate: float
    kl: float
    accuracy: float


class DemoResult(TypedDict, total=False):
    """What ``assent demo`` measured; `curves`, `posteriors` and `samples` are what only the page shows."""

    seed: int
    methods: dict[str, Method]
    single_annotator: dict[str, Method]
    oracle_gap_recovered: dict[str, float | None]
    reliability: dict[str, dict[str, float]]
    seconds: float
    equal_kl: float
    curves: dict[str, list[dict[str, float]]]
    single_curves: dict[str, list[dict[str, float]]]
    posteriors: dict[str, list[float]]
    reliability_online: dict[str, float]
    single_reliability: dict[str, float]
    samples: list[dict[str, Any]]
    audit: dict[str, Any]
    world: dict[str, Any]


def write(result: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the demo's page and return its path. Raises AssentError where the path cannot be written."""
    curves = result.get("curves") or {}
    figures = []
    if result.get("reliability"):
        figures.append(demo_plots.reliabilities(result["reliability"], result.get("reliability_online")))
    posterior = result.get("posteriors") or {}
    if len(posterior.get("right", ())) or len(posterior.get("wrong", ())):
        figures.append(demo_plots.posteriors(posterior.get("right", ()), posterior.get("wrong", ())))
    equal = _equal_kl(result)
    context = {
        "data": result,
        "verdict": verdict(result),
        "rows": rows(result["methods"], curves),
        "single": _single(result.get("single_annotator") or {}, result.get("single_curves") or {}),
        "single_reliability": result.get("single_reliability") or {},
        "recovered": result.get("oracle_gap_recovered") or {},
        "curve": demo_plots.reward_against_kl(curves, equal) if curves else None,
        "figures": figures,
        "equal_kl": equal,
        "samples": [_sample(s) for s in (result.get("samples") or [])[:_SAMPLES]],
        "summary": plain({"schema": 1, **{k: result.get(k) for k in _KEYS}, "equal_kl": equal}),
        "noise": _noise(result),
        "names": {name: demo_plots.known(name)[0] for name in [*demo_plots.METHODS, *result["methods"]]},
    }
    return save(render("demo.html", **context), path)


# The demo's --json, and the curves, so that the page's plots can be drawn again from the page.
_KEYS = ("seed", "methods", "single_annotator", "oracle_gap_recovered", "reliability", "seconds", "equal_kl", "curves")


def verdict(result: Mapping[str, Any]) -> str:
    """The finding in one sentence, from the figures of this run and not from what was hoped for."""
    share = (result.get("oracle_gap_recovered") or {}).get("lcpo_crossfit")
    if share is None:
        return "What noisy labels cost, and how much of it comes back"
    if share >= 1:
        return "Cross-fitted LCPO does as well as being told every annotator’s true reliability"
    if share <= 0:
        return "Cross-fitted LCPO recovered nothing of the lead that knowing the annotators gives"
    return f"Cross-fitted LCPO recovers {percent(share)} of what knowing every annotator’s reliability is worth"


def rows(methods: Mapping[str, Mapping[str, float]], curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Methods in the order of the story: colour, what it was told, gain as a share of the best, reward at the end."""
    order = ("dpo_clean", "lcpo_oracle", "lcpo_crossfit", "lcpo_online", "rdpo", "cdpo", "dpo")
    names = [m for m in order if m in methods] + [m for m in methods if m not in order]
    top = max((methods[m].get("gain") or 0 for m in names), default=0)
    out = []
    for name in names:
        title, colour, _ = demo_plots.known(name)
        gain = methods[name].get("gain")
        share = max(0.0, gain / top) if gain is not None and top > 0 else 0.0
        end = curves[name][-1]["true_reward"] if curves.get(name) else None
        out.append(
            {"name": name, "title": title, "colour": _variable(colour), "told": TOLD.get(name, ""), "bar": share, "end": end,
             "ours": name in ("lcpo_crossfit", "lcpo_online"), **_numbers(methods[name])}
        )  # fmt: skip
    return out


def _single(methods: Mapping[str, Mapping[str, float]], curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows where the names are hidden: the oracle can then be told one number only."""
    out = rows(methods, curves)
    for row in out:
        if row["name"] == "lcpo_oracle":
            row["title"] = "LCPO, told the mean"
    return out


def _numbers(method: Mapping[str, float]) -> dict[str, float | None]:
    return {key: method.get(key) for key in ("true_reward", "gain", "win_rate", "kl", "accuracy")}


def _variable(colour: str) -> str:
    names = {value: key for key, value in demo_plots.plots.COLOURS.items()}
    return f"var(--{names[colour]})"


def _equal_kl(result: Mapping[str, Any]) -> float | None:
    """The KL of the comparison: as given, else the smallest of the runs' largest."""
    if result.get("equal_kl") is not None:
        return result["equal_kl"]
    reached = [max(p["kl"] for p in points) for points in (result.get("curves") or {}).values() if points]
    return min(reached) if reached else None


def _noise(result: Mapping[str, Any]) -> float | None:
    """True mean noise rate with equal shares of labels."""
    true = [r["true"] for r in (result.get("reliability") or {}).values()]
    return 1 - sum(true) / len(true) if true else None


def _sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A prompt with what each model answered; an answer is a text or ``{"text", "reward"}``."""
    answers = []
    order = ["reference", *reversed(demo_plots.METHODS)]
    names = [n for n in order if n in sample]
    names += [n for n in sample if n not in (*order, "prompt")]
    for name in names:
        value = sample[name]
        text, reward = (value.get("text", ""), value.get("reward")) if isinstance(value, Mapping) else (value, None)
        if not isinstance(text, (str, list)):
            continue
        title = "before (reference)" if name == "reference" else demo_plots.known(name)[0]
        answers.append({"title": title, "text": text, "reward": reward})
    return {"prompt": sample.get("prompt", ""), "answers": answers}
