"""Where token masks come from: activations of the reference (MaPO), or a trained head on them.  arXiv:2410.05102."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from assent.errors import AssentError

EPSILON = 1e-12
"""Ranges up to this size are constant; the mask is then 1."""


def activation_mask(activations: Sequence[Tensor], row: Tensor) -> Tensor:
    """MaPO's mask [T] in [0, 1]: activations averaged over features, scaled to [0, 1] within each completion, averaged.

    activations: one [T, features] for each hooked place of the frozen reference, at the counted tokens.  row [T]: the
    completion of each token.  The paper's normalisation before the scaling changes nothing and is left out.  A completion
    whose activations do not differ, such as one of a single token, has the mask 1.  Without gradient.
    """
    if not activations:
        raise AssentError(
            "activation_mask was given no activations; expected one tensor [T, features] for each hooked place"
        )
    total = torch.zeros(row.shape, dtype=activations[0].dtype, device=row.device)
    for values in activations:
        mean = values.detach().mean(-1)
        rows = int(row.max()) + 1 if len(row) else 0
        low = mean.new_full((rows,), float("inf")).scatter_reduce(0, row, mean, "amin")[row]
        high = mean.new_full((rows,), float("-inf")).scatter_reduce(0, row, mean, "amax")[row]
        flat = high - low <= EPSILON
        total = total + torch.where(flat, 1.0, (mean - low) / torch.where(flat, 1.0, high - low))
    return total / len(activations)


class LearnedMask(nn.Module):
    """SparsePO's mask head: ReLU of a mix over layers of ReLU(w_l . norm(h_l) + b_l), at the place that predicts a token.

    layers, width: of the frozen reference's hidden states.  dropout: .01 in the authors' code, 0 for tests.
    Its mask is 0 or more, exactly 0 where the head decides so, and unbounded above: penalise it, or decay its weights
    (0.01 in the authors' code).  It starts at 1 on every token, so that training starts from the unmasked loss.
    """

    def __init__(self, layers: int, width: int, dropout: float = 0.01) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.weight = nn.Parameter(torch.zeros(layers, width))
        self.bias = nn.Parameter(torch.ones(layers))
        self.mix = nn.Parameter(torch.full((layers,), 1.0 / layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Mask [T] from hidden states [layers, T, width], which get no gradient."""
        each = (self.norm(hidden.detach()) * self.weight[:, None]).sum(-1) + self.bias[:, None]
        each = self.dropout(torch.relu(each))
        return torch.relu(self.dropout((self.mix[:, None] * each).sum(0)))
