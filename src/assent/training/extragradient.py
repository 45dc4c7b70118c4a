"""The extragradient update: a half step to look ahead, then the whole step from where it began, on what was seen there.

EGPO (2503.08942): an update is two optimiser steps.  The half step keeps weights and the optimiser's state and moves on.
The next rows are sampled and judged with the moved weights; then what was kept is put back as it was, bit for bit, and takes
its step on these rows.  Only the opponent is extrapolated: loss and gradient of the whole step are those of the kept weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from assent.errors import AssentError
from assent.objectives import Objective
from assent.training.checkpoints import write_aside
from assent.training.source_settings import value_of

EXTRAGRADIENT = "extragradient"
FILE = "assent_half_step.pt"
"""What a half step left behind, in a checkpoint taken there: weights and the optimiser's state of the update's start."""


class HalfSteps:
    """Keeps and puts back what an update starts from; does nothing where ``args.update`` is another one.

    A step is named by the number of optimiser steps before it: even ones are half steps, odd ones whole.
    """

    def __init__(self, args: Any) -> None:
        self.args = args
        self.kept: Mapping[str, Any] | None = None

    @property
    def update(self) -> str:
        return getattr(self.args, "update", "sum")

    @property
    def on(self) -> bool:
        return self.update == EXTRAGRADIENT

    def half(self, step: int) -> bool:
        """Whether this step only looks ahead."""
        return self.on and step % 2 == 0

    @torch.no_grad()
    def keep(self, step: int, optimizer: Any) -> None:
        """Copy weights and the optimiser's state, where this step will be a half step."""
        if self.half(step):
            weights = [p.detach().clone() for p in _parameters(optimizer)]
            self.kept = {"weights": weights, "optimizer": copy.deepcopy(optimizer.state_dict())}

    @torch.no_grad()
    def put_back(self, step: int, optimizer: Any) -> None:
        """Before a whole step, once its rows are there: weights and the optimiser's state as they were kept."""
        if not self.on or self.half(step):
            return
        for parameter, was in zip(_parameters(optimizer), self.kept["weights"], strict=True):
            parameter.copy_(was)
        optimizer.load_state_dict(self.kept["optimizer"])  # no state before the first update: it is empty again
        self.kept = None

    def updates(self, steps: int) -> int:
        """Updates in so many optimiser steps.  Raises AssentError for an odd number of them."""
        if not self.on:
            return steps
        if steps % 2:
            raise AssentError(
                f"update='extragradient' makes an update of two steps and this run has {steps}; give an even number"
            )
        return steps // 2

    def paced(self, schedule: Any) -> Any:
        """The schedule of updates as one of optimiser steps: both halves of an update have one rate."""
        if self.on:
            if not isinstance(schedule, LambdaLR):
                raise AssentError(
                    f"update='extragradient' needs a rate that follows the step alone, and lr_scheduler_type gives "
                    f"{type(schedule).__name__}; take cosine, linear or constant"
                )
            schedule.lr_lambdas = [lambda step, rate=rate: rate(step // 2) for rate in schedule.lr_lambdas]
        return schedule

    def save(self, folder: Path) -> None:
        """Write what was kept into a checkpoint taken between the halves."""
        if self.kept is not None:
            write_aside(folder / FILE, lambda path: torch.save(self.kept, str(path)))

    def load(self, folder: Path, step: int) -> None:
        """Take it from the checkpoint after ``step`` steps.  Raises AssentError where it lies there for another update."""
        there = (folder / FILE).is_file()
        if there != (self.on and step % 2 == 1):
            raise AssentError(
                f"{str(folder)!r} holds {'a' if there else 'no'} half step and this run's update is {self.update!r}; resume "
                "with the same update or choose another directory"
            )
        self.kept = torch.load(folder / FILE, map_location="cpu", weights_only=True) if there else None


def _parameters(optimizer: Any) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def check_extragradient(settings: Any, training: Any, objective: Objective) -> None:
    """Refuse half steps where no fresh samples follow them, or what would end or judge a run on one.

    Win rates must be unbiased for those against the policy: of samples of one law, and of a pair that no score chose.
    """
    if settings.update != EXTRAGRADIENT:
        return
    rounds, pairing = value_of(settings, "rounds"), settings.pairing or "best_worst"
    rates = any(need.kind == "column" and need.name.startswith("win_rate") for need in objective.needs)
    wrong = [
        (
            settings.source != "online",
            f"source {settings.source!r} samples nothing after a half step, which then changes nothing; take 'online'",
        ),
        (rounds % 2 == 1, f"rounds is {rounds}; give an even number, as an update takes two"),
        (
            rates and pairing != "random" and value_of(settings, "samples") > 2,
            f"pairing {pairing!r} chooses pairs by score, which biases the win rates; take pairing 'random' or samples 2",
        ),
        (
            rates and settings.mixture is not None,
            f"mixture {settings.mixture!r} samples from another law than the opponent's; leave it out",
        ),
        (
            rates and settings.rejection is not None,
            f"rejection {settings.rejection!r} changes the samples' law; leave it out",
        ),
        (training.load_best_model_at_end, "load_best_model_at_end may take the weights of a half step; leave it out"),
        (
            training.save_strategy == "best",
            "save_strategy 'best' may take the weights of a half step; take steps or epoch",
        ),
        (training.auto_find_batch_size, "auto_find_batch_size changes how many steps a round takes; leave it out"),
    ]
    for refused, why in wrong:
        if refused:
            raise AssentError(f"update='extragradient': {why}")


def check_round(training: Any, rows: int) -> None:
    """Refuse rounds of more rows than an optimiser step: the next step must have samples of its own."""
    step = training.per_device_train_batch_size * training.gradient_accumulation_steps * training.world_size
    if getattr(training, "update", "sum") == EXTRAGRADIENT and rows > step:
        raise AssentError(
            f"update='extragradient' samples anew for each step, and a round of {rows} rows takes more than one step of "
            f"{step}; give round_prompts or a larger step"
        )
