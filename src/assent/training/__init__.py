"""Parameters are moved here: the trainer, its arguments, cross-fitting, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assent.training.run import TrainResult, train

__all__ = ["TrainResult", "train"]


def __getattr__(name: str) -> Any:
    """``train`` and ``TrainResult``, imported when they are first used: transformers takes seconds."""
    if name in __all__:
        from assent.training import run

        return getattr(run, name)
    raise AttributeError(f"module 'assent.training' has no attribute {name!r}")
