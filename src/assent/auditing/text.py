"""The text scorer for others: held-out logits of pairs from their texts and labels alone."""

from __future__ import annotations

import torch
from torch import Tensor

from assent.auditing.em import fit_text
from assent.auditing.features import pair_features
from assent.auditing.table import from_records
from assent.data import Records


def held_out_logits(records: Records, *, seed: int = 0) -> Tensor:
    """Logits [P] float64 in nats for the stored order of each pair, from fits that never saw its prompt.

    What ``assent audit --scorer text`` bases its posteriors on; for ``--crossfit-scorer text`` of training.
    """
    table = from_records(records)
    return torch.from_numpy(fit_text(table, pair_features(table), seed=seed).logit)
