from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import pair_rows, sequence

from assent.errors import AssentError
from assent.scoring.table import Index, as_pairs, batches, distinct, keys_of, sequence_key, sequences_of


def one(ids=(3, 4, 5), prompt_length=1, mask=(0, 1, 1), **more):
    return SimpleNamespace(
        ids=np.array(ids, dtype=np.int32), prompt_length=prompt_length, mask=np.array(mask, bool), **more
    )


def test_a_key_is_the_hash_of_lengths_ids_mask_and_extra_bytes():
    numbers = [1, 3, 2, 3, 4, 5]  # prompt length, ids, extra bytes; then the ids
    content = b"".join(n.to_bytes(8, "little") for n in numbers) + b"\x00\x01\x01" + b"px"
    assert sequence_key(one(extra=b"px")) == hashlib.blake2b(content, digest_size=16).digest()


def test_whatever_enters_the_forward_changes_the_key():
    same = [one(), SimpleNamespace(ids=np.array([3, 4, 5], dtype=np.int64), prompt_length=1, mask=np.array([0, 1, 1]))]
    others = [
        one(ids=(3, 4, 6)), one(prompt_length=2), one(mask=(0, 0, 1)), one(extra=b"a"), one(extra=b"b"),
        one(ids=(3, 4, 5, 0), mask=(0, 1, 1, 0)),
    ]  # fmt: skip
    assert sequence_key(same[0]) == sequence_key(same[1])
    assert len({sequence_key(s) for s in [same[0], *others]}) == 7


def test_places_are_found_whatever_the_order_and_unknown_keys_are_told():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**63, (500, 2)).astype(np.uint64)
    keys[100:200, 0] = keys[0, 0]  # a hundred keys that share their first half
    spans = np.column_stack([np.arange(500), np.arange(500) + 1])
    index = Index.of([(keys[:300], spans[:300]), (keys[300:], spans[300:])])
    order = rng.permutation(500)
    found = index.places[index.find(keys[order])]
    np.testing.assert_array_equal(found[:, 0], order >= 300)
    np.testing.assert_array_equal(found[:, 1], spans[order, 0])
    unknown = keys[:400].copy()
    unknown[:, 1] ^= np.uint64(1)
    assert (index.find(unknown) == -1).all()
    extremes = np.array([[0, 0], [2**64 - 1, 2**64 - 1]], dtype=np.uint64)
    assert (index.find(extremes) == -1).all() and len(index) == 500


def test_the_first_part_counts_where_two_hold_a_key():
    key = np.array([[7, 9]], dtype=np.uint64)
    index = Index.of([(key, np.array([[0, 2]])), (key, np.array([[5, 7]]))])
    assert len(index) == 1 and index[key.tobytes()] == (0, 2)
    parts = [np.array([1.0, 2.0]), np.arange(9.0)]
    assert index.places.tolist() == [[0, 0, 2]] and parts[0][0] == 1.0


def test_an_empty_index_knows_nothing():
    index = Index.of([])
    assert len(index) == 0 and index.find(keys_of([one(), one()])).tolist() == [-1, -1]
    with pytest.raises(KeyError):
        index[sequence_key(one())]
    with pytest.raises(AssentError, match="not here"):
        index.gather([], [one()], "not here")


def test_values_come_in_the_order_of_the_sequences():
    a, b = one(), one(ids=(9, 9, 9))
    index = Index.of([(keys_of([a]), np.array([[1, 3]])), (keys_of([b]), np.array([[0, 2]]))])
    parts = [np.array([0.0, 10.0, 11.0]), np.array([20.0, 21.0])]
    assert index.gather(parts, [b, a, b], "").tolist() == [20.0, 21.0, 10.0, 11.0, 20.0, 21.0]


def test_every_sequence_once_with_its_first_row():
    rows = pair_rows(4)
    sequences, keys, owner = distinct([rows[1], rows[0], rows[1], rows[2]])
    expected = [s for i in (1, 0, 2) for s in (rows[i].chosen, rows[i].rejected)]
    assert [id(s) for s in sequences] == [id(s) for s in expected] and owner.tolist() == [0, 0, 1, 1, 3, 3]
    np.testing.assert_array_equal(keys, as_pairs(b"".join(map(sequence_key, expected))))
    group, example = SimpleNamespace(sequences=(1, 2, 3)), SimpleNamespace(sequence=4)
    assert sequences_of(group) == (1, 2, 3) and sequences_of(example) == (4,)


@pytest.mark.parametrize("together", [False, True])
def test_batches_hold_everything_once_within_the_budget(together):
    rng = np.random.default_rng(1)
    prompt = np.array([3, 4], dtype=np.int32)
    sequences = [sequence(rng, prompt, int(n)) for n in rng.integers(1, 40, 60)]
    owner = np.repeat(np.arange(30), 2)
    found = list(batches(sequences, 100, owner if together else None))
    assert sorted(i for batch in found for i in batch) == list(range(60)) and len(found) > 10
    for batch in found:
        padded = len(batch) * max(len(sequences[i].ids) for i in batch)
        assert padded <= 100 or len(batch) == (2 if together else 1)
        if together:
            assert set(np.bincount(owner[batch])) <= {0, 2}
