"""Classes of nearly equal texts by MinHash and banding: near-linear time, without comparing all with all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SHINGLE = 12
"""Characters of a shingle: about two words."""
_HASHES, _BANDS = 32, 8
_ALIKE = 0.8
"""Share of equal MinHash values, an estimate of the shared shingles, from which texts are nearly equal."""
_THIN = 8
"""One shingle in so many is kept, chosen by its own hash so that equal shingles are kept together."""
_CHUNK = 2_000_000
_MIX = np.uint64(0x9E3779B97F4A7C15)


def text_classes(columns: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """A class number for each text of each column; nearly equal texts share theirs.

    Equal but for case and white space is nearly equal; so are texts that share about four fifths of their shingles.
    """
    distinct: dict[str, int] = {}
    places = [np.array([distinct.setdefault(" ".join(t.lower().split()), len(distinct)) for t in c]) for c in columns]
    groups = _group(list(distinct))
    return [groups[place] for place in places]


def _group(texts: list[str]) -> np.ndarray:
    """Class [N] of each normalised text: the first text it is nearly equal to."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    signatures = minhashes(texts)
    n = len(texts)
    left, right = [], []
    for band in np.split(signatures, _BANDS, axis=1):
        key = band.astype(np.uint64)
        code = key[:, 0]
        for column in range(1, key.shape[1]):
            code = (code ^ (code >> np.uint64(29))) * _MIX + key[:, column]
        order = np.argsort(code, kind="stable")
        same = np.flatnonzero(code[order][1:] == code[order][:-1])
        # each text is compared with its neighbour in the bucket: chains join what is alike
        left.append(order[same])
        right.append(order[same + 1])
    a, b = np.concatenate(left), np.concatenate(right)
    alike = (signatures[a] == signatures[b]).mean(axis=1) >= _ALIKE if len(a) else np.zeros(0, dtype=bool)
    graph = coo_matrix((np.ones(int(alike.sum())), (a[alike], b[alike])), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def minhashes(texts: Sequence[str]) -> np.ndarray:
    """MinHash signatures [N, 32] uint32 of the texts' character shingles."""
    out = np.empty((len(texts), _HASHES), dtype=np.uint32)
    start = 0
    while start < len(texts):
        end, size, parts = start, 0, []
        while end < len(texts) and (size < _CHUNK or end == start):
            parts.append(texts[end].encode("utf-8", "replace"))
            size += len(parts[-1])
            end += 1
        out[start:end] = _signatures(parts)
        start = end
    return out


def _signatures(texts: Sequence[bytes]) -> np.ndarray:
    padded = [t + b"\0" * max(0, _SHINGLE - len(t)) for t in texts]
    data = np.frombuffer(b"".join(padded), dtype=np.uint8).astype(np.uint64)
    size = np.array([len(t) for t in padded])
    begin = np.concatenate([[0], np.cumsum(size)[:-1]])
    hashed = np.zeros(len(data) - _SHINGLE + 1, dtype=np.uint64)
    for k in range(_SHINGLE):
        hashed = hashed * np.uint64(1_000_003) + data[k : len(data) - _SHINGLE + 1 + k]
    hashed = _mixed(hashed)
    owner = np.repeat(np.arange(len(texts)), size)[: len(hashed)]
    inside = np.arange(len(hashed)) - begin[owner] <= size[owner] - _SHINGLE
    # a text's first shingle always stays, so that none is empty
    keep = inside & ((hashed % np.uint64(_THIN) == 0) | (np.arange(len(hashed)) == begin[owner]))
    hashed, owner = hashed[keep], owner[keep]
    first = np.searchsorted(owner, np.arange(len(texts)))
    out = np.empty((len(texts), _HASHES), dtype=np.uint32)
    for k in range(_HASHES):
        salted = _mixed(hashed + np.uint64((k + 1) * 0x2545F4914F6CDD1D & 0xFFFFFFFFFFFFFFFF))
        out[:, k] = np.minimum.reduceat((salted >> np.uint64(32)).astype(np.uint32), first)
    return out


def _mixed(x: np.ndarray) -> np.ndarray:
    """A well spread 64-bit hash of each number (splitmix64's finaliser)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
