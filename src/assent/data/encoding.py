"""Text to ids with the exact end of the prompt: one call of the fast tokenizer, then offsets and the two end tokens."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from assent.data.rendering import Rendered
from assent.data.report import Report
from assent.errors import AssentError


class Encoder:
    """A checked tokenizer.  bos, eos: ids or None.  pad: the id that fills gaps (the end token where none is set)."""

    def __init__(self, tokenizer: Any, report: Report) -> None:
        name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
        if not getattr(tokenizer, "is_fast", False):
            raise AssentError(
                f"the tokenizer {name!r} gives no character offsets (a slow tokenizer); "
                "load it with use_fast=True or convert it to a tokenizer.json"
            )
        self.tokenizer = tokenizer
        self.report = report
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int | None = tokenizer.eos_token_id
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self.special = set(tokenizer.all_special_ids) | {i for i, token in added.items() if token.special}
        self.pad = self._pad(name)
        if self.eos is None:
            report.add("end token missing")

    def _pad(self, name: str) -> int:
        if self.tokenizer.pad_token_id is not None:
            return int(self.tokenizer.pad_token_id)
        if self.eos is None:
            raise AssentError(
                f"the tokenizer {name!r} has neither a pad nor an end token; set one (tokenizer.pad_token = ...)"
            )
        self.report.add("pad token missing")
        return int(self.eos)

    def encode(self, texts: Sequence[Rendered], rows: Sequence[int]) -> list[tuple[np.ndarray, int, np.ndarray]]:
        """(ids, prompt_length, mask) of each text; ``rows`` name them in the report."""
        out: list[Any] = [None] * len(texts)
        for templated in (False, True):
            places = [i for i, text in enumerate(texts) if text.templated is templated]
            found = self._tokens([texts[i].text for i in places], templated)
            for i, (ids, offsets, added) in zip(places, found, strict=True):
                start = prompt_length(offsets, added, texts[i].boundary)
                out[i] = (
                    self._templated(ids, offsets, start, texts[i], rows[i])
                    if templated
                    else self._plain(ids, start, rows[i])
                )
        return out

    def _tokens(
        self, texts: list[str], templated: bool
    ) -> Iterator[tuple[list[int], list[tuple[int, int]], list[int]]]:
        if not texts:
            return
        got = self.tokenizer(
            texts, add_special_tokens=not templated, return_offsets_mapping=True, return_special_tokens_mask=True,
            return_attention_mask=False, return_token_type_ids=False, padding=False, truncation=False, verbose=False,
        )  # fmt: skip
        yield from zip(got["input_ids"], got["offset_mapping"], got["special_tokens_mask"], strict=True)

    def _plain(self, ids: list[int], start: int, row: int) -> tuple[np.ndarray, int, np.ndarray]:
        """Plain text: the tokenizer's begin token once, the end token once, added where it is absent."""
        if self.eos is not None:
            if len(ids) > start and ids[-1] == self.eos:
                self.report.add("end already there", row)
                while len(ids) > start + 1 and ids[-2] == self.eos:
                    ids = ids[:-1]
            else:
                ids = [*ids, self.eos]
                self.report.add("end added", row)
        return self._finish(ids, start, len(ids), row)

    def _templated(
        self, ids: list[int], offsets: list[tuple[int, int]], start: int, text: Rendered, row: int
    ) -> tuple[np.ndarray, int, np.ndarray]:
        """A rendered conversation: its own end is kept; white space behind the end token is not counted."""
        stop = len(ids)
        while stop > start and ids[stop - 1] not in self.special and not text.text[slice(*offsets[stop - 1])].strip():
            stop -= 1
        if stop > start and ids[stop - 1] in self.special:
            return self._finish(ids, start, stop, row)
        self.report.add("template without end", row)
        return self._finish(ids, start, len(ids), row)

    def _finish(self, ids: list[int], start: int, stop: int, row: int) -> tuple[np.ndarray, int, np.ndarray]:
        """Drop a doubled begin token; count the tokens from start to stop, but never the first of the sequence."""
        if self.bos is not None and len(ids) > 1 and start > 1 and ids[0] == ids[1] == self.bos:
            self.report.add("begin doubled", row)
            ids, start, stop = ids[1:], start - 1, stop - 1
        array = np.asarray(ids, dtype=np.int32)
        mask = np.zeros(len(array), dtype=bool)
        mask[start:stop] = True
        if start == 0 and len(array):
            mask[0] = False
            self.report.add("first token without context", row)
        return array, start, mask


def prompt_length(offsets: Sequence[tuple[int, int]], added: Sequence[int], boundary: int) -> int:
    """Tokens before the first one that holds a character of the completion, which starts at ``boundary``.

    added: 1 on the begin and end tokens that the tokenizer added; those at the end belong to the completion.
    """
    high = len(offsets)
    low = 0
    while low < high and added[low]:
        low += 1
    if low == high:  # no text at all
        return min(1, high)
    while added[high - 1]:
        high -= 1
    if offsets[low][0] == offsets[low][1] and offsets[low][1] + 1 > boundary:
        return low  # byte-level tokenizers trim white space off the spans, and one too many off the first
    return bisect_right(offsets, boundary, lo=low, hi=high, key=lambda span: span[1])
