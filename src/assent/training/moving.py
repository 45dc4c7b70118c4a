"""A reference that follows the policy while it trains: its weights move after a step, and are part of the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.objectives import Objective
from assent.objectives.moving import MovingReference
from assent.objectives.parts import within
from assent.objectives.wrapper import Around
from assent.scoring.forward import unwrap
from assent.scoring.reference import SecondModel
from assent.training.checkpoints import write_aside

FILE = "assent_reference.safetensors"


def moving_terms(objective: Objective, key: str = "") -> Iterator[tuple[MovingReference, str]]:
    """Every moving reference of an expression with the key of its state."""
    join = lambda inner: f"{key}.{inner}" if key else inner  # noqa: E731
    if isinstance(objective, MovingReference):
        yield objective, key
    elif isinstance(objective, Around):
        yield from moving_terms(objective.base, join("base"))
    elif objective.children():
        for term in objective.terms():
            yield from moving_terms(term.objective, join(term.key))


class Moving:
    """Moves the reference of a run.  Raises AssentError for two different paces, and where the weights are in shards."""

    def __init__(self, objective: Objective, reference: Any, sharded: bool) -> None:
        found = list(moving_terms(objective))
        self.term, self.key = found[0] if found else (None, "")
        if self.term is None:
            return
        if {(term.share, term.every) for term, _ in found} != {(self.term.share, self.term.every)}:
            raise AssentError(
                f"{objective!s} moves its reference at two paces; give all terms the same share and every"
            )
        if sharded:
            raise AssentError(
                f"{objective!s} moves its reference, which shards of weights do not allow; train with DDP"
            )
        if not isinstance(reference, SecondModel):
            raise AssentError(
                f"{objective!s} moves its reference, which needs all weights trained and a second model; leave the LoRA out"
            )
        self.model = reference.model

    @torch.no_grad()
    def after_step(self, policy: nn.Module, state: Mapping[str, Tensor]) -> None:
        """reference <- share policy + (1 - share) reference, where the step asks for it."""
        share = 0.0 if self.term is None else self.term.share_after(within(state, self.key))
        if share:
            for own, followed in zip(self.model.parameters(), unwrap(policy).parameters(), strict=True):
                own.lerp_(followed.to(own), share)

    def save(self, folder: Path) -> None:
        """Write the reference's weights into a checkpoint."""
        if self.term is not None:
            from safetensors.torch import save_file

            tensors = {name: p.detach().cpu().contiguous() for name, p in self.model.named_parameters()}
            write_aside(folder / FILE, lambda path: save_file(tensors, str(path)))

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Take the reference's weights from a checkpoint."""
        if self.term is None:
            return
        from safetensors.torch import load_file

        if not (folder / FILE).is_file():
            raise AssentError(
                f"{str(folder)!r} holds no weights of its moving reference; resume from another checkpoint"
            )
        tensors = load_file(str(folder / FILE))
        for name, parameter in self.model.named_parameters():
            parameter.copy_(tensors[name])
