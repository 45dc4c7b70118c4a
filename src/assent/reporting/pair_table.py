"""What a run left of its pairs, as arrays: how far each label can be trusted, its margins, its labels and their rows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assent.errors import AssentError
from assent.reporting.runs import Run, read_table
from assent.training.provenance import read_labels

_GOLD = 1e-6  # 1 less the reliability of a label that is known to be true, and the least that any has

POSTERIOR = (
    "P(the stored order is right) is the run's own posterior at epoch {epoch}: its margin on the pair together with the "
    "labels and the annotators' reliabilities. A model that learnt a wrong label by heart believes it."
)
CROSSFIT = (
    "P(the stored order is right) rests on cross-fitting: the margin of a policy that was not trained on the pair, the "
    "labels, and the reliabilities estimated from such margins."
)
MARGIN = (
    "P(the stored order is right) is sigmoid of the model's log-odds at epoch {epoch}, from training on the same pairs: "
    "it says what the model believes, and a label learnt by heart is believed. LCPO gives a posterior in its place."
)


@dataclass(frozen=True)
class LabelRows:
    """The labels of the pairs of a `PairTable`, sorted by pair.

    start [P + 1]: labels of pair i are start[i]:start[i + 1].  annotator [J]: index into names.  p [J]: P(stored order is
    right) by the annotator.  gold [J] bool.  row_start [J + 1], row [R]: the rows of the input that label j came from.
    source: what the run says of its data.
    """

    start: np.ndarray
    annotator: np.ndarray
    p: np.ndarray
    gold: np.ndarray
    row_start: np.ndarray
    row: np.ndarray
    names: tuple[str, ...]
    source: dict[str, Any]

    @property
    def pair(self) -> np.ndarray:
        """The position in the table of each label's pair [J]."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


@dataclass(frozen=True)
class PairTable:
    """P pairs of a run, in the order of ``pair``; NaN where there is no number.

    pair [P] int: index among the run's records.  p [P]: P(stored order is right); rests: a sentence on what it rests on.
    margin [P]: chosen less rejected implicit reward, nats.  logit [P]: log-odds that the loss gives the stored order, nats.
    moved_chosen, moved_rejected [P]: log-probability less the reference's, nats per sequence.
    length_chosen, length_rejected [P]: counted tokens.
    """

    pair: np.ndarray
    p: np.ndarray
    margin: np.ndarray
    logit: np.ndarray
    moved_chosen: np.ndarray
    moved_rejected: np.ndarray
    length_chosen: np.ndarray
    length_rejected: np.ndarray
    rests: str
    labels: LabelRows | None = None

    def __len__(self) -> int:
        return len(self.pair)

    def kept(self, chosen: np.ndarray) -> PairTable:
        """The pairs at these positions, which are sorted."""
        names = ("pair", "p", "margin", "logit", "moved_chosen", "moved_rejected", "length_chosen", "length_rejected")
        labels = None if self.labels is None else _labels_of(self.labels, chosen)
        return PairTable(*(getattr(self, name)[chosen] for name in names), rests=self.rests, labels=labels)


def read(run: Run) -> PairTable | None:
    """The pairs of the last epoch that was written; None where a run wrote none.

    Raises AssentError for damaged files.
    """
    path, epoch = last_epoch(run.path)
    if path is None:
        return None
    table = read_table(path)
    columns = {name: _numbers(table, name) for name in table.column_names}
    none = np.full(table.num_rows, np.nan)
    get = lambda name: columns.get(name, none)  # noqa: E731
    pair = get("pair").astype(np.int64)
    order = np.argsort(pair, kind="stable")
    pair, first = np.unique(pair[order], return_index=True)  # a sampler may deal out one pair twice
    order = order[first]
    labels = _labels(run.path, pair)
    p, rests = _p(run, labels, get("posterior")[order], get("logit")[order], epoch)
    return PairTable(
        pair, p, get("margin")[order], get("logit")[order],
        (get("logp_chosen") - get("ref_logp_chosen"))[order], (get("logp_rejected") - get("ref_logp_rejected"))[order],
        get("length_chosen")[order], get("length_rejected")[order], rests, labels,
    )  # fmt: skip


def last_epoch(folder: Path) -> tuple[Path | None, int]:
    """The newest ``pairs-epoch-N.parquet`` and its N."""
    found = {int(m[1]): f for f in folder.glob("pairs-epoch-*.parquet") if (m := re.search(r"-(\d+)\.", f.name))}
    return (found[max(found)], max(found)) if found else (None, 0)


def label_p(table: PairTable) -> np.ndarray:
    """P(the label names the right order) of every label [J]; NaN for ties and where a pair has no P."""
    assert table.labels is not None
    p, own = table.labels.p, table.p[table.labels.pair]
    return np.where(p == 0.5, np.nan, np.where(p > 0.5, own, 1 - own))


def _numbers(table: Any, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _p(run: Run, labels: LabelRows | None, posterior: np.ndarray, logit: np.ndarray, epoch: int) -> tuple[Any, str]:
    held_out = _held_out(run, labels, len(logit))
    if held_out is not None:
        return held_out, CROSSFIT
    if np.isfinite(posterior).any():
        return posterior, POSTERIOR.format(epoch=epoch)
    return _sigmoid(logit), MARGIN.format(epoch=epoch)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def _held_out(run: Run, labels: LabelRows | None, pairs: int) -> np.ndarray | None:
    """The posterior [P] under held-out margins, reliabilities and temperature; None where cross-fitting gave none."""
    if run.crossfit is None or labels is None or run.crossfit.get("note"):
        return None
    logit = _margins(run.path / "crossfit", int(run.crossfit.get("round") or 1), pairs)
    if logit is None:
        return None
    found = run.crossfit["annotators"]
    if not set(labels.names) <= set(found):
        return None
    eta = np.array([found[name]["reliability"] for name in labels.names], dtype=np.float64)[labels.annotator]
    eta = np.clip(np.where(labels.gold, 1.0, eta), _GOLD, 1 - _GOLD)
    agrees = eta * labels.p + (1 - eta) * (1 - labels.p)
    evidence = np.bincount(labels.pair, weights=np.log(agrees / (1 - agrees)), minlength=pairs)
    return _sigmoid(float(run.crossfit.get("temperature") or 1.0) * logit + evidence)


def _margins(folder: Path, number: int, pairs: int) -> np.ndarray | None:
    """Held-out logits [P] of both folds of the last round, by position among the rows that were trained on."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from assent.training.crossfit import MARGINS  # its import is that of transformers

    logit = np.full(pairs, np.nan)
    for fold in (0, 1):
        file = folder / (f"fold-{fold}" if number == 1 else f"round-{number}/fold-{fold}") / MARGINS
        if not file.is_file():
            return None
        try:
            tensors = load_file(file)
        except (OSError, SafetensorError) as error:
            raise AssentError(f"cannot read {str(file)!r} ({error}); the run's directory is damaged.") from None
        if tensors["row"].max(initial=0) >= pairs:
            return None
        logit[tensors["row"]] = tensors["logit"]
    return logit if np.isfinite(logit).all() else None


def _labels(folder: Path, pair: np.ndarray) -> LabelRows | None:
    """The labels of these pairs [P], which are sorted."""
    found = read_labels(folder)
    if found is None:
        return None
    table, source = found
    names = table["annotator"].combine_chunks().dictionary_encode()
    columns = {name: np.asarray(table[name].to_numpy()) for name in ("pair", "label", "row", "p", "gold")}
    annotator = np.asarray(names.indices.to_numpy(zero_copy_only=False))
    order = np.argsort(columns["label"], kind="stable")
    position = np.searchsorted(pair, columns["pair"][order])
    known = position < len(pair)
    known[known] = pair[position[known]] == columns["pair"][order][known]
    order, position = order[known], position[known]
    _, first, label = np.unique(columns["label"][order], return_index=True, return_inverse=True)
    own = order[first]
    row = columns["row"][order].astype(np.float64)  # nan where a run sampled its pairs itself
    given = np.isfinite(row)
    return LabelRows(
        _ends(np.bincount(position[first], minlength=len(pair))), annotator[own], columns["p"][own].astype(np.float64),
        columns["gold"][own].astype(bool), _ends(np.bincount(label[given], minlength=len(own))), row[given].astype(np.int64),
        tuple(map(str, names.dictionary.to_pylist())), source,
    )  # fmt: skip


def _ends(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _labels_of(labels: LabelRows, chosen: np.ndarray) -> LabelRows:
    """Only the labels of the pairs at these positions."""
    counts = np.diff(labels.start)[chosen]
    wanted = np.zeros(len(labels.start) - 1, dtype=bool)
    wanted[chosen] = True
    own = wanted[labels.pair]
    rows = np.diff(labels.row_start)
    return LabelRows(
        _ends(counts), labels.annotator[own], labels.p[own], labels.gold[own], _ends(rows[own]),
        labels.row[np.repeat(own, rows)], labels.names, labels.source,
    )  # fmt: skip


def describe(source: dict[str, Any]) -> dict[str, str]:
    """What ``labels.parquet`` says of the data, as names and words for a page."""
    facts = {
        "data": source.get("name"), "sha256": source.get("sha256"), "rows in the file": source.get("rows"),
        "columns renamed": ", ".join(source.get("columns") or ()), "pairing": source.get("pairing"),
        "malformed rows": source.get("bad_rows"), "share of prompts held out": source.get("eval_fraction"),
        "seed": source.get("seed"),
    }  # fmt: skip
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in facts.items()
        if value not in (None, "")
    }
