"""Which tokens entangle a pair: the cosine of every chosen token's gradient with every rejected token's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assent.diagnostics import ghost, gradients_last
from assent.diagnostics.gradients_loop import policy_of, trainable
from assent.errors import AssentError
from assent.scoring.batch import collate
from assent.scoring.engine import values
from assent.scoring.forward import device_of, evaluating

ELEMENTS = 1 << 28
"""Most numbers of token gradients that are held at a time."""


@dataclass(frozen=True)
class HeatMap:
    """cosine [W, L]: of the gradients of log p(token) of the W chosen and L rejected counted tokens; NaN where one is 0.

    chosen, rejected: the ids of these tokens, [W] and [L].
    """

    cosine: Tensor
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain Python values, cosines rounded to 4 places."""
        cells = [[round(x, 4) if x == x else None for x in row] for row in self.cosine.tolist()]
        return {"schema": 1, "cosine": cells, "chosen": list(self.chosen), "rejected": list(self.rejected)}


def heat_map(scorer: Any, row: Any, *, form: str = "exact") -> HeatMap:
    """The heat map of one token pair, in evaluation mode.

    form: "exact", a backward pass a token over all trainable parameters, or "last_layer", the output matrix alone in
    closed form.  Raises AssentError on another form and on a scorer without a causal language model.
    """
    if form not in ("exact", "last_layer"):
        raise AssentError(f"the form of the heat map is {form!r}; expected 'exact' or 'last_layer'")
    model, pad = policy_of(scorer), scorer.pad_token_id
    with evaluating(model):
        cosine = (_exact if form == "exact" else _last_layer)(model, row, pad)
    ids = [tuple(int(i) for i in side.ids[side.mask]) for side in (row.chosen, row.rejected)]
    return HeatMap(cosine.double().cpu(), *ids)


def _last_layer(model: nn.Module, row: Any, pad_token_id: int) -> Tensor:
    w, l = (gradients_last.tokens(model, side, pad_token_id) for side in (row.chosen, row.rejected))
    norms = [(side.a.norm(dim=-1) * side.b.norm(dim=-1)).flatten() for side in (w, l)]
    return ghost.token_products(w, l)[0] / (norms[0][:, None] * norms[1])


def _exact(model: nn.Module, row: Any, pad_token_id: int) -> Tensor:
    """A block of chosen tokens after the other meets the rejected tokens, whose gradients are made anew for each block."""
    size = sum(p.numel() for p in trainable(model).values())
    step, cosines, block = max(1, ELEMENTS // size), [], []
    total = int(row.chosen.mask.sum())
    for place, slope in enumerate(_token_gradients(model, row.chosen, pad_token_id)):
        block.append(slope)
        if len(block) == step or place + 1 == total:
            own = torch.stack(block)
            columns = [own @ other for other in _token_gradients(model, row.rejected, pad_token_id)]
            cosines.append(torch.stack(columns, 1))
            block = []
    return torch.cat(cosines)


def _token_gradients(model: nn.Module, sequence: Any, pad_token_id: int) -> Iterator[Tensor]:
    """The gradient of each counted token's log-probability over all trainable parameters, at length 1."""
    parameters = list(trainable(model).values())
    with torch.enable_grad():
        logp = values(model, collate([sequence], pad_token_id, device_of(model))).logp
    for place in range(len(logp)):
        found = torch.autograd.grad(
            logp[place], parameters, retain_graph=place + 1 < len(logp), allow_unused=True, materialize_grads=True
        )
        slope = torch.cat([g.flatten().float() if g.itemsize < 4 else g.flatten() for g in found])
        yield slope / slope.norm()
