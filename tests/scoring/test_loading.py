from __future__ import annotations

import json
import shutil

import pytest
import torch
from tiny import VOCABULARY, oracle, pair_rows, tiny_model

from assent.errors import AssentError
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.loading import check_vocabulary, from_memory, load_policy, load_reference, load_tokenizer
from assent.scoring.lora import LoraSpec


def tiny_tokenizer(**special):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(["<s>", "</s>", "<pad>", "yes", "no"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="no"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "llama"
    tiny_model("llama").save_pretrained(path)
    tiny_tokenizer(bos_token="<s>", eos_token="</s>", pad_token="<pad>").save_pretrained(path)
    return path


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2", "gemma2"])
def test_a_saved_model_scores_as_before(architecture, tmp_path):
    model, rows = tiny_model(architecture), pair_rows(3)
    model.save_pretrained(tmp_path)
    loaded = load_policy(tmp_path, dtype="float64")
    got = CausalLMScorer(loaded.model).scores(rows).chosen.logp
    expected = torch.stack([oracle(model, row.chosen).sum() for row in rows])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert loaded.stage == "full" and loaded.trainable == loaded.parameters == model.num_parameters()
    assert loaded.model.config.use_cache is False


def test_dropout_is_zero_and_said_so(folder, tmp_path):
    loaded = load_policy(folder)
    assert loaded.notes == ("dropout is set to 0 for training (the model's own: attention_dropout 0.1)",)
    tiny_model("gpt2").save_pretrained(tmp_path)
    gpt2 = load_policy(tmp_path)
    assert {m.p for m in gpt2.model.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    gpt2.model.train()
    scorer, rows = CausalLMScorer(gpt2.model), pair_rows(2)
    assert torch.equal(scorer.scores(rows).chosen.logp, scorer.scores(rows).chosen.logp)
    for name in ("resid_pdrop 0.1", "embd_pdrop 0.1", "attn_pdrop 0.1"):
        assert name in gpt2.notes[0]


def test_dtype_and_attention_are_honoured(folder):
    loaded = load_policy(folder, dtype="bf16", attn_implementation="eager")
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.model.config._attn_implementation == "eager"
    assert any("bfloat16: small steps round to nothing" in note for note in loaded.notes)
    with pytest.raises(AssentError, match="did you mean 'float32'"):
        load_policy(folder, dtype="flaot32")
    with pytest.raises(AssentError, match="does not load"):
        load_policy(folder, attn_implementation="nonesuch")


def test_paths_that_hold_no_model(folder, tmp_path):
    with pytest.raises(AssentError, match="is no directory"):
        load_policy(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AssentError, match=r"has no config\.json"):
        load_policy(tmp_path / "empty")
    shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(AssentError, match="no weights"):
        load_policy(tmp_path / "bare")
    shutil.copytree(folder, tmp_path / "cut")
    (tmp_path / "cut" / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(AssentError, match="does not load"):
        load_policy(tmp_path / "cut")
    tiny_model("llama").model.save_pretrained(tmp_path / "headless")
    with pytest.raises(AssentError, match=r"lacks 1 weights \(lm_head\.weight\); they would be random"):
        load_policy(tmp_path / "headless")
    shutil.copytree(folder, tmp_path / "odd")
    (tmp_path / "odd" / "config.json").write_text(json.dumps({"model_type": "nonesuch"}))
    with pytest.raises(AssentError, match="does not load"):
        load_policy(tmp_path / "odd")


def test_an_unreachable_hub_is_one_sentence(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", offline)
    for load in (load_policy, load_tokenizer):
        with pytest.raises(AssentError, match="is no directory here and the hub cannot be reached") as caught:
            load("some-org/some-model")
        assert "\n" not in str(caught.value)


def test_options_that_contradict(folder):
    with pytest.raises(AssentError, match="no adapter to merge"):
        load_policy(folder, merge=True)
    with pytest.raises(AssentError, match="4-bit weights cannot be trained"):
        load_policy(folder, quantization="4bit")
    with pytest.raises(AssentError, match="expected '4bit'"):
        load_policy(folder, quantization="3bit", lora=LoraSpec())
    with pytest.raises(AssentError, match="merge it to put a fresh LoRA on top"):
        load_policy(folder, adapter="somewhere", lora=LoraSpec())


def test_four_bits_without_the_package_say_how_to_get_it(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AssentError, match=r"pip install 'assent\[quantized\]'"):
        load_policy(folder, quantization="4bit", lora=LoraSpec())


def test_a_model_in_memory_is_copied_and_loses_its_dropout():
    for architecture, layers in (("llama", 2), ("gpt2", 7)):
        model = tiny_model(architecture)
        loaded = from_memory(model)
        assert loaded.notes == (f"dropout was set to 0 for training in {layers} layers",)
        loaded.model.train()
        scorer, rows = CausalLMScorer(loaded.model), pair_rows(2)
        assert torch.equal(scorer.scores(rows).chosen.logp, scorer.scores(rows).chosen.logp)
        with torch.no_grad():
            next(loaded.model.parameters()).zero_()
        assert next(model.parameters()).abs().sum() > 0
        assert any(0.1 in vars(m).values() for m in model.modules())


def test_a_model_in_memory_takes_a_fresh_lora_and_no_second_adapter():
    loaded = from_memory(tiny_model(), lora=LoraSpec(rank=2))
    assert loaded.stage == "fresh" and 0 < loaded.trainable < loaded.parameters
    with pytest.raises(AssentError, match="has an adapter already"):
        from_memory(loaded.model)


def test_a_reference_is_frozen_and_in_evaluation_mode(folder):
    reference = load_reference(folder)
    assert reference.name == f"second model {folder}" and not reference.model.training
    assert not any(p.requires_grad for p in reference.model.parameters())


def test_tokenizers(folder, tmp_path):
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token == "<pad>" and tokenizer("yes no")["input_ids"] == [3, 4]
    tiny_tokenizer(eos_token="</s>").save_pretrained(tmp_path / "eos")
    assert load_tokenizer(tmp_path / "eos").pad_token_id == 1
    tiny_tokenizer().save_pretrained(tmp_path / "bare")
    with pytest.raises(AssentError, match="no pad and no EOS token"):
        load_tokenizer(tmp_path / "bare")
    (tmp_path / "none").mkdir()
    with pytest.raises(AssentError, match="no readable tokenizer"):
        load_tokenizer(tmp_path / "none")


def test_an_adapter_without_tokenizer_uses_that_of_its_base(folder, tmp_path):
    load_policy(folder, lora=LoraSpec(rank=2)).model.save_pretrained(tmp_path)
    assert len(load_tokenizer(tmp_path)) == 5


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(folder):
    model = load_policy(folder).model
    check_vocabulary(model, load_tokenizer(folder))
    big = load_tokenizer(folder)
    big.add_tokens([f"word{i}" for i in range(VOCABULARY)])
    with pytest.raises(AssentError, match=f"has {5 + VOCABULARY} tokens, the model embeds {VOCABULARY}"):
        check_vocabulary(model, big)
