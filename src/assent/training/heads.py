"""A run's trainable masks and heads: their parameter group, gradients over ranks, and their file beside the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from assent.errors import AssentError
from assent.scoring.heads import Heads
from assent.training.checkpoints import write_aside
from assent.training.ranks import all_reduce

FILE = "assent_heads.safetensors"
WEIGHT_DECAY = 0.01
"""Weight decay of masks in SparsePO's code (2410.05102)."""


class HeadKeeper:
    """What the trainer does with the heads of its scorer; without heads nothing.

    Raises AssentError where the weights are in shards: the heads of every rank must see the same states.
    """

    def __init__(self, heads: Heads | None, sharded: bool) -> None:
        if heads is not None and sharded:
            raise AssentError(
                f"the objective trains {', '.join(heads)} beside the model, which shards do not allow; use DDP"
            )
        self.heads = heads
        for parameter in self.parameters():  # every rank starts from the same numbers
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.broadcast(parameter.data, src=0)

    def parameters(self) -> list[nn.Parameter]:
        return [] if self.heads is None else list(self.heads.parameters())

    def add_group(self, optimizer: Any, rate: float, decay: float | None) -> None:
        """Give the heads a parameter group of their own."""
        if self.heads is not None:
            decay = WEIGHT_DECAY if decay is None else decay
            optimizer.add_param_group({"params": self.parameters(), "lr": rate, "weight_decay": decay})

    def before_step(self) -> None:
        """Forget the gradients of the step before, which the trainer's own zeroing does not reach."""
        for parameter in self.parameters():
            parameter.grad = None

    def after_backward(self, ranks: int) -> None:
        """The mean of the gradients over ranks, as for the model; a rank that met no head counts as zero."""
        for parameter in self.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if ranks > 1:
                all_reduce(parameter.grad).div_(ranks)

    def save(self, folder: Path) -> None:
        """Write the heads beside the model."""
        if self.heads is not None:
            from safetensors.torch import save_file

            tensors = {name: value.detach().cpu().contiguous() for name, value in self.heads.state_dict().items()}
            write_aside(folder / FILE, lambda path: save_file(tensors, str(path)))

    def load(self, folder: Path) -> None:
        """Take the heads of a checkpoint."""
        if self.heads is None:
            return
        from safetensors.torch import load_file

        if not (folder / FILE).is_file():
            raise AssentError(f"{str(folder)!r} holds no heads ({FILE}); resume from another checkpoint")
        self.heads.load_state_dict(load_file(str(folder / FILE)))
