"""Token sequences of unequal length to one right-padded batch, with the flat list of the tokens that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assent.errors import AssentError


@dataclass(frozen=True)
class Batch:
    """C sequences padded on the right to L tokens, and the T tokens that count, row by row.

    ids [C, L] int.  row [T]: sequence of each counted token.  position [T]: its place in the sequence.
    index [T]: its place in the completion, from 0.  target [T]: its id.  length [C]: counted tokens of each sequence.
    kept [K]: the places whose next-token logits are needed by some sequence, increasing.
    flat [T]: where each counted token's logits lie among the C x K kept ones.
    """

    ids: Tensor
    row: Tensor
    position: Tensor
    index: Tensor
    target: Tensor
    length: Tensor
    kept: Tensor
    flat: Tensor

    def __len__(self) -> int:
        return self.ids.shape[0]

    def targets_of_kept(self) -> Tensor:
        """The id after every kept place [C * K]; at places that do not count it is 0 and means nothing."""
        targets = self.ids.new_zeros(len(self) * len(self.kept))
        return targets.index_copy(0, self.flat, self.target)


def collate(sequences: Sequence[Any], pad_token_id: int, device: torch.device | str = "cpu") -> Batch:
    """Pad token sequences (``ids``, ``prompt_length``, ``mask`` over the whole sequence) on the right.

    The pad id is only a filler: it lies behind all real tokens, so that none attends to it, and is never scored.
    Raises AssentError where no token counts, or the first token of a sequence does (nothing predicts it).
    """
    if not sequences:
        raise AssentError("a batch of 0 sequences cannot be scored; give at least one row")
    width = max(len(s.ids) for s in sequences)
    ids = np.full((len(sequences), width), pad_token_id, dtype=np.int64)
    counted = np.zeros((len(sequences), width), dtype=bool)
    prompt = np.array([s.prompt_length for s in sequences], dtype=np.int64)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence.ids)] = sequence.ids
        counted[i, : len(sequence.mask)] = sequence.mask
    if counted[:, 0].any() or not counted.any(axis=1).all():
        bad = int(np.argmax(counted[:, 0] | ~counted.any(axis=1)))
        what = "its first token counted, which nothing predicts" if counted[bad, 0] else "no counted completion token"
        raise AssentError(f"sequence {bad} of the batch has {what}; expected a prompt (or BOS) and a completion")
    row, position = np.nonzero(counted)
    kept = np.unique(position - 1)
    flat = row * len(kept) + np.searchsorted(kept, position - 1)
    arrays = {
        "ids": ids,
        "row": row,
        "position": position,
        "index": position - prompt[row],
        "target": ids[row, position],
        "length": counted.sum(axis=1),
        "kept": kept,
        "flat": flat,
    }
    return Batch(**{name: torch.from_numpy(np.ascontiguousarray(a)).to(device) for name, a in arrays.items()})
