"""Where a run writes and where it resumes: complete checkpoints only, and the objective's state inside them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from assent.data.aside import write_aside
from assent.errors import AssentError

STATE_FILE, STATE_INFO = "assent_state.safetensors", "assent_state.json"
SCHEMA = 1


def complete(folder: Path) -> bool:
    """Whether a checkpoint was written to its end: the trainer's state, its last file, is there and can be read."""
    try:
        json.loads((folder / "trainer_state.json").read_text())
        return (folder / STATE_INFO).is_file()
    except (OSError, ValueError):
        return False


def checkpoints(output_dir: str | os.PathLike[str]) -> list[Path]:
    """The complete checkpoints under a run's directory, oldest first."""
    found = []
    for folder in Path(output_dir).glob("checkpoint-*"):
        step = re.fullmatch(r"checkpoint-(\d+)", folder.name)
        if step and complete(folder):
            found.append((int(step[1]), folder))
    return [folder for _, folder in sorted(found)]


def prepare_output(output_dir: str | os.PathLike[str], resume: bool) -> Path | None:
    """Make the directory and give the checkpoint to resume from (None starts afresh).

    Raises AssentError where the directory cannot be written, or holds something and the run is not to be resumed.
    """
    path = Path(output_dir)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".assent-probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise AssentError(
            f"the output directory {str(path)!r} cannot be written ({error.strerror}); choose another --output-dir"
        ) from None
    last = checkpoints(path)
    if resume:
        if not last and any(path.glob("checkpoint-*")):
            raise AssentError(f"{str(path)!r} holds no complete checkpoint; delete it and start again without --resume")
        return last[-1] if last else None
    if any(path.iterdir()):
        raise AssentError(
            f"the output directory {str(path)!r} is not empty; continue that run with --resume or choose another directory"
        )
    return None


def save_state(folder: Path, state: Mapping[str, Tensor], annotators: tuple[str, ...], objective: str) -> None:
    """Write the objective's state and the annotators' names, in vocabulary order, into a checkpoint."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_aside(folder / STATE_FILE, lambda p: save_file(tensors, str(p)))
    info = {"schema": SCHEMA, "objective": objective, "annotators": list(annotators)}
    write_aside(folder / STATE_INFO, lambda p: p.write_text(json.dumps(info, indent=1)))


def load_state(folder: Path) -> tuple[dict[str, Tensor], tuple[str, ...], str]:
    """State, annotators and objective of a checkpoint."""
    from safetensors.torch import load_file

    info = json.loads((folder / STATE_INFO).read_text())
    if info.get("schema", 0) > SCHEMA:
        raise AssentError(
            f"{str(folder)!r} was written by a later version (state schema {info['schema']}, known up to {SCHEMA}); "
            "upgrade assent"
        )
    return load_file(str(folder / STATE_FILE)), tuple(info["annotators"]), info["objective"]


def grown(
    old: Mapping[str, Tensor], old_names: tuple[str, ...], new: Mapping[str, Tensor], names: tuple[str, ...]
) -> dict[str, Tensor]:
    """The old state under a vocabulary that may have new names: those keep the fresh state ``new``.

    ``names`` must begin with ``old_names``; entries that have one value per annotator are filled from the old ones.
    """
    if names[: len(old_names)] != old_names:
        raise AssentError("the vocabulary of a resumed run must begin with the checkpoint's annotators")
    out = {}
    for name, fresh in new.items():
        value = old.get(name)
        if value is None:
            raise AssentError(f"the checkpoint holds no state {name!r}; it was written for another objective")
        if value.shape == fresh.shape:
            out[name] = value.to(fresh)
        elif value.dim() == 1 and value.shape[0] == len(old_names) and fresh.shape[0] == len(names):
            out[name] = torch.cat([value.to(fresh), fresh[len(old_names) :]])
        else:
            raise AssentError(
                f"the checkpoint's state {name!r} has shape {list(value.shape)}; this run expects {list(fresh.shape)}"
            )
    return out
