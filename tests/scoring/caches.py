"""Caches for tests: a stand-in for a model whose values follow from the sequence, and what holds of a reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from assent.scoring.cache import ReferenceCache
from assent.scoring.fingerprint import Fingerprint
from assent.scoring.table import sequence_key


def cache_at(root, name="a model", **made_of):
    return ReferenceCache(Path(root), Fingerprint({"schema": 1, "weights": name, **made_of}, name))


def numbers(sequences):
    """Stands for a model: values that follow from the sequence alone, so that every mix-up shows."""
    return [torch.from_numpy(exact(s)) for s in sequences]


def exact(sequence):
    seed = int.from_bytes(sequence_key(sequence)[:7], "little")
    return -np.random.default_rng(seed).random(int(sequence.mask.sum())).astype(np.float32)


def counting(seen):
    def compute(sequences):
        seen.extend(sequences)
        return numbers(sequences)

    return compute


def assert_holds(reference, rows):
    sequences = [s for row in rows for s in (row.chosen, row.rejected)]
    found = reference.keys.gather(reference.parts, sequences, "missing")
    np.testing.assert_array_equal(found, np.concatenate([exact(s) for s in sequences]))


def only_shard(cache):
    (path,) = cache.folder.glob("*.safetensors")
    return path
