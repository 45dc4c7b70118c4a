"""Bradley-Terry on the scores of a reward model, WorldPM's sheet, section 2."""

from __future__ import annotations

from case import Case
from oracle import nls

CASES = [
    Case(
        "bradley_terry()",
        lambda w, l: nls(w["score"] - l["score"]),
        0.6931471805599453,
        reference=False,
        exempt={"huge margins": "it reads rewards, not log-probabilities: tests/objectives/test_bradley_terry.py"},
    ),
]
