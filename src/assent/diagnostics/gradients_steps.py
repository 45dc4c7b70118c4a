"""Foretold against measured: a real step of gradient descent, what it does to both log-probabilities, and it is taken back.

The theory steps on one pair at a time; ``batch_changes`` foretells what the step of a whole batch does to each of its pairs,
whose change is rate <g, -P grad of the step's loss>, P the identity or the optimiser's preconditioner.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assent.diagnostics.gradients import CHUNK, FORMS, checked, read_by, roots
from assent.diagnostics.gradients_loop import Named, policy_of, trainable
from assent.errors import AssentError
from assent.objectives.base import Objective
from assent.objectives.parts import State
from assent.objectives.reduction import step_loss
from assent.scoring.forward import evaluating

LEAST = 1e-3
"""Share of the largest foretold change under which a sign is left out."""


@dataclass(frozen=True)
class Signs:
    """right: share of the ``counted`` signs that came true.  left_out: share of all changes foretold as too small to count.

    error: first-order error, the length of (measured - foretold) over that of foretold.
    """

    right: float
    counted: int
    left_out: float
    error: float


def adam_factors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """1 / (sqrt(v) + eps) of every trainable parameter, v Adam's second moment without its bias, by name.

    Where v is 0 no gradient has been seen, as of tokens that have not occurred, and the factor is 0: 1 / eps would tell
    of nothing else.
    Raises AssentError for a parameter of which the optimiser holds no second moment yet.
    """
    found, names = {}, {id(p): name for name, p in trainable(model).items()}
    for group in optimizer.param_groups:
        for p in group["params"]:
            state = optimizer.state.get(p, {})
            if id(p) in names and "exp_avg_sq" in state:
                second = state.get("max_exp_avg_sq", state["exp_avg_sq"])
                unbiased = second / (1 - group["betas"][1] ** float(state["step"]))
                found[names[id(p)]] = torch.where(second > 0, 1 / (unbiased.sqrt() + group["eps"]), 0.0)
    if missing := sorted(set(names.values()) - set(found)):
        raise AssentError(
            f"the optimiser holds no second moment of {missing[0]}; give one of Adam's kind that has taken a step"
        )
    return found


def batch_changes(
    scorer: Any, rows: Sequence[Any], objective: Objective, *, rate: float = 1.0, form: str = "exact",
    state: State | None = None, preconditioned: Named | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """First-order changes [P] of (log pi(chosen), log pi(rejected)), nats, by one step on the loss of all rows together.

    The rows are one optimiser step: their loss is reduced as in training and held in memory as one batch.
    form: as for ``entanglement``, but "last_layer".  Raises AssentError as ``entanglement`` does.
    """
    checked(rows, form)
    model, factors = policy_of(scorer), None if preconditioned is None else roots(preconditioned)
    with evaluating(model):
        slope = _slope(scorer.on(model), rows, objective, state, together=True)
        along = FORMS[form](model, rows, scorer.pad_token_id, factors, slope).along
    return -rate * along[:, 0], -rate * along[:, 1]


def measured_changes(
    scorer: Any, rows: Sequence[Any], objective: Objective, *, rate: float, together: bool = False,
    state: State | None = None, preconditioned: Named | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Changes [P] of (log pi(chosen), log pi(rejected)), nats, by steps that are taken and taken back.

    together: one step on the loss of all rows as in training; else each pair is stepped on alone, with weight 1.
    """
    checked(rows, "loop")
    model = policy_of(scorer)
    scorer = scorer.on(model)
    with evaluating(model):
        before = _logps(scorer, rows)
        after = torch.zeros_like(before)
        for part in [slice(0, len(rows))] if together else [slice(i, i + 1) for i in range(len(rows))]:
            slope = _slope(scorer, rows[part], objective, state, together)
            with _stepped(model, slope, rate, preconditioned):
                after[:, part] = _logps(scorer, rows[part])
    chosen, rejected = after - before
    return chosen, rejected


def fitting_rate(
    scorer: Any, rows: Sequence[Any], objective: Objective, foretold: tuple[Tensor, Tensor], most: float = 0.01,
    state: State | None = None, preconditioned: Named | None = None,
) -> float:  # fmt: skip
    """The first of 1, 1/10, 1/100, ... at which the first-order error is at most ``most``; foretold: changes at rate 1.

    Raises AssentError where none down to 1e-12 is: the measured changes are then of rounding.
    """
    for place in range(13):
        rate = 10.0**-place
        measured = measured_changes(scorer, rows, objective, rate=rate, state=state, preconditioned=preconditioned)
        if signs(measured, tuple(rate * change for change in foretold)).error <= most:
            return rate
    raise AssentError(
        f"no step down to 1e-12 has a first-order error of at most {most}; give the model in a wider dtype"
    )


def signs(measured: tuple[Tensor, Tensor], foretold: tuple[Tensor, Tensor], least: float = LEAST) -> Signs:
    """How many of the changes went where they were foretold, of those above ``least`` of the largest foretold one."""
    true, told = torch.cat(measured), torch.cat(foretold)
    counts = told.abs() > least * told.abs().max()
    right = (true.sign() == told.sign())[counts].double().mean().item()
    error = ((true - told).norm() / told.norm()).item()
    return Signs(right, int(counts.sum()), 1 - counts.double().mean().item(), error)


def _slope(
    scorer: Any, rows: Sequence[Any], objective: Objective, state: State | None, together: bool
) -> dict[str, Tensor]:
    """Gradient of the loss of the rows, by parameter."""
    parameters = trainable(scorer.model)
    with torch.enable_grad():
        scores = scorer.scores(read_by(objective, rows), objective.needs)
        loss = step_loss(objective, scores, state) if together else objective(scores, state).sum()
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


@torch.no_grad()
def _logps(scorer: Any, rows: Sequence[Any]) -> Tensor:
    """[2, P] of the chosen and the rejected sides."""
    parts = [scorer.scores(rows[i : i + CHUNK], frozenset()) for i in range(0, len(rows), CHUNK)]
    return torch.cat([torch.stack([p.chosen.logp, p.rejected.logp]).double().cpu() for p in parts], 1)


@contextlib.contextmanager
def _stepped(model: nn.Module, slope: Named, rate: float, preconditioned: Named | None) -> Iterator[None]:
    """The model after a step, for a while."""
    kept = {name: p.detach().clone() for name, p in trainable(model).items()}
    try:
        with torch.no_grad():
            for name, p in trainable(model).items():
                factor = 1.0 if preconditioned is None else preconditioned[name].to(p)
                p -= rate * factor * slope[name]
        yield
    finally:
        with torch.no_grad():
            for name, p in trainable(model).items():
                p.copy_(kept[name])
