"""An objective against its margin: the loss, and how strongly it moves either side of a pair."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from assent.errors import AssentError
from assent.objectives import Objective
from assent.objectives.pair_weights import pair_weights
from assent.reporting.plots import BLUE, GREEN, MUTED, ORANGE, Canvas, canvas, grid, svg
from assent.scores import Column, PairScores, Scores, Tokens

LENGTH, BASE = 10, -20.0
"""Tokens of a completion in the plots, and its log-probability under the reference, nats per sequence."""

REACH = 40.0
"""Margins from -REACH to REACH nats per sequence are drawn."""


@dataclass(frozen=True)
class Curve:
    """x: log-ratio of the chosen completion less that of the rejected one (of a labelled one: its own), nats.

    lines: name -> values.  A loss, and the pair weights d_w and d_l where there are two sides.
    """

    x: list[float]
    loss: dict[str, list[float]]
    weights: dict[str, list[float]]


def curve(objective: Objective, points: int = 161) -> Curve | None:
    """The curves of an objective; None for objectives of groups, of several rows at once, and of what plain rows lack.

    Columns that the objective reads are 1 on both sides, the data's scores 1 and 0.
    """
    try:
        return None if objective.couples != "no" else _curve(objective, points)
    except AssentError:  # further sequences, heads, token columns
        return None


def _curve(objective: Objective, points: int) -> Curve | None:
    x = torch.linspace(-REACH, REACH, points, dtype=torch.float64)
    if objective.data == "labelled":
        side, named = _side(x), {}
        for label, name in ((1.0, "desirable"), (0.0, "undesirable")):
            labelled = replace(side, columns={**side.columns, "label": torch.full_like(x, label)})
            named[name] = objective(labelled).detach().tolist()
        return Curve(x.tolist(), named, {})
    if objective.data not in ("pairs", "completions"):
        return None
    scores = _pairs(x, [need.name for need in objective.needs if need.kind == "column"])
    up, down = pair_weights(objective, scores)
    loss = objective(scores).detach()
    return Curve(x.tolist(), {"loss": loss.tolist()}, {"d_w": up.tolist(), "d_l": down.tolist()})


def _side(x: torch.Tensor) -> Scores:
    """Completions of LENGTH equal tokens whose log-ratio is x."""
    count = len(x)
    row = torch.arange(count).repeat_interleave(LENGTH)
    logp, ref = (BASE + x) / LENGTH, torch.full_like(x, BASE / LENGTH)
    zeros = torch.zeros(count * LENGTH, dtype=x.dtype)
    tokens = Tokens(
        row=row, index=torch.arange(LENGTH).repeat(count), logp=logp[row], ref_logp=ref[row], entropy=zeros + 1,
        sum_sq=zeros + 0.5, kl_ref=zeros, mask=zeros + 1, columns={"reward": zeros},
    )  # fmt: skip
    columns = {"score": torch.zeros_like(x)}
    return Scores(BASE + x, torch.full_like(x, BASE), torch.full_like(x, LENGTH), tokens, columns)


def _pairs(x: torch.Tensor, names: list[str]) -> PairScores:
    """Pairs whose margin x is half a rise of the chosen and half a fall of the rejected completion."""
    one = torch.ones_like(x)
    columns = {name: Column(one) for name in names} | {
        "confidence": Column(one), "margin": Column(one, "negate"), "logit": Column(one, "negate"),
        "score_chosen": Column(one, exchange="score_rejected"), "score_rejected": Column(0 * one, exchange="score_chosen"),
    }  # fmt: skip
    return PairScores(_side(x / 2), _side(-x / 2), columns=columns)


def plot(objective: Objective, name: str) -> Any:
    """The curves as inline SVG, or None where there are none."""
    found = curve(objective)
    if found is None:
        return None
    with _drawn(found) as drawn:
        return svg(drawn, f"Loss of {name} against its margin" + (", and its pair weights" if found.weights else ""))


def save_png(objective: Objective, name: str, path: Path) -> None:
    """The curves as a PNG file on a white ground."""
    found = curve(objective)
    if found is not None:
        with _drawn(found) as drawn:
            drawn.figure.suptitle(name, color=MUTED, fontsize=12.5)
            drawn.figure.savefig(path, dpi=144, facecolor="white")


@contextmanager
def _drawn(found: Curve) -> Iterator[Canvas]:
    """Loss on the left, pair weights on the right where there are any."""
    columns = 2 if found.weights else 1
    with canvas(440 * columns, 270, columns) as drawn:
        for (label, values), colour in zip(found.loss.items(), (BLUE, ORANGE), strict=False):
            drawn.ax.plot(found.x, values, color=colour, label=label)
        drawn.ax.set_ylabel("loss (nats)")
        if len(found.loss) > 1:
            drawn.ax.legend(frameon=False)
        if found.weights:
            styles = (GREEN, "-"), (ORANGE, "--")
            for (label, values), (colour, line) in zip(found.weights.items(), styles, strict=True):
                drawn.axes[1].plot(found.x, values, line, color=colour, label=label)
            drawn.axes[1].set_ylabel("pair weight")
            drawn.axes[1].legend(frameon=False)
        for ax in drawn.axes:
            ax.axvline(0, color=MUTED, linewidth=0.8)
            ax.set_xlabel(
                "margin of log-ratios (nats per sequence)" if found.weights else "log-ratio (nats per sequence)"
            )
            grid(ax)
        yield drawn
