"""The token columns of a run: a guide's log-probabilities, the reference's activations, functions given in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from assent.objectives import Objective
from assent.scoring.loading import LoadedModel, load_reference
from assent.scoring.reference import Precomputed, SecondModel, computing, tabulate
from assent.scoring.token_columns import ACTIVATIONS, activation_masks, from_function
from assent.training.arguments import Settings
from assent.training.progress import counting, say

GUIDE = "guide"


def promised_columns(settings: Settings) -> set[str]:
    """Names of the token columns that the settings give, before any is computed."""
    return {ACTIVATIONS, *(settings.token_columns or {}), *([GUIDE] if settings.guide is not None else [])}


def token_tables(
    settings: Settings, training: Any, objective: Objective, loaded: LoadedModel, other: SecondModel | None,
    rows: Sequence[Any], pad: int,
) -> dict[str, Precomputed]:  # fmt: skip
    """The token columns that the objective reads, computed for all rows.

    "guide": log-probabilities of the model that ``settings.guide`` names.  "activation_mask": MaPO's mask from the
    reference, which before training is the policy as it starts unless another model is given.
    """
    names = {need.name for need in objective.needs if need.kind == "token_column"}
    functions, found = settings.token_columns or {}, {}
    for name in sorted(names & functions.keys()):
        found[name] = from_function(functions[name], name, rows)
    if names & {GUIDE, ACTIVATIONS} - found.keys() and getattr(loaded.model, "quantization_method", None) is None:
        loaded.model.to(training.device)
    if ACTIVATIONS in names - found.keys():
        reference = other or loaded.live_reference()
        with counting("activations of the reference") as progress:
            compute = activation_masks(loaded.model, reference, pad)
            found[ACTIVATIONS] = tabulate(rows, compute, "activations of the reference", progress=progress)
    if GUIDE in names - found.keys():
        found[GUIDE] = _guide(settings, loaded.model, rows, pad)
    return found


def _guide(settings: Settings, policy: nn.Module, rows: Sequence[Any], pad: int) -> Precomputed:
    guide = load_reference(
        settings.guide, dtype=settings.dtype or str(policy.dtype).removeprefix("torch."),
        attn_implementation=settings.attn_implementation, trust_remote_code=settings.trust_remote_code,
    )  # fmt: skip
    say(f"guide: token log-probabilities of {settings.guide}")
    with counting("guide log-probabilities") as progress:
        return tabulate(rows, computing(policy, guide, pad), f"the guide {settings.guide}", progress=progress)
