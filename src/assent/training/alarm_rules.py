"""When an alarm speaks and what it says: functions of a run's figures, each giving one sentence or None.

The figures are those of ``docs/diagnostics.md``: ``values`` of a look by name, or a window of training pairs (``Reading``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.diagnostics.memorising import accuracy_gap

FALL = 0.1
"""Nats per counted token that the chosen side may lose on average."""
SATURATED = 0.9
"""Share of the window's pairs that may be settled."""
LENGTH = 0.7
"""Correlation of margin and length gap that is no longer chance or style."""
GAP = 0.15
"""Training less held-out accuracy."""
ENTANGLED = 0.5
"""Share of pairs whose step is foretold to lower both sides."""
CERTAIN, RISE = 0.97, 0.03
"""Reliability that hardly any annotator has, and how far it must have risen to get there."""
DEAD = 0.05
"""Share of pairs that may teach nothing."""
MISMATCH = 0.05
"""Nats per sequence of starting margin that no rounding explains where policy and reference are the same weights."""
REPEATED = 0.01
"""Share of held-out pairs whose prompt may be trained on."""

Values = Mapping[str, float | None]


@dataclass(frozen=True)
class Reading:
    """One window: pairs, correlation and slope of margin on length gap, shares settled and right, change of the chosen
    side in nats per token with its standard error (NaN without a reference)."""

    pairs: float
    correlation: float
    slope: float
    settled: float
    right: float
    change: float
    change_error: float


# ---- from windows of training pairs -------------------------------------------------------------------------


def falling_chosen(reading: Reading) -> str | None:
    """The chosen side lost more than FALL nats per token, beyond three standard errors."""
    if not (reading.change < -FALL and reading.change < -3 * reading.change_error):
        return None
    return (
        f"the chosen completions have become less likely ({reading.change:+.2f} nats per token against the reference): "
        "the margin grows because the rejected side falls faster; add an anchor such as + 0.1*sft(), lower the learning "
        "rate, or stop earlier"
    )


def saturation(reading: Reading) -> str | None:
    """Most pairs no longer move the model."""
    if reading.settled < SATURATED:
        return None
    return (
        f"{reading.settled:.0%} of the pairs are settled (their gradient is below 1 %): further steps mostly fit the few "
        "that are left, which are often the wrong labels; train fewer epochs, or lower the learning rate"
    )


def length_drift(reading: Reading) -> str | None:
    """Margins follow length: the reward is hacked by it."""
    if not abs(reading.correlation) > LENGTH:
        return None
    which = "longer" if reading.correlation > 0 else "shorter"
    return (
        f"the margins follow length (correlation {reading.correlation:+.2f}, {reading.slope:+.3f} nats a token): the model "
        f"learns that {which} is better; look at the audit's length bias, or use a length-normalised objective such as simpo()"
    )


def memorising(train: Reading, accuracy: float, pairs: float) -> str | None:
    """Training pairs are ranked far better than held-out ones."""
    gap = accuracy_gap(train.right, train.pairs, accuracy, pairs)
    if not gap.beyond(GAP):
        return None
    return (
        f"pairs trained on are ranked right {train.right:.0%} of the time, held-out ones {accuracy:.0%}: the model learns the "
        "labels by heart, wrong ones too, and online reliabilities drift towards 1; train fewer epochs, or use "
        "lcpo(..., reliability='crossfit')"
    )


# ---- from looks at the probe ----------------------------------------------------------------------------------


def mismatch(values: Values) -> str | None:
    """Policy and reference should start as the same weights and do not; values of step 0."""
    margin, gap = values.get("start/margin"), values.get("start/gap")
    if margin is None or gap is None or margin <= MISMATCH:
        return None
    return (
        f"policy and reference should start alike and differ by {gap:.3g} nats per token (margins up to {margin:.3g}): the "
        "reference's log-probabilities are of other weights or other tokens, so rewards measure the wrong distance; empty "
        "the cache (assent cache), or write reference_logp=live"
    )


def dead_pairs(values: Values) -> str | None:
    """Pairs with identical sides, or without a gradient look after look."""
    same, still = values.get("dead/identical") or 0.0, values.get("dead/still") or 0.0
    if max(same, still) <= DEAD:
        return None
    if same >= still:
        return (
            f"{same:.0%} of the pairs have the same completion on both sides: they cost their share of every epoch and teach "
            "nothing; drop them (assent audit marks duplicates), or look for what cut the sides alike, such as max_length"
        )
    return (
        f"{still:.0%} of the pairs had no gradient at two looks in a row: the loss is flat where they are; train fewer epochs, "
        "or use an objective without a flat part, such as dpo()"
    )


def repeated_prompts(values: Values) -> str | None:
    """Held-out pairs whose prompt is trained on; values of the held-out split."""
    share = values.get("repeated/prompts") or 0.0
    if share <= REPEATED:
        return None
    return (
        f"{share:.0%} of the held-out pairs have a prompt that is trained on: their accuracy says little of new prompts; hold "
        "out whole prompts with eval_fraction, or take those rows out of one of the files"
    )


def entangled(values: Values) -> str | None:
    """Steps are foretold to lower both sides, and the chosen side does fall."""
    share, cosine = values.get("entanglement/share_both_down"), values.get("entanglement/cosine")
    change, error = values.get("displacement/chosen"), values.get("displacement/chosen_se")
    if None in (share, cosine, change, error) or share <= ENTANGLED or not change < -3 * error:
        return None
    return (
        f"the gradients of the two sides are entangled (cosine {cosine:.2f}): for {share:.0%} of the pairs a step that lowers "
        f"the rejected side lowers the chosen one too, which has lost {-change:.2g} nats per token; write "
        "update=normalised_pair, add + 0.1*sft(), or drop pairs whose sides hardly differ"
    )


@dataclass(frozen=True)
class Unseen:
    """Accuracy on pairs that were not trained on, of how many, and what they are: held out, or met for the first time."""

    accuracy: float
    pairs: float
    what: str


def reliability_drift(train: Sequence[Mapping[str, Any]], unseen: Unseen | None) -> str | None:
    """All online reliabilities rose towards 1 while the pairs trained on were learnt and others were not.

    train: looks at training pairs, the first and the last, each {"step", "values"}.  unseen: None where nothing is known of
    other pairs; then reliabilities near 1 may be the truth.
    """
    told = [line["values"] for line in train if line["values"].get("reliability/mean") is not None]
    if len(told) < 2 or unseen is None:
        return None
    first, last = told[0], told[-1]
    rose = last["reliability/mean"] - first["reliability/mean"]
    learnt = last["reward/accuracy"] - first["reward/accuracy"]
    gap = accuracy_gap(last["reward/accuracy"], last["pairs"], unseen.accuracy, unseen.pairs)
    if last["reliability/min"] < CERTAIN or rose < RISE or learnt < GAP or not gap.beyond(GAP, 2.0):
        return None
    seen = f"{first['reward/accuracy']:.0%} to {last['reward/accuracy']:.0%}"
    return (
        f"the reliabilities of all annotators rose from {first['reliability/mean']:.2f} to {last['reliability/mean']:.2f} "
        f"together; pairs trained on went from {seen} right, {unseen.what} are at {unseen.accuracy:.0%}: the model has learnt "
        "the labels and now believes them; use reliability='crossfit', train one epoch, or fix the reliabilities by an audit"
    )
