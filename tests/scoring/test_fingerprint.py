from __future__ import annotations

import copy
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_model

from assent.errors import AssentError
from assent.scoring import fingerprint as module
from assent.scoring.fingerprint import fingerprint, remembered_hash, weight_files
from assent.scoring.loading import from_memory, load_policy
from assent.scoring.lora import LoraSpec


@pytest.fixture
def base(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def key(base, tmp_path):
    """The key of a directory's model, with anything else given."""

    def of(source=None, dtype="float32", **given):
        source = base if source is None else source
        model = load_policy(source, dtype=dtype).model
        return fingerprint(model, source, **({"root": tmp_path / "cache", "backend": "plain/sdpa"} | given)).key

    return of


def edit(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def test_the_same_files_give_the_same_key_under_any_path(base, key, tmp_path):
    shutil.copytree(base, tmp_path / "elsewhere" / "copy")
    assert key() == key(tmp_path / "elsewhere" / "copy") == key(root=tmp_path / "another cache")
    assert len(key()) == 32 and set(key()) <= set("0123456789abcdef")


def test_what_enters_the_forward_changes_the_key(base, key):
    keys = [
        key(), key(dtype="bfloat16"), key(dtype="float64"), key(backend="plain/eager"), key(backend="assent_tree/cpu"),
        key(autocast="bfloat16"), key(temperature=0.7),
    ]  # fmt: skip
    edit(base, rms_norm_eps=1e-3)
    keys.append(key())
    weights = load_file(base / "model.safetensors")
    weights["lm_head.weight"][3, 2] += 1e-6
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    keys.append(key())
    assert len(set(keys)) == len(keys) == 9


def test_what_does_not_reach_a_log_probability_stays_out(base, key):
    before = key()
    edit(
        base, attention_dropout=0.3, transformers_version="9.9", use_cache=False, eos_token_id=5, initializer_range=0.5
    )
    (base / "README.md").write_text("a card")
    assert key() == before


def test_a_soft_cap_is_named(tmp_path):
    model = tiny_model("gemma2")
    found = fingerprint(model, None, root=tmp_path, backend="plain/sdpa").made_of
    assert found["softcap"] == 3.0 and found["config"]["sliding_window"] == 8 and found["dtype"] == "float32"


def test_a_swapped_file_is_noticed_even_with_its_size_and_time_put_back(base, key, tmp_path):
    before, path = key(), base / "model.safetensors"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns and path.stat().st_size == status.st_size
    assert key() != before


def test_a_file_is_read_once(base, tmp_path, monkeypatch):
    read = []
    hash_of = module.file_hash
    monkeypatch.setattr(module, "file_hash", lambda path: read.append(path.name) or hash_of(path))
    path, root = base / "model.safetensors", tmp_path / "cache"
    first = remembered_hash(path, root)
    assert remembered_hash(path, root) == first == hash_of(path) and read == ["model.safetensors"]
    memory = root / module.MEMORY
    assert json.loads(memory.read_text())["schema"] == 1 and sorted(p.name for p in root.iterdir()) == [module.MEMORY]
    odd = json.dumps({"schema": 1, "files": {str(path.resolve()): 3}})
    for content in ("{", "[]", odd, '{"schema": 99, "files": {}}'):
        memory.write_text(content)
        assert remembered_hash(path, root) == first
    assert read == ["model.safetensors"] * 5


def test_adapters_count_with_their_weights_and_their_scale(base, key, tmp_path):
    loaded = load_policy(base, lora=LoraSpec(rank=2, alpha=8.0))
    loaded.model.save_pretrained(tmp_path / "adapter")
    one, before = key(tmp_path / "adapter"), key()
    as_told = fingerprint(
        load_policy(tmp_path / "adapter").model, base, adapter=tmp_path / "adapter", root=tmp_path / "cache",
        backend="plain/sdpa",
    )  # fmt: skip
    assert as_told.key == one != before and "with the adapter" in as_told.name
    merged = key(base, adapter=tmp_path / "adapter", merged=True)
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 4, "base_model_name_or_path": str(base)}))
    other = key(tmp_path / "adapter")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 8.0, "lora_dropout": 0.4}))
    assert len({one, before, merged, other}) == 4 and key(tmp_path / "adapter") == one


def test_the_base_under_a_fresh_adapter_is_the_base(base, key, tmp_path):
    fresh = load_policy(base, lora=LoraSpec(rank=2, also_train=("lm_head",)), dtype="float32")
    given = {"root": tmp_path / "cache", "backend": "plain/sdpa", "fresh": True}
    assert fingerprint(fresh.model, base, **given).key == key()
    model = tiny_model("llama")
    spec = LoraSpec(rank=2, also_train=("lm_head",))
    plain = fingerprint(from_memory(model).model, None, **{**given, "fresh": False})
    under = fingerprint(from_memory(model, lora=spec).model, None, **given)
    assert plain.key == under.key and plain.name == "a model in memory"


def test_a_model_in_memory_is_known_by_its_weights(tmp_path):
    given = {"root": tmp_path, "backend": "plain/sdpa"}
    model = tiny_model("llama")
    first = fingerprint(model, None, **given).key
    assert fingerprint(copy.deepcopy(model), None, **given).key == first
    keys = {first, fingerprint(tiny_model("llama", seed=1), None, **given).key}
    keys.add(fingerprint(tiny_model("llama", torch.bfloat16), None, **given).key)
    model.lm_head.weight.data[0, 0] += 1e-6
    keys.add(fingerprint(model, None, **given).key)
    model.config.rms_norm_eps = 0.5
    keys.add(fingerprint(model, None, **given).key)
    assert len(keys) == 5 and not any(tmp_path.iterdir())


def test_only_the_files_that_are_loaded_count(tmp_path):
    model = tiny_model("llama")
    model.save_pretrained(tmp_path / "split", max_shard_size="5KB")
    names = [p.name for p in weight_files(tmp_path / "split")]
    assert len(names) > 1 and all(n.startswith("model-0") for n in names)
    (tmp_path / "split" / "consolidated.safetensors").write_bytes(b"not read")
    assert [p.name for p in weight_files(tmp_path / "split")] == names
    (tmp_path / "split" / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(AssentError, match="is no index of weight files"):
        weight_files(tmp_path / "split")
    (tmp_path / "none").mkdir()
    with pytest.raises(AssentError, match="holds no weights to hash"):
        weight_files(tmp_path / "none")


@pytest.mark.parametrize(("source", "sentence"), [("no/such/place", "neither a directory"), ("none", "neither a dir")])
def test_a_source_without_files_is_refused(tmp_path, source, sentence):
    with pytest.raises(AssentError, match=sentence):
        fingerprint(tiny_model(), source, root=tmp_path, backend="plain/sdpa")


def test_a_place_that_cannot_hold_the_memory_is_told(base, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AssentError, match="choose another --cache-dir"):
        fingerprint(tiny_model(), base, root=tmp_path / "file", backend="plain/sdpa")
