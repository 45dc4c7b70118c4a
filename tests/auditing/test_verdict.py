"""Decisions and sentences at their borders."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from assent.auditing import verdict
from assent.auditing.flags import NAMES
from assent.auditing.table import LabelTable
from assent.robust.estimation import estimate


def _table(count: int, gold: int = 0) -> LabelTable:
    n = np.arange(count)
    return LabelTable(
        pair=n, annotator=n % 2, p=np.ones(count), weight=np.ones(count), gold=n < gold, row=n, names=("a", "b"),
        pairs=count, cluster=n, source="", fingerprint="", n_rows=count,
    )  # fmt: skip


def test_keep_look_drop() -> None:
    p = np.array([0.9, 0.79, 0.49, 0.31, 0.29, 0.01, np.nan, 0.01])
    flags = {name: np.zeros(8, dtype=bool) for name in NAMES}
    flags["contradiction"][:2] = True  # clear, not clear
    flags["tie"][6] = True
    table = dataclasses.replace(_table(8), gold=np.arange(8) == 7)
    keep, look, drop = verdict.KEEP, verdict.LOOK_AT, verdict.DROPPED
    assert verdict.decide(table, p, flags, True).tolist() == [keep, look, look, look, drop, drop, look, look]
    assert drop not in verdict.decide(table, p, flags, False)


@pytest.mark.parametrize(
    ("high", "noise_high", "telling", "enough", "words"),
    [
        ([0.99, 0.98], 0.05, True, True, "at most 5% of the labels are wrong"),
        ([0.99, 0.70], 0.05, True, False, "1 annotator with a twentieth of the labels or more is unreliable"),
        ([0.99, 0.98], 0.2, True, False, "up to 20% of the labels may be wrong"),
        ([0.99, 0.98], 0.05, False, False, "cannot tell how many labels are wrong"),
    ],
)
def test_when_plain_dpo_is_enough(high: list, noise_high: float, telling: bool, enough: bool, words: str) -> None:
    found, sentence = verdict.plain_dpo(_table(10), np.array(high), noise_high, np.array([5, 5]), telling, "out")
    assert found is enough and words in sentence
    assert enough or "reliability='audit:out'" in sentence


def test_labels_without_any_evidence_cannot_tell() -> None:
    random = np.random.default_rng(0)
    table = _table(200)
    found = estimate(torch.zeros(200, dtype=torch.float64), table.labels(), 2)
    assert not verdict.can_tell(found, 0.1, 0.15)
    assert any("do not tell which labels are wrong" in s for s in verdict.limits_of(found, False))
    s = random.normal(0, 3, 200)
    told = dataclasses.replace(table, p=(random.random(200) < 1 / (1 + np.exp(-s))).astype(float))
    found = estimate(torch.from_numpy(s), told.labels(), 2)
    assert verdict.can_tell(found, 0.1, 0.15) and not verdict.can_tell(found, 0.1, 0.45)


def test_gold_is_said() -> None:
    table = _table(60, gold=30)
    found = estimate(torch.ones(60, dtype=torch.float64), table.labels(), 2)
    assert found.rests_on == "gold" and verdict.can_tell(found, 0.0, 0.9)
    assert verdict.limits_of(found, True)[0].startswith("It rests on 30 gold labels")
