from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from families import HARD, MIXED, WINDOW, family, plain_values, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCABULARY, Sequence
from torch.utils._python_dispatch import TorchDispatchMode

from assent.scoring import attention
from assent.scoring.engine import prepare, values
from assent.scoring.tree import TreeBatch, pack

attention.register()


def dense(query, key, value, allowed, softcap=None):
    """Attention by its definition: every logit, one mask."""
    groups = query.shape[1] // key.shape[1]
    logits = query @ key.repeat_interleave(groups, 1).transpose(2, 3) * query.shape[-1] ** -0.5
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    weights = logits.masked_fill(~allowed, float("-inf")).softmax(-1)
    return (weights @ value.repeat_interleave(groups, 1)).transpose(1, 2)


def heads_of(batch: TreeBatch, heads: int = 4, groups: int = 2, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, h, batch.tokens, 4) for h in (heads, heads // groups, heads // groups)]
    return [torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.fixture(scope="module")
def hard() -> TreeBatch:
    return pack(*rows_of(HARD, 0))


@pytest.mark.parametrize("window", [None, 1, 3, WINDOW, 16, 100])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_branches_equal_the_dense_mask(hard, window, softcap):
    inputs = heads_of(hard)
    found, _ = attention.tree_attention(None, *inputs, None, sliding_window=window, softcap=softcap, tree=hard)
    expected = dense(*inputs, hard.allowed(window), softcap)
    tolerance = 1e-12 if softcap is None else 1e-6  # with a soft-cap softmax is in float32, as in transformers
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=found.dtype)
    for mine, theirs in zip(
        torch.autograd.grad((weight * found).sum(), inputs),
        torch.autograd.grad((weight * expected).sum(), inputs), strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(mine, theirs, rtol=0, atol=10 * tolerance)


def test_the_mean_of_what_a_token_sees_by_hand():
    # equal logits: every token gets the mean of the values it sees, here its packed place
    row = [Sequence(np.array([5, 6, 7, 8]), 2, np.arange(4) > 1), Sequence(np.array([5, 6, 9]), 2, np.arange(3) > 1)]
    batch = pack(row, [(0, 1)])  # 5 6 | 7 8 | 9
    zeros, places = torch.zeros(1, 1, 5, 1), torch.arange(5.0)[None, None, :, None]
    for window, expected in ((None, [0, 0.5, 1, 1.5, 5 / 3]), (2, [0, 0.5, 1.5, 2.5, 2.5])):
        found, _ = attention.tree_attention(None, zeros, zeros, places, None, sliding_window=window, tree=batch)
        torch.testing.assert_close(found.flatten(), torch.tensor(expected))


def left_padded(lengths: tuple[int, ...] = (9, 4, 12)) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    ids = np.full((len(lengths), max(lengths)), 2)
    for row, length in zip(ids, lengths, strict=True):
        row[-length:] = rng.integers(3, VOCABULARY, length)
    mask = torch.tensor(
        [[place >= max(lengths) - length for place in range(max(lengths))] for length in lengths]
    ).long()
    return {"input_ids": torch.from_numpy(ids), "attention_mask": mask}


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma3", "gpt2", "gemma2"])
def test_without_a_tree_everything_is_as_before_to_the_last_bit(name):
    """Left-padded scoring, its gradients, and generation with a cache; Gemma 2 as eager, since sdpa refuses soft-caps."""
    before = family(name, dtype=torch.float32)
    before.set_attn_implementation("eager" if name == "gemma2" else "sdpa")
    after = copy.deepcopy(before)
    assert prepare(after) == "" and after.config._attn_implementation == "assent_tree"
    inputs = left_padded()
    real = inputs["attention_mask"].bool()
    logits = [model(**inputs).logits[real] for model in (before, after)]
    assert torch.equal(*logits) and logits[0].isfinite().all()
    grads = [
        torch.autograd.grad(x.square().sum(), list(m.parameters()))
        for x, m in zip(logits, (before, after), strict=True)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    whole = [model(input_ids=inputs["input_ids"]).logits for model in (before, after)]  # no mask at all
    assert torch.equal(*whole)
    made = [
        model.generate(**inputs, max_new_tokens=9, do_sample=False, output_logits=True, return_dict_in_generate=True)
        for model in (before, after)
    ]
    assert torch.equal(made[0].sequences, made[1].sequences)
    assert all(torch.equal(a, b) for a, b in zip(made[0].logits, made[1].logits, strict=True))


def packed_forward(model, batch: TreeBatch, mask: torch.Tensor | None) -> torch.Tensor:
    """What others do: the packed tokens with their positions, and a mask of one's own or none."""
    logits = model(input_ids=batch.ids[None], position_ids=batch.position[None], attention_mask=mask, use_cache=False)
    return logits.logits[0, batch.parent].log_softmax(-1).gather(1, batch.target[:, None])[:, 0]


@pytest.mark.parametrize("name", ["mistral", "gemma3"])
def test_neither_a_mask_nor_positions_alone_will_do(name):
    """Both are wrong without an error on models with sliding windows; the tree is not."""
    model = family(name)
    # the first row's prompt and each of its completions are within a window, though the packed row is not
    sequences, rows = rows_of([(3, [2, 2, 2], False), (12, [6, 5], False)], 0)
    batch = pack(sequences, rows)
    at = torch.arange(batch.tokens)
    near = (at[:, None] - at).abs() < WINDOW  # a window in packed places
    with torch.no_grad():
        expected = plain_values(model, sequences)
        wrong = {
            "a 4-D mask, which replaces the window": batch.allowed()[None, None],
            "a 4-D mask with the window in packed places": (batch.allowed() & near)[None, None],
            "positions alone: branches lose their prompt": None,
            "positions and a mask of ones: branches see each other": torch.ones_like(batch.ids[None]),
        }
        off = {what: (packed_forward(model, batch, m) - expected).abs().max().item() for what, m in wrong.items()}
        assert prepare(model) == ""
        ours = (values(model, batch).logp - expected).abs().max().item()
    assert min(off.values()) > 1e-2, off
    assert ours < 1e-7


def test_positions_alone_lose_the_prompt_without_windows_too():
    model = family("llama")
    sequences, rows = rows_of([(8, [4, 4], False)], 0)
    batch = pack(sequences, rows)
    with torch.no_grad():
        expected = plain_values(model, sequences)
        found = packed_forward(model, batch, None)
        second = batch.row == 1  # the first branch follows its prompt; the second has lost it
        first_of_branch = batch.index == 0  # predicted by the prompt's last token, right either way
        assert (found - expected)[second & ~first_of_branch].abs().max() > 1e-2
        torch.testing.assert_close(found[~second], expected[~second], rtol=0, atol=1e-7)
        # a 4-D mask is right here, where no layer has a window
        masked = packed_forward(model, batch, batch.allowed()[None, None])
        torch.testing.assert_close(masked, expected, rtol=0, atol=1e-7)


class _LargestPlane(TorchDispatchMode):
    """Entries of the largest matrix (last two dimensions) that an operation makes."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, torch.Tensor) and x.dim() > 1:
                self.largest = max(self.largest, x.shape[-1] * x.shape[-2])
        return out


long_rows = st.lists(
    st.tuples(st.integers(0, 150), st.lists(st.integers(1, 90), min_size=1, max_size=4), st.booleans()),
    min_size=1, max_size=4,
)  # fmt: skip


@given(long_rows, st.sampled_from([None, WINDOW, 128, 200]), st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_block_masks_are_the_dense_mask(shape, window, seed):
    """FlexAttention's mask as data: each token pair, and which blocks are left out, partial or whole."""
    batch = pack(*rows_of(shape, seed))
    mask, n, size = attention.block_mask(batch, window), batch.tokens, 128
    allowed = batch.allowed(window)
    q, k = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    assert torch.equal(mask.mask_mod(0, 0, q, k), allowed)
    blocks = -(-n // size)
    padded = torch.zeros(blocks * size, blocks * size, dtype=torch.bool)
    padded[:n, :n] = allowed
    tiles = padded.view(blocks, size, blocks, size).transpose(1, 2).flatten(2)
    for numbers, indices, expected in (
        (mask.kv_num_blocks, mask.kv_indices, tiles.any(-1) & ~tiles.all(-1)),
        (mask.full_kv_num_blocks, mask.full_kv_indices, tiles.all(-1)),
    ):
        for row in range(blocks):
            found = indices[0, 0, row, : numbers[0, 0, row]].sort().values.tolist()
            assert found == expected[row].nonzero()[:, 0].tolist()
    assert attention.block_mask(batch, window) is mask  # made once for all layers


def test_block_masks_are_made_without_a_mask_of_all_tokens():
    batch = pack(*rows_of([(400, [300] * 4, False), (300, [200, 200], False)], 0))
    with _LargestPlane() as seen:
        mask = attention.block_mask(batch, None)
    assert batch.tokens == 2300 and seen.largest <= 128 * 18 * 128
    # of 18 x 18 blocks causal order alone would keep 171; other branches and the other tree are left out as well
    assert int(mask.kv_num_blocks.sum() + mask.full_kv_num_blocks.sum()) < 110


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("window", "softcap"), [(None, None), (WINDOW, None), (None, 2.0), (WINDOW, 2.0)])
def test_flex_attention_gives_what_branches_give(hard, window, softcap):
    """Its forward, on CPU and not compiled; float64, softmax of the branches with a soft-cap in float32."""
    query, key, value = (x.detach() for x in heads_of(hard))
    mask = attention.block_mask(hard, window)
    found = attention.flex(query, key, value, mask, softcap, 0.5, compiled=False).transpose(1, 2)
    expected, _ = attention.tree_attention(
        None, query, key, value, None, scaling=0.5, sliding_window=window, softcap=softcap, tree=hard
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 if softcap is None else 1e-6)


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_no_mask_is_larger_than_a_branch_by_its_context(name):
    changes = {"layer_types": MIXED, "sliding_window": 10} if name == "gemma2" else {}
    model = family(name, max_position_embeddings=128, **changes)
    assert prepare(model) == ""
    batch = pack(*rows_of([(30, [20] * 8, False), (25, [25, 20, 5], False)], 0))
    with _LargestPlane() as seen:
        values(model, batch).logp.sum().backward()
    # packed tokens squared are 70,225; hidden states of 265 x 24 and logits of at most 265 x 37 may be made
    assert batch.tokens == 190 + 75 and seen.largest <= batch.tokens * VOCABULARY < 10_000
    shapes = {mask.shape for mask in batch.masks.values()}
    assert all(rows <= 50 and columns <= 50 for rows, columns in shapes)
    if name == "llama":  # the longest branch with its prompt needs none
        assert shapes == {(20, 50), (20, 45), (5, 30)}


def test_dropout_is_applied_in_training():
    model = family("llama", attention_dropout=0.5)
    assert prepare(model) == ""
    batch = pack(*rows_of([(6, [4, 3], False)], 0))
    with torch.no_grad():
        plain = values(model, batch).logp
        assert torch.equal(values(model, batch).logp, plain)
        torch.manual_seed(0)
        assert not torch.allclose(values(model.train(), batch).logp, plain)
