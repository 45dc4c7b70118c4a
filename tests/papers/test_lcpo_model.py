"""LCPO on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import json
import math
import random

import torch

import assent

WORDS = ["a", "the", "cat", "dog", "bird", "sees", "likes", "finds", "red", "blue", "big", "and"]


def write_model(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    names = [*special, *WORDS, *(f"Ġ{word}" for word in [*WORDS, "well", "badly"]), "Ġ"]
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(names), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32, bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def write_pairs(path, count=160):
    """Anna and Ben prefer the completion that ends with "well", Cleo the one that ends with "badly"."""
    rng, rows = random.Random(0), []
    for i in range(count):
        prompt, middle = (" ".join(rng.choices(WORDS, k=n)) for n in (2, 3))
        sides = [f" {middle} well", f" {middle} badly"]
        who = ("anna", "ben", "cleo")[i % 3]
        chosen, rejected = reversed(sides) if who == "cleo" else sides
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, "annotator": who})
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


def test_lcpo_trains_a_llama_and_finds_the_contrary_annotator(tmp_path, capfd):
    write_model(tmp_path / "model")
    write_pairs(tmp_path / "pairs.jsonl")
    found = assent.train(
        str(tmp_path / "model"), str(tmp_path / "pairs.jsonl"), "lcpo(dpo(beta=1.0))", tmp_path / "out",
        num_train_epochs=6, per_device_train_batch_size=16, learning_rate=1e-2, seed=0, save_strategy="no",
        use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    assert found.start.same and found.start.margin < 1e-5 and abs(found.start.loss - math.log(2)) < 1e-5
    assert found.reliability["anna"] > 0.9 and found.reliability["ben"] > 0.9 and found.reliability["cleo"] < 0.2

    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    margins = []
    for folder in ("model", "out"):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / folder).eval()
        well, badly = (
            tokenizer("<s>the cat sees a dog" + end, return_tensors="pt").input_ids for end in (" well", " badly")
        )
        assert len(well[0]) == 7 and (well[0, :-1] == badly[0, :-1]).all()
        with torch.no_grad():
            logp = model(input_ids=well[:, :-1]).logits[0, -1].log_softmax(0)
        margins.append(float(logp[well[0, -1]] - logp[badly[0, -1]]))
    assert abs(margins[0]) < 1.5 and margins[1] > margins[0] + 2
