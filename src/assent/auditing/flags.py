"""What is odd about a label: duplicates, contradictions, cycles, length and nothing else.  Near-linear time."""

from __future__ import annotations

import numpy as np

from assent.auditing.duplicates import text_classes
from assent.auditing.table import LabelTable, text_of

NAMES = ("duplicate", "near_duplicate", "contradiction", "cycle", "length_driven", "tie")

_LONGER = 1.25
"""A response this many times as long as the other is clearly longer."""


def find_flags(table: LabelTable, rest: np.ndarray | None, sizes: np.ndarray | None) -> dict[str, np.ndarray]:
    """Flag name -> [J] bool.

    rest [P]: what speaks for the stored order apart from length, in nats; sizes [P, 2]: characters of both sides.
    """
    found = {
        "contradiction": contradictions(table),
        "tie": table.p == 0.5,
        "duplicate": repeated(table),
    }
    if table.records is not None:
        prompt, first, second = text_classes(
            [[text_of(p.prompt) for p in table.records], [text_of(p.chosen) for p in table.records],
             [text_of(p.rejected) for p in table.records]]
        )  # fmt: skip
        found["near_duplicate"] = near_duplicates(prompt, first, second)[table.pair]
        found["cycle"] = cycles(table, [text_of(p.prompt) for p in table.records])
    if rest is not None and sizes is not None:
        found["length_driven"] = length_driven(table, rest, sizes)
    return {name: found.get(name, np.zeros(len(table), dtype=bool)) for name in NAMES}


def repeated(table: LabelTable) -> np.ndarray:
    """[J] labels that stand for several rows: the same annotator on the same pair again."""
    out = np.zeros(len(table), dtype=bool)
    out[list(table.more)] = True
    return out


def contradictions(table: LabelTable) -> np.ndarray:
    """[J] labels of pairs on which some labels name one order and some the other."""
    sign = table.sign
    plus = np.bincount(table.pair, weights=sign > 0, minlength=table.pairs)
    minus = np.bincount(table.pair, weights=sign < 0, minlength=table.pairs)
    return ((plus > 0) & (minus > 0))[table.pair]


def near_duplicates(prompt: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[P] pairs whose prompt and two responses, in either order, are nearly those of another pair."""
    key = np.stack([prompt, np.minimum(first, second), np.maximum(first, second)], axis=1)
    _, inverse, count = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    return count[inverse.ravel()] > 1


def cycles(table: LabelTable, prompts: list[str]) -> np.ndarray:
    """[J] labels of pairs that lie on a circle of preferences (a over b over c over a) among one prompt's responses.

    A pair's direction is the weighted majority of its labels; pairs without a majority have none.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    assert table.records is not None
    nodes: dict[tuple[str, str], int] = {}
    ends = np.array(
        [
            (
                nodes.setdefault((q, text_of(p.chosen)), len(nodes)),
                nodes.setdefault((q, text_of(p.rejected)), len(nodes)),
            )
            for p, q in zip(table.records, prompts, strict=True)
        ]
    )
    votes = table.per_pair(table.weight * (2 * table.p - 1))
    decided = np.abs(votes) > 1e-12
    start = np.where(votes > 0, ends[:, 0], ends[:, 1])
    end = np.where(votes > 0, ends[:, 1], ends[:, 0])
    graph = csr_matrix((np.ones(int(decided.sum())), (start[decided], end[decided])), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=True, connection="strong")
    return (decided & (component[start] == component[end]))[table.pair]


def length_driven(table: LabelTable, rest: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """[J] labels for a clearly longer response for which nothing else speaks."""
    ratio = np.log((sizes[:, 0] + 1) / (sizes[:, 1] + 1))[table.pair]
    own = table.sign
    return (own * ratio > np.log(_LONGER)) & (own * rest[table.pair] <= 0)
