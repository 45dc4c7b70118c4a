"""The part of a run's page about its labels: annotators, posteriors, and every pair with what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from assent.records import ANONYMOUS
from assent.reporting import pair_table, run_plots
from assent.reporting.packing import packed, words
from assent.reporting.pair_table import PairTable
from assent.reporting.report_texts import LIMIT, Texts, open_texts
from assent.reporting.runs import Run
from assent.reporting.text import visible

ANNOTATORS = 40
"""Rows of the annotators' table."""
PAIRS = 250_000
"""Pairs on a page, of all its runs together; the most suspicious ones where there are more."""
SUSPICIOUS = RANDOM = 500
"""Pairs with text on a page, of all its runs together."""
TEXT_BYTES = 5_500_000
"""Most bytes of texts on a page; longer ones are cut shorter than `LIMIT`."""


def latest(run: Run) -> dict[str, Any]:
    """The annotators' table, least reliable first: from cross-fitting with intervals, else the last epoch, else the log."""
    if run.crossfit:
        found, source = run.crossfit["annotators"], "crossfit"
    elif run.annotators:
        found, source = run.annotators, "epoch"
    else:
        found, source = {n: {"reliability": values[-1]} for n, (_, values) in run.reliabilities().items()}, "log"
    keys = ("reliability", "low", "high", "labels")
    rows = [(name, {k: a.get(k) for k in keys}) for name, a in found.items() if a.get("reliability") is not None]
    rows.sort(key=lambda item: item[1]["reliability"])
    return {"rows": rows[:ANNOTATORS], "hidden": max(0, len(rows) - ANNOTATORS), "source": source}


def figures(run: Run, several: bool) -> list[Any]:
    """Posteriors and reliabilities of a run, as far as it wrote them."""
    title = "Reliabilities along the run" + (f" {run.name}" if several else "")
    found = [run_plots.posteriors(run.posteriors), run_plots.reliabilities(run.reliabilities(), title)]
    return [figure for figure in found if figure]


def blocks(runs: Sequence[Run], *, text: bool = True) -> list[dict[str, Any]]:
    """The pairs of every run that wrote any, packed for the page's script: ``numbers`` and ``words`` of each.

    text=False leaves every prompt and response out.
    """
    tables = [
        (i, run, table) for i, run in enumerate(runs) if (table := pair_table.read(run)) is not None and len(table)
    ]
    out = []
    for index, run, whole in tables:
        table = _most(whole, PAIRS // len(tables))
        texts = open_texts(run.path) if text else Texts(missing="texts were left out of this page on request")
        chosen, limit, block = _texts(table, texts, len(tables))
        facts = {
            "run": visible(run.name), "index": index, "total": len(whole), "rests": table.rests,
            "missing": visible(texts.missing), "withheld": not text, "texts": len(chosen), "limit": limit, **_decisions(table),
        }  # fmt: skip
        out.append({"numbers": packed(_columns(table), **facts), "words": block, "facts": facts})
    return out


def _most(table: PairTable, most: int) -> PairTable:
    if len(table) <= most:
        return table
    return table.kept(np.sort(np.argsort(np.nan_to_num(table.p, nan=1.0), kind="stable")[:most]))


def chosen_pairs(table: PairTable, share: int, seed: int = 0) -> np.ndarray:
    """Positions of the pairs whose text a page shows: the most suspicious ones, and as many at random of the rest."""
    order = np.argsort(np.nan_to_num(table.p, nan=1.0), kind="stable")
    first, rest = order[: SUSPICIOUS // share], order[SUSPICIOUS // share :]
    drawn = np.random.default_rng(seed).permutation(len(rest))[: RANDOM // share]
    return np.sort(np.concatenate([first, rest[drawn]]))


def _texts(table: PairTable, texts: Texts, share: int) -> tuple[np.ndarray, int, dict[str, Any]]:
    """Which pairs come with text, the length at which texts are cut, and names and texts as a block."""
    names = [] if table.labels is None else ["unnamed" if n == ANONYMOUS else visible(n) for n in table.labels.names]
    chosen = chosen_pairs(table, share) if len(texts.pairs) else np.zeros(0, dtype=np.int64)
    for limit in (LIMIT, LIMIT // 2, LIMIT // 4, LIMIT // 16):
        found = {str(i): texts.of(int(table.pair[i]), limit) for i in chosen.tolist()}
        block = words({"names": names, "texts": found})
        if len(block["data"]) <= TEXT_BYTES // share:
            break
    return chosen, limit, block


def _decisions(table: PairTable) -> dict[str, Any]:
    """Whether marks on pairs can be carried out on the data, and the hash that ties them to it."""
    if table.labels is None:
        return {"sha256": None, "undecidable": "the run wrote no labels.parquet that names the rows of each pair"}
    source = table.labels.source
    why = ""
    if source.get("round") is not None:
        why = "the run sampled these pairs itself, so there is no file to carry decisions out on"
    elif source.get("source") is None:
        why = "the run was given rows in memory, so there is no file to carry decisions out on"
    elif source.get("pairing"):
        why = "the pairs were made of groups, whose rows cannot be turned round one pair at a time"
    return {"sha256": source.get("sha256"), "undecidable": why}


def _columns(table: PairTable) -> dict[str, np.ndarray]:
    names = ("pair", "p", "margin", "logit", "moved_chosen", "moved_rejected", "length_chosen", "length_rejected")
    columns = {name: getattr(table, name) for name in names}
    if table.labels is not None:
        columns |= {
            "label_count": np.diff(table.labels.start), "annotator": table.labels.annotator, "label_p": table.labels.p,
            "gold": table.labels.gold, "row_count": np.diff(table.labels.row_start), "row": table.labels.row,
        }  # fmt: skip
    return columns
