from __future__ import annotations

import json
import shutil

import pytest
import torch
from tiny import tiny_model

from assent.errors import AssentError
from assent.scoring.loading import load_policy
from assent.scoring.lora import LoraSpec, base_of, copy_adapter, is_adapter


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    tiny_model("llama").save_pretrained(path / "base")
    load_policy(path / "base", lora=LoraSpec(rank=3, alpha=6.0)).model.save_pretrained(path / "adapter")
    return path


def test_the_spec_is_what_the_adapter_says(folder):
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (3, 6.0, 0.0)
    assert is_adapter(folder / "adapter") and not is_adapter(folder / "base")
    assert base_of(folder / "adapter") == str(folder / "base")


def test_all_linear_layers_but_the_head_get_rank_times_sizes(folder):
    loaded = load_policy(folder / "base", lora=LoraSpec(rank=3))
    # per layer: q 16-16, k 16-8, v 16-8, o 16-16, gate, up and down 16-24; two layers
    assert loaded.trainable == 2 * 3 * (32 + 24 + 24 + 32 + 3 * 40)


def test_whole_modules_can_train_beside_the_adapter(folder):
    loaded = load_policy(folder / "base", lora=LoraSpec(rank=3, also_train=("embed_tokens",)))
    assert loaded.trainable == 2 * 3 * (32 + 24 + 24 + 32 + 3 * 40) + 37 * 16


def test_tied_embeddings_stay_tied_when_trained_whole(tmp_path):
    tiny_model("qwen2").save_pretrained(tmp_path)
    loaded = load_policy(tmp_path, lora=LoraSpec(rank=3, also_train=("embed_tokens",)))
    model = loaded.model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "embed_tokens" in name:
                parameter.zero_()
    assert model(input_ids=torch.tensor([[3, 4]])).logits.abs().max() == 0  # the head is the embedding


def test_a_copy_holds_the_weights_of_now(folder):
    model = load_policy(folder / "adapter").model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    copy_adapter(model, "reference")
    copies = [p for n, p in model.named_parameters() if "lora_B.reference" in n]
    assert len(copies) == 14 and all(bool((p == 0.5).all()) and not p.requires_grad for p in copies)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"rank": 0}, "rank is 0"), ({"dropout": 1.0}, "dropout is 1.0")],
)
def test_impossible_specs(change, words):
    with pytest.raises(AssentError, match=words):
        LoraSpec(**change)


def test_errors_name_the_adapter(folder, tmp_path):
    with pytest.raises(AssentError, match="no LoRA could be put on"):
        load_policy(folder / "base", lora=LoraSpec(targets=("nonesuch",)))
    tiny_model("gpt2").save_pretrained(tmp_path / "other")
    with pytest.raises(AssentError, match="does not load on its base"):
        load_policy(tmp_path / "other", adapter=folder / "adapter")
    shutil.copytree(folder / "adapter", tmp_path / "moved")
    config = json.loads((tmp_path / "moved" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (tmp_path / "moved" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(AssentError, match=r"the adapter .*moved names its base .*gone: .* is no directory"):
        load_policy(tmp_path / "moved")
    assert load_policy(folder / "base", adapter=tmp_path / "moved").stage == "continued"
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(AssentError, match="does not name its base model"):
        load_policy(tmp_path / "odd")
