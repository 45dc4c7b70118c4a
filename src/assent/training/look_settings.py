"""Arguments of what a run looks at as it goes (``docs/diagnostics.md``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from assent.errors import AssentError

PROMPTS = 4
"""Prompts that are completed at each look unless told otherwise."""


@dataclass
class LookSettings:
    """How often a run looks at its probe, and how many prompts it completes."""

    diagnostics_steps: int | None = field(
        default=None,
        metadata={
            "help": "look at a few fixed pairs every N steps; at each evaluation, or epoch, unless given; 0: never"
        },
    )
    sample_prompts: int | None = field(
        default=None, metadata={"help": "prompts whose likeliest completion is kept at each look; 4 unless given"}
    )


def check_looks(settings: LookSettings, reward: bool) -> None:
    """Refuse numbers out of range, and prompts that nobody would complete.  reward: whether a reward model is trained."""
    for name in ("diagnostics_steps", "sample_prompts"):
        value = getattr(settings, name)
        if value is not None and value < 0:
            raise AssentError(f"{name} is {value}; expected a whole number of at least 0")
    if settings.sample_prompts and settings.diagnostics_steps == 0:
        raise AssentError(
            f"sample_prompts is {settings.sample_prompts} and diagnostics_steps=0 never looks; leave one of them out"
        )
    if settings.sample_prompts and reward:
        raise AssentError(
            f"sample_prompts is {settings.sample_prompts} and a reward model completes nothing; leave it out"
        )
