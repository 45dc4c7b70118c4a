"""From posteriors to plain words: which labels to keep, to look at, to drop, and whether plain DPO is enough."""

from __future__ import annotations

import numpy as np

from assent.auditing.table import LabelTable
from assent.robust.estimation import Estimate

DROP, LOOK = 0.3, 0.5
"""A label below DROP is more likely to harm than to help; between the two the data do not settle it."""
ENOUGH_NOISE = 0.1
"""Plain DPO is enough where the noise rate is surely below this ..."""
ENOUGH_RELIABILITY = 0.8
"""... and no annotator with 5 % of the labels is surely below this."""
KEEP, LOOK_AT, DROPPED = 0, 1, 2
TELLING = 2.0
"""Nats by which the better side must beat its mirror image."""


def can_tell(found: Estimate, low: float | None, high: float | None) -> bool:
    """Whether the data say which labels are wrong: a side that clearly beats its mirror image, a narrow interval."""
    if found.rests_on == "gold":
        return True
    narrow = low is None or high is None or high - low <= 0.3
    return narrow and found.log_likelihood - found.mirror_log_likelihood >= TELLING


def decide(table: LabelTable, p_correct: np.ndarray, flags: dict[str, np.ndarray], telling: bool) -> np.ndarray:
    """[J] KEEP, LOOK_AT or DROPPED.

    Ties, unsettled labels and those on contradictory pairs or cycles that are not clear are to be looked at.  Where
    the data cannot tell which side is right nothing is dropped.
    """
    p = np.nan_to_num(p_correct, nan=0.5)
    disputed = (flags["contradiction"] | flags["cycle"]) & (p < 0.8)
    out = np.where((p < LOOK) | disputed | flags["tie"], LOOK_AT, KEEP)
    if telling:
        out = np.where((p < DROP) & ~table.gold & ~flags["tie"], DROPPED, out)
    return out


def plain_dpo(
    table: LabelTable, eta_high: np.ndarray, noise_high: float | None, counts: np.ndarray, telling: bool, folder: str
) -> tuple[bool, str]:
    """Whether plain DPO is enough, and the sentence that says so or what to train with instead."""
    robust = f"train with --objective \"lcpo(dpo(), reliability='audit:{folder}')\""
    if not telling or noise_high is None:
        return (
            False,
            f"The data cannot tell how many labels are wrong; add gold pairs or second judgements, then {robust}.",
        )
    many = counts >= 0.05 * counts.sum()
    poor = [name for name, high, m in zip(table.names, eta_high, many, strict=True) if m and high < ENOUGH_RELIABILITY]
    if noise_high <= ENOUGH_NOISE and not poor:
        return True, (
            f"Plain DPO is enough here: at most {noise_high:.0%} of the labels are wrong and no annotator with a "
            "twentieth of the labels is unreliable."
        )
    reason = f"up to {noise_high:.0%} of the labels may be wrong"
    if poor:
        reason += f" and {len(poor)} annotator{'s' * (len(poor) > 1)} with a twentieth of the labels or more " + (
            "are unreliable" if len(poor) > 1 else "is unreliable"
        )
    return False, f"Plain DPO would learn the mistakes ({reason}); {robust}."


_REST = {
    "gold": (
        "It rests on {gold:,} gold labels: pairs whose right order is known. It holds for the other pairs as far as they "
        "are like the gold ones."
    ),
    "agreement": (
        "It rests on agreement: {shared:,} labels share their pair with another annotator's. A mistake that all of them "
        "share is not seen."
    ),
    "model": (
        "It rests on the model alone: {alone:,} labels stand alone on their pair and few share one. Preferences that the "
        "model cannot express look like noise, and habits that all labels share look like truth."
    ),
}


def limits_of(found: Estimate, telling: bool) -> tuple[str, ...]:
    """What the estimate rests on and what it cannot see, in sentences."""
    e = found.evidence
    out = [_REST[found.rests_on].format(gold=e.gold, shared=e.shared, alone=e.alone)]
    if found.rests_on != "gold":
        out.append(
            "If most annotators are wrong more often than right, the answer is the mirror image; a few gold pairs "
            "settle it."
        )
    if not telling:
        out.append(
            "Here the data do not tell which labels are wrong (the mirror image or a much larger noise rate fits about "
            "as well), so none is to be dropped."
        )
    return tuple(out)
