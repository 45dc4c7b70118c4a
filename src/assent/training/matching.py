"""BCO's matching column, computed from the prompts where the data bring none: ``bco(match='prompts')``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.objectives import Objective
from assent.objectives.bco import BCO, PROMPTS
from assent.scoring import hidden
from assent.scoring.forward import evaluating
from assent.training.progress import counting, say
from assent.weighting.matching import matching_weights

if TYPE_CHECKING:
    from assent.training.policy import Policy
    from assent.training.prepare import Prepared

BATCH = 32
"""Prompts of a forward; they run once."""


def made_columns(objective: Objective, rows: Sequence[Any]) -> frozenset[str]:
    """The columns that the run makes itself: "prompts" where a bco term asks for it and no row brings a number."""
    asked = any(isinstance(part, BCO) and part.match == PROMPTS for part in objective.walk())
    return frozenset({PROMPTS} if asked and all(row.columns.get(PROMPTS) is None for row in rows) else ())


def with_matching(
    prepared: Prepared, objective: Objective, policy: Policy, training: Any, own: bool = False
) -> Prepared:
    """The rows with their column "prompts", where the run makes it; one line says what came out.

    The prompts' states (last prompt token, last layer, layer-normed) under the policy as it starts; W by a class-balanced
    logistic regression on the training rows, read off at every row's prompt.  own: rows are made anew in every epoch.
    Raises AssentError for such rows, and where one class is missing.
    """
    if not made_columns(objective, prepared.all_rows):
        return prepared
    if own:
        raise AssentError(
            "bco(match='prompts') looks at all prompts before training, and source 'online' makes rows as it goes"
        )
    if getattr(policy.model, "quantization_method", None) is None:
        policy.model.to(training.device)
    ids = {_prompt(row): row.sequence for row in prepared.all_rows}
    number = {key: i for i, key in enumerate(ids)}
    states = prompt_states(policy.model, list(ids.values()), policy.scorer.pad_token_id)
    at = torch.tensor([number[_prompt(row)] for row in prepared.rows])
    weight = torch.tensor([row.weight for row in prepared.rows], dtype=torch.float64)
    liked = weight * torch.tensor([float(row.label) for row in prepared.rows], dtype=torch.float64)
    mass = [torch.zeros(len(ids), dtype=torch.float64).index_add(0, at, m) for m in (liked, weight - liked)]
    found = weights_of(states, *mass)
    say(summary(found, mass[1]))
    values = found.tolist()

    def matched(rows: Sequence[Any] | None) -> list[Any] | None:
        if rows is None:
            return None
        return [replace(row, columns={**row.columns, PROMPTS: values[number[_prompt(row)]]}) for row in rows]

    return replace(prepared, rows=matched(prepared.rows), eval_rows=matched(prepared.eval_rows))


def weights_of(states: Tensor, liked: Tensor, disliked: Tensor) -> Tensor:
    """W [n] of n prompts with states [n, d], whose liked and disliked rows weigh these much ([n] each)."""
    for mass, word in ((liked, "liked"), (disliked, "disliked")):
        if not mass.sum() > 0:
            raise AssentError(
                f"bco(match='prompts') compares the prompts of liked and of disliked rows, and no row is {word}; add some or "
                "leave match out"
            )
    up, down = liked > 0, disliked > 0
    prompts, where = torch.cat([states[up], states[down]]).double(), states.device
    label = torch.cat([torch.ones(int(up.sum())), torch.zeros(int(down.sum()))]).to(where)
    weight = torch.cat([liked[up], disliked[down]]).to(where)
    return matching_weights(prompts, label, weight=weight, at=states.double()).cpu()


def summary(found: Tensor, disliked: Tensor) -> str:
    """What the weights are, in one line; disliked [n]: what the disliked rows of each prompt weigh."""
    here = disliked > 0
    w, mass = found[here], disliked[here]
    size = ((mass * w).sum() ** 2 / (mass * w**2).sum()).item()
    return (
        f"matching: W of {len(found)} prompts from their states, {w.min().item():.3g} to {w.max().item():.3g} where disliked; "
        f"effective sample size {size:.1f} of {mass.sum().item():g} disliked rows"
    )


@torch.no_grad()
def prompt_states(model: nn.Module, sequences: Sequence[Any], pad_token_id: int) -> Tensor:
    """States [n, d] of the sequences' prompts, each brought to mean 0 and variance 1; on the CPU or on CUDA."""
    found: dict[int, Tensor] = {}
    order = sorted(range(len(sequences)), key=lambda i: sequences[i].prompt_length)
    with evaluating(model), counting("states of the prompts") as progress:
        for start in range(0, len(order), BATCH):
            numbers = order[start : start + BATCH]
            states = hidden.prompt_ends(model, [sequences[i] for i in numbers], pad_token_id)
            found |= dict(zip(numbers, nn.functional.layer_norm(states, states.shape[-1:]), strict=True))
            progress(len(found), len(order))
    states = torch.stack([found[i] for i in range(len(sequences))])
    return states if states.is_cuda else states.cpu()


def _prompt(row: Any) -> bytes:
    return row.sequence.ids[: row.sequence.prompt_length].tobytes()
