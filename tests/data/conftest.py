"""Tokenizers built on the spot: a word-level one with readable ids and a byte-level BPE, and chat templates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

MARKS = [
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start|>", "<|end|>", "<|eot|>",
    "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
]  # fmt: skip
WORDS = [
    "\n",
    "system",
    "user",
    "assistant",
    "model",
    "Be",
    "brief",
    "two",
    "plus",
    "is",
    "four",
    "five",
    "?",
    ".",
    "sky",
    "blue",
    "green",
    "Tools:",
    "add",
    "and",
    "<think>",
    "</think>",
    "so",
    "yes",
    "no",
]
TEXTS = [
    "Two plus two is four. The sky is blue, and grass is green.",
    "\n\nHuman: What is the colour of the sky?\n\nAssistant: It is blue, of course.",
    "Be brief. Yes, no, perhaps: naïve café, 東京, 🙂.",
]


def _fast(tokenizer, *, eos="</s>", bos="<s>", pad=None, template=None):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token=pad, chat_template=template,
        additional_special_tokens=MARKS[2:],
    )  # fmt: skip


@pytest.fixture(scope="session")
def words():
    """words(template) -> a tokenizer of whole words; a line break is a word; ids are readable through its vocabulary."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

    def build(template=None, *, eos="</s>", **options):
        vocabulary = {word: i for i, word in enumerate([*MARKS, "<unk>", *WORDS])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(r" "), "removed"), pre_tokenizers.Split(Regex(r"\n|[.?]"), "isolated")]
        )
        tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
        return _fast(tokenizer, eos=eos, template=template, **options)

    return build


@pytest.fixture(scope="session")
def bytes_bpe():
    """bytes_bpe(template, begin=True) -> a byte-level BPE as GPT-2 or Llama 3 have it; begin adds <s> to plain text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    def build(template=None, *, begin=True, trim=False, **options):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=MARKS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(TEXTS, trainer)
        steps = [processors.ByteLevel(trim_offsets=trim)]
        if begin:
            steps.append(processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)]))
        tokenizer.post_processor = processors.Sequence(steps)
        return _fast(tokenizer, template=template, **options)

    return build
