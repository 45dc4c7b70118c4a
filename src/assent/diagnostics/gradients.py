"""Entanglement of a model's pairs: inner products of their two gradients, and what the objective makes of them.

Yuan et al., arXiv:2410.13828.  A step of size ``rate`` on one pair alone changes log pi(chosen) by
rate (d_w |g_w|^2 - d_l <g_w, g_l>) and log pi(rejected) by rate (d_w <g_w, g_l> - d_l |g_l|^2), to first order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assent.data.tokens import TokenExample
from assent.diagnostics import gradients_last, gradients_layers, gradients_loop, gradients_vmap
from assent.diagnostics.entanglement import BOTH_DOWN, BOTH_UP, IDEAL, REVERSED, STILL, PairGradients, case_of
from assent.diagnostics.gradients_loop import Named, policy_of
from assent.errors import AssentError
from assent.objectives.base import Objective
from assent.objectives.pair_weights import _raised as raised
from assent.objectives.pair_weights import pair_weights
from assent.objectives.parts import State
from assent.scores import PairScores, Scores
from assent.scoring.forward import evaluating

FORMS = {
    "exact": gradients_layers.grams,
    "vmap": gradients_vmap.grams,
    "loop": gradients_loop.grams,
    "last_layer": gradients_last.grams,
}
"""How the inner products are found, by name."""

CHUNK = 8
"""Pairs that are scored at a time."""


@dataclass(frozen=True)
class Entanglement:
    """What was found of P pairs.

    products: <g_w, g_l>, |g_w|^2, |g_l|^2 [P] of log pi (nats per sequence).  d_w, d_l [P]: the objective's pair weights.
    index: the place of each pair among the rows given.  form: how the products were found.
    """

    products: PairGradients
    d_w: Tensor
    d_l: Tensor
    index: tuple[int, ...]
    form: str

    def __len__(self) -> int:
        return len(self.index)

    def changes(self, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """First-order changes [P] of (log pi(chosen), log pi(rejected)), nats per sequence, each pair stepped on alone."""
        return self.products.changes(self.d_w, self.d_l, rate)

    def cases(self) -> list[str]:
        """ "ideal", "both down" or "both up"; "reversed" and "still" come with pair weights that are not above 0."""
        return [case_of(w, l) for w, l in zip(*(c.tolist() for c in self.changes()), strict=True)]

    def summary(self) -> dict[str, float]:
        """Means over the pairs.  norm_ratio: geometric mean of |g_l| / |g_w|; predicted: per unit of learning rate."""
        cases, (up, down) = self.cases(), self.changes()
        shares = {f"share_{case.replace(' ', '_')}": cases.count(case) / len(self) for case in
                  (IDEAL, BOTH_DOWN, BOTH_UP, REVERSED, STILL)}  # fmt: skip
        ratio = self.products.balanced_ratio.log()
        return {
            "cosine": _mean(self.products.cosine),
            "norm_ratio": float(torch.tensor(_mean(ratio)).exp()),
            **shares,
            "predicted_chosen": _mean(up),
            "predicted_rejected": _mean(down),
            "pairs": float(len(self)),
        }

    def to_json(self) -> dict[str, Any]:
        """The summary and a record for each pair, in plain Python values."""
        up, down = self.changes()
        columns = {
            "index": list(self.index),
            "inner": self.products.inner.tolist(),
            "chosen_sq": self.products.chosen_sq.tolist(),
            "rejected_sq": self.products.rejected_sq.tolist(),
            "cosine": [_plain(x) for x in self.products.cosine.tolist()],
            "d_w": self.d_w.tolist(),
            "d_l": self.d_l.tolist(),
            "predicted_chosen": up.tolist(),
            "predicted_rejected": down.tolist(),
            "case": self.cases(),
        }
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        summary = {name: _plain(value) for name, value in self.summary().items()}
        return {"schema": 1, "form": self.form, "summary": summary, "pairs": records}


def entanglement(
    scorer: Any, rows: Sequence[Any], objective: Objective, *, form: str = "exact", state: State | None = None,
    limit: int | None = None, preconditioned: Named | None = None,
) -> Entanglement:  # fmt: skip
    """Gradients of log pi(chosen) and log pi(rejected) of every pair, in evaluation mode, over all trainable parameters.

    form: "exact", layer by layer, the quickest; "vmap", by torch.func; "loop", two backward passes a pair, for any model;
    "last_layer", the output matrix alone, in closed form.  state: the objective's, None for its first.  limit: at most as
    many rows, evenly spaced.  preconditioned: each parameter's factor in the update, as ``adam_factors`` gives it.
    Raises AssentError on rows other than pairs, on an unknown form and on a model without trainable parameters.
    """
    index = _spaced(len(rows), limit)
    picked = [rows[i] for i in index]
    if form not in FORMS:
        raise AssentError(f"the form of the gradients is {form!r}; expected one of {', '.join(FORMS)}")
    if not picked or not all(hasattr(row, "chosen") and hasattr(row, "rejected") for row in picked):
        raise AssentError(
            f"entanglement was given {len(picked)} rows that are not all pairs; give at least one token pair"
        )
    model, factors = policy_of(scorer), None if preconditioned is None else roots(preconditioned)
    with evaluating(model):
        d_w, d_l = weights_of(scorer.on(model), picked, objective, state)
        found = FORMS[form](model, picked, scorer.pad_token_id, factors)
    return Entanglement(found.products, d_w, d_l, index, form)


def checked(rows: Sequence[Any], form: str) -> None:
    """Refuse an unknown form, and rows that are not all pairs."""
    if form not in FORMS:
        raise AssentError(f"the form of the gradients is {form!r}; expected one of {', '.join(FORMS)}")
    if not rows or not all(hasattr(row, "chosen") and hasattr(row, "rejected") for row in rows):
        raise AssentError(
            f"entanglement was given {len(rows)} rows that are not all pairs; give at least one token pair"
        )


def weights_of(
    scorer: Any, rows: Sequence[Any], objective: Objective, state: State | None = None
) -> tuple[Tensor, Tensor]:
    """The objective's pair weights (d_w, d_l) [P], float64; one whose rows hang together takes all of them as one step."""
    size = CHUNK if objective.couples == "no" else len(rows)
    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            scores = scorer.scores(read_by(objective, chunk), objective.needs)
            weigh = pair_weights if isinstance(scores, PairScores) else _labelled_weights
            parts.append([d.double().cpu() for d in weigh(objective, scores, state)])
    d_w, d_l = (torch.cat(side) for side in zip(*parts, strict=True))
    return d_w, d_l


def read_by(objective: Objective, rows: Sequence[Any]) -> list[Any]:
    """The pairs as the objective reads them: as they are, or as labelled completions, the chosen ones first.

    Raises AssentError for an objective of anything else.
    """
    if objective.data == "labelled":
        sides = [(row, row.chosen, row.target) for row in rows] + [(row, row.rejected, 1 - row.target) for row in rows]
        return [TokenExample(side, row.weight, label, row.index, row.columns) for row, side, label in sides]
    if objective.data not in ("pairs", "completions"):
        raise AssentError(
            f"{objective} reads {objective.data}; entanglement is of objectives of pairs or labelled completions"
        )
    return list(rows)


def _labelled_weights(objective: Objective, scores: Scores, state: State | None) -> tuple[Tensor, Tensor]:
    """``pair_weights`` of an objective of single completions, the chosen ones first."""
    rise = torch.zeros_like(scores.logp, requires_grad=True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(objective(raised(scores, rise), state).sum(), rise)
    d_w, l = slope.neg().chunk(2)
    return d_w, -l


def _spaced(count: int, limit: int | None) -> tuple[int, ...]:
    """Places of at most ``limit`` of ``count`` rows, evenly spaced."""
    if limit is not None and limit < 1:
        raise AssentError(f"the limit of rows is {limit}; expected at least 1")
    taken = count if limit is None else min(limit, count)
    return tuple(i * count // taken for i in range(taken))


def roots(factors: Named) -> dict[str, Tensor]:
    """Square roots, which turn plain inner products into preconditioned ones."""
    return {name: factor.detach().sqrt() for name, factor in factors.items()}


def _plain(number: float) -> float | None:
    """None for NaN, which JSON does not know."""
    return number if number == number else None


def _mean(values: Tensor) -> float:
    """Mean of the finite values; NaN without any."""
    return float(values[values.isfinite()].mean())
