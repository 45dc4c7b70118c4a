"""Trainable parts of a scorer: token masks on the reference's states, classifiers on the policy's.  Contract, part 6."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.objectives.base import Need
from assent.scoring.forward import causal_lm_of
from assent.scoring.hidden import size_of
from assent.weighting.token_masks import LearnedMask

VALUE = "value"
"""The head that tells the value of each counted token, for `ppo()`."""

DEGREE = "degree_"
"""Heads of this name grade the view "SIDE@degraded"; the rest of the name is the side."""


class ValueHead(nn.Module):
    """V_t from the policy's last state at the place that predicts a token; it starts at 0 everywhere.

    States get no gradient: the head learns beside the policy, as a separate critic does, and vf does not pull at the policy.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Values [T] from states [T, width]."""
        return self.out(self.norm(states.detach().to(self.out.weight)))[:, 0]


class Heads(nn.ModuleDict):
    """Heads by name: those of the needs "mask" and "head".

    They live beside the model, in float32 (float64 for a float64 model), and are saved beside it: what is trained stays an
    ordinary checkpoint.
    """

    def placed(self, device: torch.device, training: bool) -> Heads:
        """The same heads on the policy's device and in its mode."""
        if next(self.parameters()).device != device:
            self.to(device)
        return self.train(training)


def head_needs(needs: Iterable[Need]) -> list[Need]:
    """The needs that heads meet, in order."""
    return sorted(need for need in needs if need.kind in ("mask", "head"))


def build(needs: Iterable[Need], model: nn.Module) -> Heads | None:
    """Fresh heads for these needs; None where there are none.  Raises AssentError for a head that nobody makes."""
    wanted = head_needs(needs)
    layers, width = size_of(model) if wanted else (0, 0)
    made: dict[str, nn.Module] = {}
    for need in wanted:
        if need.kind == "mask":
            made[need.name] = LearnedMask(layers, width)
        elif need.name == VALUE:
            made[VALUE] = ValueHead(width)
        elif need.name.startswith(DEGREE) and need.size > 0:
            made[need.name] = nn.Linear(width, need.size)
            nn.init.zeros_(made[need.name].weight)
            nn.init.zeros_(made[need.name].bias)
        else:
            raise AssentError(f"no scorer makes the head {need.name!r}; train with an objective whose heads are known")
    if not made:
        return None
    return Heads(made).double() if causal_lm_of(model).dtype == torch.float64 else Heads(made)


def mask_values(heads: Heads, states: Tensor) -> dict[str, Tensor]:
    """The masks [T] of all mask heads from hidden states [layers, T, d]."""
    return {name: head(states) for name, head in heads.items() if isinstance(head, LearnedMask)}
