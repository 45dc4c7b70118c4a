from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from caches import assert_holds, cache_at, counting, exact, numbers, only_shard
from tiny import oracle, pair_rows, tiny_model

from assent.errors import AssentError
from assent.objectives.base import Need
from assent.scoring import shards
from assent.scoring.cache import ABOUT, CachedReference, build, default_root
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.reference import computing, precompute
from assent.scoring.upkeep import clean, survey


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cached_reference_gives_what_the_model_gives(tmp_path, dtype):
    model, rows = tiny_model("llama", dtype), pair_rows(9, holes=True)
    built = build(rows, computing(model), cache_at(tmp_path), tokens_per_batch=60)
    scorer = CausalLMScorer(model, built.reference)
    scores = scorer.scores(rows[::-1], {Need("reference")})
    assert scores.chosen.ref_logp.dtype == dtype == torch.from_numpy(np.array(built.reference.parts[0])).dtype
    if dtype == torch.float64:
        for side in ("chosen", "rejected"):
            expected = torch.cat([oracle(model, getattr(row, side)) for row in rows[::-1]])
            found = getattr(scores, side).tokens.ref_logp
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    memory = CausalLMScorer(model, precompute(model, rows, tokens_per_batch=60)).scores(rows, {Need("reference")})
    assert torch.equal(memory.chosen.ref_logp.flip(0), scores.chosen.ref_logp)
    with pytest.raises(AssentError, match="no next-token distributions"):
        scorer.scores(rows, {Need("kl_ref")})
    assert "kl_ref" not in scorer.provides and "from the cache" in built.reference.name


def test_what_is_there_is_not_computed_again(tmp_path):
    rows, seen = pair_rows(20), []
    first = build(rows[:12], counting(seen), cache_at(tmp_path), tokens_per_batch=64)
    assert (first.found, first.computed, len(seen)) == (0, 24, 24)
    second = build(rows, counting(seen), cache_at(tmp_path), tokens_per_batch=64)
    assert (second.found, second.computed, len(seen)) == (24, 16, 40)
    assert second.tokens == sum(int(s.mask.sum()) for r in rows[12:] for s in (r.chosen, r.rejected))
    third = build(rows[::-1], counting(seen), cache_at(tmp_path), tokens_per_batch=64)
    assert (third.found, third.computed, third.tokens, len(seen)) == (40, 0, 0, 40)
    assert_holds(third.reference, rows)
    with pytest.raises(AssentError, match="no reference log-probabilities in the cache"):
        CausalLMScorer(tiny_model(), first.reference).scores(pair_rows(2, seed=5), {Need("reference")})


def test_equal_work_is_one_file_and_different_models_have_folders_of_their_own(tmp_path):
    rows = pair_rows(6)
    for root in (tmp_path / "a", tmp_path / "b"):
        build(rows, numbers, cache_at(root))
    assert only_shard(cache_at(tmp_path / "a")).name == only_shard(cache_at(tmp_path / "b")).name
    build(rows[::-1], numbers, cache_at(tmp_path / "c"))
    assert only_shard(cache_at(tmp_path / "c")).name == only_shard(cache_at(tmp_path / "a")).name
    seen = []
    build(rows, counting(seen), cache_at(tmp_path / "a", "another model"))
    assert len(seen) == 12 and len(survey(tmp_path / "a")) == 2


def test_it_reads_through_a_memory_map_and_says_what_it_was_made_of(tmp_path):
    cache = cache_at(tmp_path, temperature=0.5)
    reference = build(pair_rows(3), numbers, cache).reference
    assert isinstance(reference, CachedReference) and all(isinstance(part, np.memmap) for part in reference.parts)
    about = json.loads((cache.folder / ABOUT).read_text())
    assert about == {"schema": 1, "key": cache.fingerprint.key, "name": "a model", "made_of": cache.fingerprint.made_of}
    from safetensors.numpy import load_file

    tensors = load_file(only_shard(cache))  # the file is an ordinary one
    assert {n: t.dtype.name for n, t in tensors.items()} == {"keys": "uint8", "places": "int64", "values": "float32"}
    assert tensors["keys"].shape == (6, 16)


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path, length):
    path.write_bytes(path.read_bytes()[:length])


DAMAGE = {
    "a byte of the values": lambda p: flip(p, -3), "a byte of the header": lambda p: flip(p, 30),
    "a byte of the length": lambda p: flip(p, 2), "the last byte gone": lambda p: cut(p, -1),
    "half of it": lambda p: cut(p, p.stat().st_size // 2), "a few bytes": lambda p: cut(p, 5),
    "nothing": lambda p: cut(p, 0), "another file": lambda p: p.write_text("{}" * 50),
    "more at the end": lambda p: p.write_bytes(p.read_bytes() + b"\0"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_damage_is_detected_and_costs_only_what_the_file_held(tmp_path, damage):
    rows, cache = pair_rows(20), cache_at(tmp_path)
    build(rows[:10], numbers, cache)
    first = only_shard(cache)
    build(rows, numbers, cache)
    damage(first)
    for refused in (cache.open, lambda: build(rows, numbers, cache)):
        with pytest.raises(
            AssentError, match=f"{first.name} is refused, its content does not hash.*assent cache prune"
        ):
            refused()
    (found,) = survey(tmp_path)
    assert found.shards == 2 and found.sequences == 20 and len(found.refused) == 1
    removed = clean(tmp_path)
    assert removed.files == 1 and not first.exists()
    seen = []
    again = build(rows, counting(seen), cache)
    assert len(seen) == 20 and again.found == 20
    assert_holds(again.reference, rows)


def test_damage_whose_time_was_put_back_is_found_by_verify(tmp_path):
    cache = cache_at(tmp_path)
    build(pair_rows(4), numbers, cache)
    path = only_shard(cache)
    cache.open()
    status = path.stat()
    flip(path, -1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(AssentError, match="does not hash"):
        cache.open(always=True)
    (found,) = survey(tmp_path, check=True)
    assert len(found.refused) == 1


def test_foreign_files_and_folders_are_refused(tmp_path):
    rows, own, other = pair_rows(5), cache_at(tmp_path), cache_at(tmp_path, "the swapped model")
    build(rows, numbers, own)
    build(rows[:2], numbers, other)
    shutil.copy(only_shard(own), other.folder)
    with pytest.raises(AssentError, match=f"belongs to the model {own.fingerprint.key}"):
        other.open()
    assert clean(tmp_path).files == 1 and len(other.open().keys) == 4
    moved = cache_at(tmp_path, "a third")
    own.folder.rename(moved.folder)
    with pytest.raises(AssentError, match="is the reference cache of another model"):
        moved.open()
    (moved.folder / ABOUT).write_text("{")
    with pytest.raises(AssentError, match="cannot be read as the description"):
        moved.open()
    assert not own.folder.exists() and len(own.open().keys) == 0


def rewritten(path, **changes):
    """A file with other tensors or another description under the name that its content hashes to."""
    from safetensors import safe_open
    from safetensors.numpy import save

    with safe_open(path, framework="np") as file:
        tensors, told = {n: file.get_tensor(n) for n in file.keys()}, json.loads(file.metadata()["assent"])  # noqa: SIM118
    told |= changes.pop("told", {})
    tensors = {n: t for n, t in (tensors | changes).items() if t is not None}
    aside = path.with_name("aside")
    aside.write_bytes(save(tensors, metadata={"assent": json.dumps(told)}))
    path.unlink()
    return aside.rename(path.with_name(shards.file_hash(aside) + ".safetensors"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"told": {"schema": 2}}, "has schema 2 and this version reads 1"),
        ({"places": np.array([[0, 99]])}, "its places point outside"),
        ({"places": np.array([[2, 2]])}, "its places point outside"),
        ({"places": np.array([[0, 1, 2]])}, "its places are not of the expected type"),
        ({"keys": np.zeros((2, 16), np.uint8)}, "its places point outside"),
        ({"keys": np.zeros((1, 8), np.uint8)}, "its keys are not of the expected type"),
        ({"values": np.zeros(4, np.int64)}, "its values are not of the expected type"),
        ({"values": None}, "its values are not of the expected type"),
    ],
)
def test_well_hashed_files_of_another_make_are_refused(tmp_path, changes, sentence):
    cache, rows = cache_at(tmp_path), pair_rows(1)
    cache.add(np.array([[1, 2]], dtype=np.uint64), [exact(rows[0].chosen)])
    path = rewritten(only_shard(cache), **changes)
    with pytest.raises(AssentError, match=sentence):
        cache.open()
    clean(tmp_path)
    assert path.exists() == ("told" in changes)  # a file of a later schema is not ours to remove


def test_an_error_in_the_middle_keeps_what_was_computed(tmp_path):
    rows, calls = pair_rows(16), []

    def failing(sequences):
        calls.append(len(sequences))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return numbers(sequences)

    with pytest.raises(KeyboardInterrupt):
        build(rows, failing, cache_at(tmp_path), tokens_per_batch=80)
    seen = []
    again = build(rows, counting(seen), cache_at(tmp_path), tokens_per_batch=80)
    assert again.found == sum(calls[:3]) and len(seen) == 32 - sum(calls[:3])
    assert_holds(again.reference, rows)


def test_shards_are_written_by_size_and_by_time(tmp_path):
    rows = pair_rows(16)
    many = cache_at(tmp_path / "a")
    build(rows, numbers, many, tokens_per_batch=40, flush_tokens=30)
    often = cache_at(tmp_path / "b")
    build(rows, numbers, often, tokens_per_batch=40, flush_seconds=0.0)
    assert len(list(many.folder.glob("*.safetensors"))) > 3 and len(list(often.folder.glob("*.safetensors"))) > 5
    assert_holds(many.open(), rows)


@pytest.mark.parametrize("together", [False, True])
def test_ranks_share_the_work_and_each_reads_everything(tmp_path, together):
    rows, seen = pair_rows(30), [[], [], []]
    waited = []

    def others(rank=0):
        """Stands at the barrier until the two other ranks have written."""
        waited.append(rank)
        for other in (1, 2):
            part = build_share(other, lambda: None)
            waited.append(part)

    def build_share(rank, wait):
        try:
            return build(
                rows, counting(seen[rank]), cache_at(tmp_path), together=together, share=(rank, 3), wait=wait
            ).computed
        except AssentError as error:  # the ranks before the last one find rows missing: nobody waits for them here
            assert "missing from" in str(error)
            return None

    assert build_share(0, others) is not None and len(waited) == 3
    assert sum(map(len, seen)) == 60 and all(len(s) > 5 for s in seen)
    if together:
        held = [{id(s) for s in part} for part in seen]
        assert all(any({id(r.chosen), id(r.rejected)} <= part for part in held) for r in rows)
    assert_holds(cache_at(tmp_path).open(), rows)
    with pytest.raises(AssentError, match="expected \\(rank, ranks\\)"):
        build(rows, numbers, cache_at(tmp_path), share=(3, 3))


def test_values_that_are_not_finite_or_not_one_a_token_are_not_kept(tmp_path):
    rows = pair_rows(2)
    with pytest.raises(AssentError, match="not finite, which is not cached"):
        build(rows, lambda s: [v * float("nan") for v in numbers(s)], cache_at(tmp_path))
    with pytest.raises(ValueError, match="gave values of shape"):
        build(rows, lambda s: [v[:-1] for v in numbers(s)], cache_at(tmp_path))
    with pytest.raises(ValueError, match="gave values of 3 sequences; expected 4"):
        build(rows, lambda s: numbers(s)[1:], cache_at(tmp_path))
    assert not cache_at(tmp_path).folder.exists()


def test_progress_is_told_and_a_place_that_cannot_be_written_is_named(tmp_path):
    seen = []
    build(pair_rows(4), numbers, cache_at(tmp_path), tokens_per_batch=30, progress=lambda *a: seen.append(a))
    assert seen[-1] == (8, 8) and len(seen) > 2
    (tmp_path / "file").write_text("")
    with pytest.raises(AssentError, match=r"cannot be written .*choose another --cache-dir"):
        build(pair_rows(1), numbers, cache_at(tmp_path / "file"))


def test_the_root_is_given_or_of_the_environment_or_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("ASSENT_CACHE", str(tmp_path / "env"))
    assert default_root("here") == Path("here") and default_root() == tmp_path / "env"
    monkeypatch.delenv("ASSENT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / ".cache" / "assent" / "reference"
