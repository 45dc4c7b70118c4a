"""Completions judged against an opponent's, in place of each other: Nash-MD and Nash-MD-PG (2312.00886, 2403.08635)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assent.data.aside import write_aside
from assent.data.fields import plain
from assent.judges import Judge, ask
from assent.records import Content
from assent.sampling.judged import Judged, unjudged

OPPONENTS = "opponents.parquet"


def against(
    judge: Judge, prompts: Sequence[Content], texts: Sequence[Sequence[Content]], opponents: Sequence[Sequence[Content]]
) -> list[Judged]:
    """The k-th completion of each prompt compared with the opponent's k-th: score and win rate are P(it is better).

    NaN where either has no text or the judge no answer.
    """
    found = unjudged(prompts, texts)
    at = [
        (group, k, other)
        for group, others in zip(found, opponents, strict=True)
        for k, other in enumerate(others)
        if group.usable[k] and plain(other).strip()
    ]
    verdicts = ask(judge, [g.prompt for g, _, _ in at], [g.texts[k] for g, k, _ in at], [other for _, _, other in at])
    for (group, k, _), p, known in zip(at, verdicts.p, verdicts.known, strict=True):
        group.score[k] = group.win_rate[k] = p if known else np.nan
    return found


def write(folder: Path, groups: Sequence[Judged], opponents: Sequence[Sequence[Content]]) -> None:
    """Keep the opponent's completions beside the round's: prompt and sample by number, text, P(the sample is better)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"prompt": i, "sample": k, "completion": plain(other), "p": None if np.isnan(g.score[k]) else float(g.score[k])}
        for i, (g, others) in enumerate(zip(groups, opponents, strict=True))
        for k, other in enumerate(others)
    ]
    write_aside(folder / OPPONENTS, lambda path: pq.write_table(pa.Table.from_pylist(rows), path))
