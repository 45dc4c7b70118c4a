"""A diagnosis in plain words: every figure with what it means beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assent.evaluation.diagnosis import Diagnosis

SECTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("reward: the objective's own measure of each side", (
        ("reward/accuracy", "pairs whose margin agrees with the label (ties half)"),
        ("reward/margin", "nats, mean margin of the chosen side"),
        ("saturation/share", "pairs with hardly any gradient left (below 1 %)"),
    )),
    ("ranking: by the policy's own likelihood, without the reference", (
        ("ranking/accuracy", "pairs whose chosen side is likelier"),
        ("ranking/normalised", "the same per token"),
        ("ranking/reference", "the reference's share"),
        ("ranking/idealised_median", "what the best policy could reach from this reference (median over beta)"),
        ("ranking/alignment_gap", "how far below that it is"),
        ("difficulty/wrong", "pairs that the reference ranks wrong"),
        ("difficulty/turned", "of these, turned right"),
        ("difficulty/lost", "of the others, turned wrong"),
    )),
    ("calibration: does a stated probability come true", (
        ("calibration/ece", "mean distance of stated and seen probability"),
        ("calibration/overconfidence", "stated less seen: above 0, margins promise too much"),
        ("calibration/label_ece", "the same of noisy labels, by the annotators' reliabilities"),
    )),
    ("movement against the reference", (
        ("displacement/chosen", "nats per token that the chosen side gained"),
        ("displacement/rejected", "nats per token that the rejected side gained"),
        ("displacement/share", "pairs whose chosen side became less likely"),
        ("three_d/drop", "nats a sequence that the rejected side lost"),
        ("three_d/suppression", "nats a sequence that the chosen side lost"),
        ("three_d/dispersion", "nats that the mass outside the pair gained"),
        ("kl/pairs", "nats per token, KL(reference || policy) along the data"),
    )),
    ("KL(policy || reference) of drawn completions, nats a sequence, by estimator", (
        ("kl/full", "whole vocabulary at each token: unbiased, never below 0"),
        ("kl/k1", "log-ratio: unbiased, may be below 0"),
        ("kl/k2", "half its square: biased, never below 0"),
        ("kl/k3", "ratio - 1 - log-ratio: unbiased, never below 0"),
    )),
    ("completions drawn at temperature 1", (
        ("samples/entropy", "nats, mean entropy of the next token"),
        ("samples/nll", "nats per token"),
        ("samples/length", "tokens"),
        ("samples/cut", "share that had not ended"),
        ("samples/distinct_2", "different 2-grams of all"),
        ("samples/duplicates", "share that another prompt has too"),
        ("samples/overlap", "2-grams shared with other completions"),
    )),
    ("gradients of the two sides", (
        ("entanglement/cosine", "1: the same direction, a step moves both alike"),
        ("entanglement/share_ideal", "pairs whose own step lifts the chosen and lowers the rejected side"),
        ("entanglement/share_both_down", "pairs whose own step lowers both"),
        ("entanglement/share_both_up", "pairs whose own step lifts both"),
    )),
    ("data", (
        ("length/gap", "tokens that the chosen side is longer"),
        ("length/correlation", "of margin and length gap"),
        ("dead/identical", "pairs with the same tokens on both sides"),
        ("reliability/mean", "mean reliability of the annotators"),
        ("noise_rate", "mean probability that a label is wrong"),
    )),
)  # fmt: skip
"""Heading -> (figure, its meaning); figures that a model or its data do not have are left out."""


def words(found: Diagnosis) -> str:
    """The whole diagnosis as text for a terminal."""
    lines = [f"{found.objective} on {found.values['pairs']:,.0f} pairs of {found.data}"]
    for heading, entries in SECTIONS:
        told = [(key, meaning) for key, meaning in entries if _told(found.values.get(key))]
        if told:
            lines += ["", heading, *(_line(found.values, key, meaning) for key, meaning in told)]
    if "transition" in found.tables:
        lines += ["", _transition(found.tables["transition"], found.reference is not None)]
    lines += _calibration(found.tables["calibration"])
    for cut, rows in found.tables["buckets"].items():
        lines += _bucket(cut, rows)
    lines += ["", *(f"warning: {sentence}" for sentence in found.warnings)] if found.warnings else []
    return "\n".join(lines)


def _told(value: float | None) -> bool:
    return value is not None and value == value


def _line(values: Mapping[str, float], key: str, meaning: str) -> str:
    error = values.get(f"{key}_se")
    spread = f" +- {error:.4f}" if _told(error) else ""
    return f"  {key:<28} {values[key]:>9.4f}{spread:<11}  {meaning}"


def _transition(table: Mapping[str, int], reference: bool) -> str:
    before = "the reference" if reference else "before"
    return (
        f"ranked right by {before} and now {table['right_right']:,}, right and now wrong {table['right_wrong']:,}, wrong and "
        f"now right {table['wrong_right']:,}, wrong both times {table['wrong_wrong']:,}"
    )


def _calibration(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["", f"{'stated':>8} {'seen':>8} {'pairs':>8}   probability that the favoured side is right"]
    return [*head, *(f"{row['stated']:>8.3f} {row['seen']:>8.3f} {row['pairs']:>8,}" for row in rows)]


def _bucket(cut: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["", f"{cut.replace('_', ' '):<24} {'pairs':>8} {'accuracy':>9} {'margin':>9}"]
    return [
        *head,
        *(f"{_clean(r['bucket']):<24} {r['pairs']:>8,} {r['accuracy']:>9.3f} {r['margin']:>9.3f}" for r in rows),
    ]


def _clean(name: str) -> str:
    """A name out of the data: one line, no control characters, not too long."""
    return "".join(c if c.isprintable() else "?" for c in str(name))[:24]
