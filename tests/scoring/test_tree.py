from __future__ import annotations

import numpy as np
import pytest
import torch
from families import HARD, random_rows, rows_of
from hypothesis import given, settings
from tiny import Sequence

from assent.errors import AssentError
from assent.scoring.batch import collate
from assent.scoring.tree import Span, pack, shared_prefix


def seq(ids: list[int], prompt: int, counted: list[int] | None = None) -> Sequence:
    places = np.arange(len(ids))
    return Sequence(np.array(ids), prompt, places >= prompt if counted is None else np.isin(places, counted))


def test_two_rows_by_hand():
    # the first row shares 5 6, the longer completion comes first; the second row is a tree of its own
    sequences = [seq([5, 6, 7], 2), seq([5, 6, 8, 9], 2), seq([4, 3], 1)]
    batch = pack(sequences, [(0, 1), (2,)])
    assert batch.ids.tolist() == [5, 6, 8, 9, 7, 4, 3]
    assert batch.position.tolist() == [0, 1, 2, 3, 2, 0, 1]
    assert batch.tree.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert batch.branch.tolist() == [-1, -1, 0, 0, 1, -1, 0]
    assert batch.spans == (Span(0, 2, (2, 1)), Span(5, 1, (1,)))
    assert [span.sizes for span in batch.spans] == [(4, 1), (2,)]
    # token by token in the order of the sequences: 7, then 8 9, then 3
    assert batch.row.tolist() == [0, 1, 1, 2]
    assert batch.index.tolist() == [0, 0, 1, 0]
    assert batch.target.tolist() == [7, 8, 9, 3]
    assert batch.parent.tolist() == [1, 1, 2, 5]
    assert batch.length.tolist() == [1, 2, 1]
    assert (len(batch), batch.tokens) == (3, 7)


def test_who_sees_whom_by_hand():
    batch = pack([seq([5, 6, 7], 2), seq([5, 6, 8, 9], 2), seq([4, 3], 1)], [(0, 1), (2,)])
    # packed: 5 6 | 8 9 | 7 || 4 | 3
    expected = ["1......", "11.....", "111....", "1111...", "11..1..", ".....1.", ".....11"]
    assert ["".join("1" if x else "." for x in row) for row in batch.allowed().tolist()] == expected
    # a window of 2: the token 7, packed two places behind 8, has position 2 and still sees the prompt's 6
    narrow = ["1......", "11.....", ".11....", "..11...", ".1..1..", ".....1.", ".....11"]
    assert ["".join("1" if x else "." for x in row) for row in batch.allowed(2).tolist()] == narrow


def test_rows_with_one_prompt_share_a_tree_and_equal_completions_a_branch():
    sequences = [seq([5, 6, 7], 2), seq([5, 6, 8], 2), seq([5, 6, 7], 2), seq([5, 6, 9], 2)]
    batch = pack(sequences, [(0, 1), (2, 3)])
    assert batch.spans == (Span(0, 2, (1, 1, 1)),)
    assert batch.ids.tolist() == [5, 6, 7, 8, 9]
    assert batch.target.tolist() == [7, 8, 7, 9] and batch.parent.tolist() == [1, 1, 1, 1]


def test_the_branch_point_is_where_tokens_part():
    # prompts that a tokenizer merged with the completion: 5 6 | 7 and 5 | 67
    sequences = [seq([5, 6, 7, 8], 2), seq([5, 9, 8], 2)]
    assert shared_prefix(sequences) == 1
    batch = pack(sequences, [(0, 1)])
    assert batch.spans == (Span(0, 1, (3, 2)),)
    assert batch.index.tolist() == [0, 1, 0]  # from each sequence's own boundary


def test_rows_without_a_common_token_are_trees_of_their_own():
    batch = pack([seq([5, 6], 0, [1]), seq([5, 7], 0, [1]), seq([5, 6], 0, [1])], [(0, 1), (2,)])
    assert batch.spans == (Span(0, 0, (2, 2)), Span(4, 0, (2,)))


def test_only_counted_tokens_are_listed():
    batch = pack([seq([5, 6, 7, 8, 9], 2, [2, 4])])
    assert batch.target.tolist() == [7, 9] and batch.index.tolist() == [0, 2] and batch.parent.tolist() == [1, 3]


@given(random_rows)
@settings(max_examples=50, deadline=None)
def test_any_rows(drawn):
    """The definition, token by token: what a counted token sees is its own sequence up to it, at its own positions."""
    sequences, rows = drawn
    batch, plain = pack(sequences, rows), collate(sequences, 0)
    for name in ("row", "index", "target", "length"):
        assert torch.equal(getattr(batch, name), getattr(plain, name))
    assert batch.tokens <= sum(len(s.ids) for s in sequences)
    for window in (None, 5):
        allowed = batch.allowed(window)
        for row, place, parent in zip(batch.row, plain.position, batch.parent, strict=True):
            seen = allowed[parent].nonzero()[:, 0]
            begin = 0 if window is None else max(0, int(place) - window)
            order = batch.position[seen].argsort()
            assert batch.position[seen][order].tolist() == list(range(begin, int(place)))
            assert batch.ids[seen][order].tolist() == sequences[int(row)].ids[begin : int(place)].tolist()


def test_sharing_saves_what_it_should():
    sequences, rows = rows_of(HARD, 0)
    # prompts of 9, 12 (for two rows) and 14 once, and two sequences without one; equal completions are one branch
    whole = (9 + 12) + (5 + 6) + (12 + 16 + 1 + 3) + 14
    distinct = len({s.ids.tobytes() for s in sequences[-8:]})
    assert pack(sequences, rows).tokens == whole + distinct


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        ([], "0 sequences"),
        ([seq([5, 6], 1), seq([5, 6], 0)], "sequence 1 of the batch has its first token counted"),
        ([seq([5, 6], 1, [])], "sequence 0 of the batch has no counted completion token"),
    ],
)
def test_what_cannot_be_packed(sequences, words):
    with pytest.raises(AssentError, match=words):
        pack(sequences)
