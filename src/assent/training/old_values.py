"""What the value head said of a round's samples when the round began: the token column "old_value" of `ppo()`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from assent.objectives import Objective
from assent.sampling import Texts
from assent.sampling.rounds import Round
from assent.scoring import hidden
from assent.scoring.forward import device_of, evaluating
from assent.scoring.heads import VALUE
from assent.scoring.reference import Precomputed, tabulate
from assent.training.checkpoints import write_aside
from assent.training.ranks import first_rank

OLD_VALUE, FILE, BATCH = "old_value", "old_value.safetensors", 16


def reads_old_values(objective: Objective) -> bool:
    return any(need.kind == "token_column" and need.name == OLD_VALUE for need in objective.needs)


def old_values(folder: Path, found: Round, rows: Sequence[Any], scorer: Any) -> Precomputed:
    """The values of every counted token, by content; kept in ``folder``, so that a run that goes on clips at the same ones.

    scorer: the policy and its heads as the round begins; None: the head is fresh, and all values are 0.
    """
    groups = zip(found.prompt_ids, found.completions, strict=True)
    sequences = [Texts.sequence(ids, made) for ids, some in groups for made in some]
    lengths = [int(s.mask.sum()) for s in sequences]
    if scorer is None:
        values = torch.zeros(sum(lengths))
    elif (folder / FILE).is_file():
        from safetensors.torch import load_file

        values = load_file(str(folder / FILE))[VALUE]
    else:
        values = _computed(scorer, sequences)
        if first_rank():
            from safetensors.torch import save_file

            write_aside(folder / FILE, lambda path: save_file({VALUE: values}, str(path)))
    known = {s.ids.tobytes(): v for s, v in zip(sequences, values.split(lengths), strict=True)}

    def compute(some: Sequence[Any]) -> list[torch.Tensor]:
        return [known[s.ids.tobytes()] for s in some]

    return tabulate(rows, compute, "values when the round began")


@torch.no_grad()
def _computed(scorer: Any, sequences: Sequence[Any]) -> torch.Tensor:
    """The head's values [T] of all counted tokens, sequence by sequence."""
    parts = []
    with evaluating(scorer.model):
        head = scorer.heads.placed(device_of(scorer.model), False)[VALUE]
        for start in range(0, len(sequences), BATCH):
            states = hidden.last_predicting(scorer.model, sequences[start : start + BATCH], scorer.pad_token_id)
            parts.append(head(states).float().cpu())
    return torch.cat(parts)
