"""Features of a pair that change sign when its two sides change places: style, overlap, words, named columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assent.auditing import style
from assent.auditing.table import LabelTable, text_of
from assent.errors import AssentError, did_you_mean
from assent.records import Pair

_VOCABULARY = 20_000
_TOPICS = 48
_SAMPLE = 20_000
_MOST_VALUES = 1_000
"""Values of one named column that become features of their own; rarer ones share one."""

_CUT, _BEND = 6.0, 1.5
_TOPIC_SCALE, _NAMED_SCALE = 0.3, 2.0
"""Prior scale of the coefficients: topics are many and weak, named columns few and asked for."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class PairFeatures:
    """Antisymmetric features of P pairs.

    difference [P, D] float32: stored side less the other, scaled; a swap of the sides changes its sign.
    names [D]; length [D] bool: columns that say nothing but length.
    length_gap [P]: characters of the stored side less the other's.
    """

    difference: np.ndarray
    names: tuple[str, ...]
    length: np.ndarray
    length_gap: np.ndarray


def lengths(pairs: Sequence[Pair]) -> np.ndarray:
    """Characters of chosen and rejected -> [P, 2]."""
    return np.array([(len(text_of(p.chosen)), len(text_of(p.rejected))) for p in pairs], dtype=np.float64)


def pair_features(table: LabelTable, columns: Sequence[str] = (), progress: Progress | None = None) -> PairFeatures:
    """Style, overlap and topics of the texts, and the named columns, as differences between the sides.

    columns: names of columns in the data.  A sided one (NAME_a and NAME_b, NAME_chosen and NAME_rejected) becomes a
    difference: of numbers, or of indicators where it holds names.  One without sides joins as its product with
    length, since a value that both sides share cannot prefer one of them.  Raises AssentError for unknown names.
    """
    pairs = table.records
    if pairs is None:
        raise AssentError(f"{table.source} has no text; pass --scorer logits:COLUMN for data with logits alone")
    texts, first, second, prompts, prompt = _distinct(pairs)
    values, topics = _text_values(texts, progress)
    shared, context = _overlaps(texts, prompts, first, second, prompt)
    context = np.hstack([context, (values[first, :1] + values[second, :1]) / 2])
    base = _scaled(np.hstack([values[first] - values[second], shared]))
    named, extra = _named_columns(table, columns, base[:, 0])
    # what saturates: ten more list items do not count ten times one; what length means depends on the prompt
    bent = _scaled(np.tanh(_BEND * base))
    sizes = [style.NAMES.index(name) for name in ("length", "words")]
    turned = _scaled(np.hstack([base[:, sizes] * c[:, None] for c in _standard(context).T]))
    topical = _TOPIC_SCALE * _scaled(topics[first] - topics[second])
    parts = (base, bent, turned, topical, _NAMED_SCALE * extra)
    own = [*style.NAMES, *style.OVERLAP_NAMES]
    names = (
        *own, *(f"bent {name}" for name in own), *(f"length x context {k}" for k in range(turned.shape[1])),
        *(f"topic {k}" for k in range(topical.shape[1])), *named,
    )  # fmt: skip
    characters = np.array([len(t) for t in texts], dtype=np.float64)
    return PairFeatures(
        difference=np.hstack(parts).astype(np.float32),
        names=names,
        length=np.array([_tells_length(name) for name in names]),
        length_gap=characters[first] - characters[second],
    )


def _tells_length(name: str) -> bool:
    plain = name.removeprefix("bent ")
    return plain in style.NAMES[: style.LENGTH_COLUMNS] or name.startswith("length x context")


def _scaled(x: np.ndarray) -> np.ndarray:
    """Columns at unit root mean square, cut at 6 so that no heavy tail steers the fit alone; float32."""
    x = np.asarray(x, dtype=np.float32)
    scale = np.sqrt(np.mean(x**2, axis=0))
    return np.clip(x / np.where(scale > 1e-9, scale, 1.0), -_CUT, _CUT)


def _standard(x: np.ndarray) -> np.ndarray:
    """Columns at mean 0 and standard deviation 1."""
    spread = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)


def _distinct(pairs: Sequence[Pair]):
    """Each response and prompt once: texts, index of chosen and of rejected [P], prompts, index [P]."""
    texts: dict[str, int] = {}
    prompts: dict[str, int] = {}
    first = [texts.setdefault(text_of(p.chosen), len(texts)) for p in pairs]
    second = [texts.setdefault(text_of(p.rejected), len(texts)) for p in pairs]
    prompt = [prompts.setdefault(text_of(p.prompt), len(prompts)) for p in pairs]
    return list(texts), np.array(first), np.array(second), list(prompts), np.array(prompt)


def _text_values(texts: Sequence[str], progress: Progress | None, chunk: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Style [N, S] and topics [N, T] of each text, a chunk at a time so that words need no room."""
    topics = _Topics.of(texts)
    styles, coordinates = [], []
    for start in range(0, len(texts), chunk):
        part = texts[start : start + chunk]
        words = [style.words_of(text) for text in part]
        styles.append(style.style(part, words))
        coordinates.append(topics.of_words(words))
        if progress:
            progress("reading the texts", min(1.0, (start + chunk) / len(texts)))
    return np.vstack(styles), np.vstack(coordinates)


@dataclass(frozen=True)
class _Topics:
    """Latent semantic coordinates: TF-IDF over the words of a sample, its leading singular directions."""

    vocabulary: dict[str, int]
    idf: np.ndarray
    directions: np.ndarray

    @staticmethod
    def of(texts: Sequence[str]) -> _Topics:
        from sklearn.utils.extmath import randomized_svd

        step = max(1, len(texts) // _SAMPLE)
        sample = [style.words_of(text) for text in texts[::step]]
        seen = Counter(word for words in sample for word in set(words))
        ordered = sorted(seen, key=lambda word: (-seen[word], word))  # sets come in another order in every process
        kept = [word for word in ordered[:_VOCABULARY] if seen[word] >= 3]
        vocabulary = {word: i for i, word in enumerate(kept)}
        idf = np.log((1 + len(sample)) / (1 + np.array([seen[w] for w in kept], dtype=np.float64))) + 1
        width = min(_TOPICS, len(kept) - 1, len(sample) - 1)
        if width < 1:
            return _Topics({}, idf[:0], np.zeros((0, 0)))
        matrix = _tfidf(sample, vocabulary, idf)
        _, _, directions = randomized_svd(matrix, width, n_iter=3, random_state=0)
        return _Topics(vocabulary, idf, directions)

    def of_words(self, words: Sequence[Sequence[str]]) -> np.ndarray:
        if not self.vocabulary:
            return np.zeros((len(words), 0), dtype=np.float32)
        return np.asarray(_tfidf(words, self.vocabulary, self.idf) @ self.directions.T, dtype=np.float32)


def _tfidf(words: Sequence[Sequence[str]], vocabulary: Mapping[str, int], idf: np.ndarray) -> Any:
    """Rows of unit length of (1 + log count) x idf -> sparse [N, V]."""
    from scipy.sparse import csr_matrix

    columns: list[int] = []
    data: list[int] = []
    ends = [0]
    for own in words:
        counts = Counter(own)
        for word, n in counts.items():
            if (place := vocabulary.get(word)) is not None:
                columns.append(place)
                data.append(n)
        ends.append(len(columns))
    place = np.array(columns, dtype=np.int32)
    value = (1 + np.log(np.array(data, dtype=np.float64))) * idf[place]
    matrix = csr_matrix((value, place, np.array(ends)), shape=(len(words), len(idf)))
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix.data /= np.repeat(np.where(norm > 0, norm, 1.0), np.diff(matrix.indptr))
    return matrix


def _overlaps(texts, prompts, first, second, prompt) -> tuple[np.ndarray, np.ndarray]:
    """Difference of the overlap with the prompt [P, 4], and context of the prompt [P, 3]."""
    asked = [style.words_of(text) for text in prompts]
    sets = [set(words) for words in asked]
    both = [_side_overlap(texts, prompts, sets, side, prompt) for side in (first, second)]
    context = np.array(
        [(np.log1p(len(text)), len(words), "?" in text) for text, words in zip(prompts, asked, strict=True)]
    )
    return both[0] - both[1], context.reshape(-1, 3)[prompt]


def _side_overlap(texts, prompts, sets, side, prompt, chunk: int = 1000) -> np.ndarray:
    """Overlap of one side's responses with their prompts -> [P, 4]; few sets of words are held at a time."""
    parts = [np.zeros((0, len(style.OVERLAP_NAMES)), dtype=np.float32)]
    for start in range(0, len(side), chunk):
        own, asked = side[start : start + chunk].tolist(), prompt[start : start + chunk].tolist()
        held = {i: set(style.words_of(texts[i])) for i in set(own)}
        starts = [texts[i].lstrip()[:40] == prompts[q].lstrip()[:40] for i, q in zip(own, asked, strict=True)]
        parts.append(style.overlap([sets[q] for q in asked], [held[i] for i in own], starts))
    return np.vstack(parts)


def _named_columns(table: LabelTable, columns: Sequence[str], log_length: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names and differences [P, E] of the columns that the user named."""
    pairs = table.records or ()
    known = sorted({name for pair in pairs for name in pair.columns} | set(table.sides))
    names: list[str] = []
    parts = [np.zeros((len(pairs), 0))]
    for column in dict.fromkeys(_base(name, table.sides) for name in columns):
        if column in table.sides:
            values = [(p.columns.get(f"{column}_chosen"), p.columns.get(f"{column}_rejected")) for p in pairs]
            found, part = _sided(column, values)
        elif column in known:
            found, part = _plain(column, [p.columns.get(column) for p in pairs], log_length)
        else:
            raise AssentError(
                f"{table.source}: --features-from {column}: no such column with numbers or short text; "
                f"{did_you_mean(column, known) if known else 'the data have no further columns'}"
            )
        names += found
        parts.append(part)
    return names, np.hstack(parts)


def _base(name: str, sides: Sequence[str]) -> str:
    """The sided column that ``name`` is one side of, or ``name`` itself."""
    for end in ("_a", "_b", "_chosen", "_rejected"):
        if name.endswith(end) and name[: -len(end)] in sides:
            return name[: -len(end)]
    for start in ("chosen_", "rejected_"):
        if name.startswith(start) and name[len(start) :] in sides:
            return name[len(start) :]
    return name


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _sided(column: str, values: Sequence[tuple[Any, Any]]) -> tuple[list[str], np.ndarray]:
    """A numeric column as one difference; names as indicators, +1 for the stored side's, -1 for the other's."""
    if all(v is None or _is_number(v) for two in values for v in two):
        part = [(0.0 if a is None else a) - (0.0 if b is None else b) if None not in (a, b) else 0.0 for a, b in values]
        return [column], _scaled(np.array(part)[:, None])
    kinds = Counter(str(v) for two in values for v in two)
    ordered = sorted(kinds, key=lambda name: (-kinds[name], name))  # whatever the order of the rows
    kept = {name: i for i, name in enumerate(ordered[:_MOST_VALUES])}
    out = np.zeros((len(values), len(kept) + (len(kinds) > len(kept))))
    last = out.shape[1] - 1
    for i, (a, b) in enumerate(values):
        out[i, kept.get(str(a), last)] += 1
        out[i, kept.get(str(b), last)] -= 1
    names = [f"{column}={name}" for name in kept]
    return names + [f"{column}=(others)"] * (len(kinds) > len(kept)), out


def _plain(column: str, values: Sequence[Any], log_length: np.ndarray) -> tuple[list[str], np.ndarray]:
    """A column that both sides share, times the difference of log lengths."""
    if all(v is None or _is_number(v) for v in values):
        number = np.array([0.0 if v is None else float(v) for v in values])
        number = (number - number.mean()) / (number.std() or 1.0)
        return [f"{column} x length"], _scaled((number * log_length)[:, None])
    kinds = Counter(str(v) for v in values)
    kept = sorted(kinds, key=lambda name: (-kinds[name], name))[:50]
    held = np.array([str(v) for v in values], dtype=object)
    out = np.stack([(held == name) * log_length for name in kept], axis=1)
    return [f"{column}={name} x length" for name in kept], out
