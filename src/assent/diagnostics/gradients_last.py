"""Gradients of the output matrix alone, in closed form from one forward pass: (e_y - p) h^T for a token y at hidden state h.

The cheap look at entanglement, at the price of scoring: the matrix is taken as if it trained, by itself, whatever trains.
With a soft-cap or a scale of the logits each entry of e_y - p carries the slope of the logit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from assent.diagnostics import ghost
from assent.diagnostics.ghost import Tokens
from assent.diagnostics.gradients_layers import logits_of, slopes_of
from assent.diagnostics.gradients_loop import Grams, Named
from assent.errors import AssentError
from assent.scoring.batch import collate
from assent.scoring.engine import _head_facts
from assent.scoring.forward import at_least_float32, causal_lm_of, device_of


def grams(
    model: nn.Module, rows: Sequence[Any], pad_token_id: int, factors: Named | None = None,
    direction: Named | None = None,
) -> Grams:  # fmt: skip
    """Gram matrices of the pairs, as ``gradients_loop.grams`` gives them, over the output matrix.

    Raises AssentError on factors or a direction, which belong to parameters that train.
    """
    if factors is not None or direction is not None:
        what = "a preconditioned product" if factors is not None else "a step of the batch"
        raise AssentError(
            f"the form 'last_layer' was asked for {what}, which is of all that trains; use 'exact' or 'loop'"
        )
    found = []
    for row in rows:
        w, l = (tokens(model, side, pad_token_id) for side in (row.chosen, row.rejected))
        inner = ghost.products(w, l)
        found.append(torch.stack([ghost.products(w, w), inner, inner, ghost.products(l, l)]).view(2, 2))
    return Grams(torch.stack(found).cpu(), None)


@torch.no_grad()
def tokens(model: nn.Module, sequence: Any, pad_token_id: int) -> Tokens:
    """Hidden states a [1, 1, T, d] and slopes b [1, 1, T, V] of the log-probability of the counted tokens."""
    batch = collate([sequence], pad_token_id, device_of(model))
    with _read_by(causal_lm_of(model).get_output_embeddings()) as read:
        logits, places = logits_of(model, batch)
    cap, scale = _head_facts(causal_lm_of(model).config)
    slopes = slopes_of(logits[places], batch.target)
    slopes *= scale if cap is None else scale * (1 - (at_least_float32(logits[places]) / cap).square())
    hidden = at_least_float32(read[0].flatten(0, -2)[places])
    return Tokens(hidden[None, None], slopes[None, None])


@contextlib.contextmanager
def _read_by(module: nn.Module) -> Iterator[list[Tensor]]:
    """What the module reads, call by call."""
    read: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    try:
        yield read
    finally:
        hook.remove()
