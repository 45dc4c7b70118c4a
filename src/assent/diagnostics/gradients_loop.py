"""Gradients of log-probabilities one sequence at a time: a forward and a backward pass each, for any model.

A Gram matrix of a pair is [[<g_w, g_w>, <g_w, g_l>], [<g_l, g_w>, <g_l, g_l>]] in float64, over all trainable parameters;
``along`` is [<g_w, u>, <g_l, u>] for a direction u.  Factors scale both gradients and u: with square roots of P they give
the inner products g_w^T P g_l of a preconditioned step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from assent.diagnostics.entanglement import PairGradients
from assent.errors import AssentError
from assent.scoring.batch import collate
from assent.scoring.engine import values
from assent.scoring.forward import device_of, unwrap

Named = Mapping[str, Tensor]
"""A tensor for each trainable parameter, by name."""


class Grams(NamedTuple):
    """Of P pairs.  gram [P, 2, 2] and, where a direction was given, along [P, 2], float64 on the CPU."""

    gram: Tensor
    along: Tensor | None

    @classmethod
    def joined(cls, parts: Sequence[Grams]) -> Grams:
        """Pairs of several parts, in order."""
        along = None if parts[0].along is None else torch.cat([part.along for part in parts])
        return cls(torch.cat([part.gram for part in parts]), along)

    def at(self, places: Sequence[int]) -> Grams:
        """The pairs at these places."""
        return Grams(self.gram[list(places)], None if self.along is None else self.along[list(places)])

    @property
    def products(self) -> PairGradients:
        """The three inner products of each pair."""
        return PairGradients(self.gram[:, 0, 1], self.gram[:, 0, 0], self.gram[:, 1, 1])


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that train, by name, each once; of a model with an adapter, the adapter's.

    Raises AssentError where nothing trains, and on a model that lies in shards.
    """
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise AssentError(
            "no parameter of the model trains, so no gradient can be told; unfreeze it or load its adapter"
        )
    if any(hasattr(p, "to_local") or hasattr(p, "ds_id") for p in found.values()):
        raise AssentError(
            "the model lies in shards and its gradients need it whole; diagnose the saved run on one device instead"
        )
    return found


def policy_of(scorer: Any) -> nn.Module:
    """The language model of a scorer, out of data-parallel wrappers.

    Raises AssentError for a scorer without one, such as a table of scores or a reward model.
    """
    model = getattr(scorer, "model", None)
    if not isinstance(model, nn.Module) or not hasattr(scorer, "pad_token_id") or not hasattr(scorer, "on"):
        kind = type(scorer).__name__
        raise AssentError(f"a {kind} has no gradients of log-probabilities; give a scorer of a causal language model")
    return unwrap(model)


def gradient(model: nn.Module, sequence: Any, pad_token_id: int, factors: Named | None = None) -> list[Tensor | None]:
    """Gradient of log pi(sequence), counted tokens summed, for every trainable parameter; None where there is none."""
    parameters = trainable(model)
    with torch.enable_grad():
        logp = values(model, collate([sequence], pad_token_id, device_of(model))).logp.sum()
    found = torch.autograd.grad(logp, list(parameters.values()), allow_unused=True)
    return scaled(found, parameters, factors)


def scaled(gradients: Sequence[Tensor | None], names: Sequence[str] | Named, factors: Named | None) -> list[Any]:
    """The gradients times their factors, parameter by parameter."""
    if factors is None:
        return list(gradients)
    return [None if g is None else g * factors[name].to(g) for name, g in zip(names, gradients, strict=True)]


def grams(
    model: nn.Module, rows: Sequence[Any], pad_token_id: int, factors: Named | None = None,
    direction: Named | None = None,
) -> Grams:  # fmt: skip
    """Gram matrices of the pairs and their products with a direction: two backward passes a pair."""
    names = list(trainable(model))
    towards = None if direction is None else scaled([direction[name] for name in names], names, factors)
    gram, along = torch.zeros(len(rows), 2, 2, dtype=torch.float64), []
    for i, row in enumerate(rows):
        w, l = (gradient(model, side, pad_token_id, factors) for side in (row.chosen, row.rejected))
        found = PairGradients.of(w, l)
        gram[i] = torch.stack([found.chosen_sq, found.inner, found.inner, found.rejected_sq]).view(2, 2)
        if towards is not None:
            along.append(torch.stack([PairGradients.of(side, towards).inner for side in (w, l)]))
    return Grams(gram, None if direction is None else torch.stack(along))
