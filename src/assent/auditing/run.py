"""``audit``: read, score, estimate, flag, decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from assent.auditing import verdict
from assent.auditing.flags import find_flags
from assent.auditing.result import AuditResult
from assent.auditing.scorers import ScorerName, model_logits, parse_scorer
from assent.auditing.table import LabelTable, column_logits, from_records
from assent.data import Records, read
from assent.errors import AssentError
from assent.robust.estimation import Estimate, estimate
from assent.robust.intervals import intervals

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class _Scored:
    """Logits and what else the scorer knows: what speaks apart from length, and how far its fit may be off."""

    logit: np.ndarray
    found: Estimate
    rest: np.ndarray | None = None
    length_gap: np.ndarray | None = None
    noise_error: float = 0.0
    notes: tuple[str, ...] = ()


def audit(
    source: Any,
    *,
    out: str | Path | None = None,
    scorer: str = "text",
    features_from: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    bad_rows: Literal["fail", "skip"] = "fail",
    seed: int = 0,
    progress: Progress | None = None,
) -> AuditResult:
    """How far can these preferences be trusted?  Per label, per annotator, for the whole data set.

    source: whatever ``assent.data.read`` reads, or its Records.  out: folder for ``audit.json`` and
    ``audit.parquet``.  scorer: ``text`` (a small model fitted to the texts), ``lm:MODEL``,
    ``policy:POLICY,REFERENCE`` or ``logits:COLUMN``.  features_from: columns that join the text scorer's features.
    columns: old name -> Assent's name.  progress: called with a stage and the share of it done.
    Raises AssentError for data, models or columns that cannot be used.
    """
    started = time.perf_counter()
    name = parse_scorer(scorer)
    if features_from and name.kind != "text":
        raise AssentError(f"--features-from is read by --scorer text only; the scorer is {name}")
    if out is None:
        return _audit(source, out, name, features_from, columns, bad_rows, seed, progress, started)
    from assent.auditing.result import make_folder

    new = not Path(out).expanduser().exists()
    folder = make_folder(out)  # before the work, so that a wrong path costs nothing
    try:
        return _audit(source, out, name, features_from, columns, bad_rows, seed, progress, started)
    finally:
        if new and not any(folder.iterdir()):
            folder.rmdir()  # the audit was refused: it leaves nothing


def _audit(
    source: Any, out: str | Path | None, name: ScorerName, features_from: Sequence[str],
    columns: Mapping[str, str] | None, bad_rows: Any, seed: int, progress: Progress | None, started: float,
) -> AuditResult:  # fmt: skip
    table, records, logit = _table(source, name, columns, bad_rows, out)
    if name.kind == "text":
        scored = _score_text(table, features_from, seed, progress)
    else:
        if logit is None:
            logit = model_logits(table, records, name, progress=progress)
        scored = _score_given(table, logit)
    result = _result(table, name, scored, "DIR" if out is None else str(out), started)
    if out is not None:
        result.write(out)
    return result


def _table(
    source: Any, name: ScorerName, columns: Mapping[str, str] | None, bad_rows: Any, out: Any
) -> tuple[LabelTable, Records | None, np.ndarray | None]:
    """The labels, the records they came from, and the logits where the data hold them."""
    if name.kind == "logits":
        from assent.auditing.columns import read_columns, without_text

        if without_text(source, columns):
            table, logit = read_columns(source, name.arguments[0], columns)
            return table, None, logit
        columns = {**(columns or {})}
        if name.arguments[0] != "logit" and columns.get(name.arguments[0]) != "logit":
            columns[name.arguments[0]] = "logit"
    path = Path(out) / "bad_rows.jsonl" if out is not None and bad_rows == "skip" else None
    try:
        records = source if isinstance(source, Records) else read(
            source, columns=columns or None, bad_rows=bad_rows, bad_rows_path=path
        )  # fmt: skip
    except AssentError as error:  # the renaming was ours; the user wrote --scorer
        asked = f"--columns {name.arguments[0]}=logit" if name.kind == "logits" else ""
        raise AssentError(str(error).replace(asked, f"--scorer {name}") if asked else str(error)) from None
    table = from_records(records)
    logit = column_logits(table, name.arguments[0]) if name.kind == "logits" else None
    return table, records, logit


def _score_text(table: LabelTable, columns: Sequence[str], seed: int, progress: Progress | None) -> _Scored:
    from threadpoolctl import threadpool_limits

    from assent.auditing.em import fit_text
    from assent.auditing.features import pair_features

    if int(table.cluster.max()) < 1:
        raise AssentError(
            f"{table.source}: all {table.pairs} pairs share one prompt; the text scorer needs at least two to hold one "
            "out; pass --scorer logits:COLUMN or lm:MODEL"
        )
    with threadpool_limits(1):  # the arrays are small: threads would wait for each other longer than they work
        features = pair_features(table, columns, progress)
        fit = fit_text(table, features, seed=seed, progress=progress)
    notes = ()
    if fit.fitted < table.pairs:
        notes = (
            f"The preference model was fitted to {fit.fitted:,} of {table.pairs:,} pairs; all have held-out logits.",
        )
    return _Scored(fit.logit, fit.estimate, fit.logit - fit.length_part, features.length_gap, fit.noise_error, notes)


def _score_given(table: LabelTable, logit: np.ndarray) -> _Scored:
    found = estimate(torch.from_numpy(logit), table.labels(), len(table.names))
    gap = None
    if table.records is not None:
        from assent.auditing.features import lengths

        sizes = lengths(table.records)
        gap = sizes[:, 0] - sizes[:, 1]
    return _Scored(found.temperature * logit, found, found.temperature * logit, gap)


def _result(table: LabelTable, name: ScorerName, scored: _Scored, folder: str, started: float) -> AuditResult:
    found = scored.found
    # the estimate's temperature is in the logits already
    limits = _limits(table, scored)
    sizes = None
    if table.records is not None:
        from assent.auditing.features import lengths

        sizes = lengths(table.records)
    flags = find_flags(table, scored.rest, sizes)
    p_correct = found.correct.numpy()
    noise = found.noise_rate
    telling = verdict.can_tell(found, limits[2], limits[3])
    counts = np.bincount(table.annotator, minlength=len(table.names))
    enough, sentence = verdict.plain_dpo(table, limits[1], limits[3], counts, telling, folder)
    return AuditResult(
        table=table, scorer=str(name), logit=scored.logit, posterior=found.posterior.numpy(), p_correct=p_correct,
        reliability=found.eta.numpy(), low=limits[0], high=limits[1], agreement=_agreement(table), counts=counts,
        noise_rate=noise, noise_rate_low=limits[2], noise_rate_high=limits[3], rests_on=found.rests_on,
        limits=verdict.limits_of(found, telling), flags=flags, temperature=found.temperature,
        evidence={"gold": found.evidence.gold, "shared": found.evidence.shared, "alone": found.evidence.alone},
        decision=verdict.decide(table, p_correct, flags, telling), length_gap=scored.length_gap,
        length_bias=length_bias(table, scored.length_gap, sizes), enough=enough, plain_dpo=sentence,
        seconds=time.perf_counter() - started, notes=(*table.notes, *scored.notes), telling=telling,
    )  # fmt: skip


def _limits(table: LabelTable, scored: _Scored) -> tuple[np.ndarray, np.ndarray, float, float]:
    """low, high [K] and the noise rate's limits.

    Intervals given the logits, clustered by prompt; where the logits were fitted and the jackknife over the folds of
    the whole EM finds a larger error of the noise rate, all of them are widened in that proportion.
    """
    found = scored.found
    clusters = None if table.records is None else torch.from_numpy(table.cluster)
    given = intervals(found, torch.from_numpy(scored.logit / found.temperature), table.labels(), clusters=clusters)
    low, high = given.low.numpy(), given.high.numpy()
    ends = (given.noise_rate_low, given.noise_rate_high)
    error = (ends[1] - ends[0]) / (2 * 1.959964)
    wider = max(1.0, scored.noise_error / error) if error > 0 else 1.0
    eta, noise = found.eta.numpy(), found.noise_rate
    return (
        np.clip(eta - wider * (eta - low), 0.0, 1.0), np.clip(eta + wider * (high - eta), 0.0, 1.0),
        max(0.0, noise - wider * (noise - ends[0])), min(1.0, noise + wider * (ends[1] - noise)),
    )  # fmt: skip


def _agreement(table: LabelTable) -> np.ndarray:
    """[K] the share of other labels on the same pairs that name the same order; nan where there are none."""
    sign = table.sign
    same = np.bincount(table.pair, weights=sign, minlength=table.pairs)[table.pair] - sign
    others = np.bincount(table.pair, weights=sign != 0, minlength=table.pairs)[table.pair] - (sign != 0)
    told = (sign != 0) * table.weight
    agree = np.bincount(table.annotator, weights=told * (sign * same + others) / 2, minlength=len(table.names))
    total = np.bincount(table.annotator, weights=told * others, minlength=len(table.names))
    return np.where(total > 0, agree / np.where(total > 0, total, 1), np.nan)


def length_bias(table: LabelTable, gap: np.ndarray | None, sizes: np.ndarray | None) -> dict[str, float] | None:
    """Share of the labels that prefer the longer response, and nats per doubling of length (logistic fit)."""
    if gap is None or sizes is None:
        return None
    own = gap[table.pair] * table.sign
    told = (own != 0) * table.weight
    if told.sum() <= 0:
        return None
    from assent.auditing.preference_model import Linear

    doubling = (np.log2(sizes[:, 0] + 1) - np.log2(sizes[:, 1] + 1))[table.pair][:, None]
    slope = Linear(ridge=1.0).fit(doubling, table.p, table.weight)[0]
    return {"longer_preferred": float((told * (own > 0)).sum() / told.sum()), "nats_per_doubling": float(slope)}
