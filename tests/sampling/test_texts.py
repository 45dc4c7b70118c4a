"""Prompts to ids and completions to text, plain and through a chat template."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from assent import AssentError
from assent.sampling import Completion, Texts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
from chat_templates import CHATML
from small_run import small_tokenizer


def made(tokenizer, text: str, end: bool = True) -> Completion:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] * end
    return Completion(0, 0, np.array(ids, np.int32), np.zeros(len(ids)), np.zeros(len(ids)), end)


def test_plain_text_begins_once_and_comes_back() -> None:
    tokenizer = small_tokenizer()
    texts = Texts(tokenizer)
    (ids,) = texts.prompt_ids(["a cat"])
    assert tokenizer.convert_ids_to_tokens(ids.tolist()) == ["<s>", "a", "Ġcat"]
    assert texts.prompt_ids(["a cat sees fish"], max_length=2)[0].tolist() == tokenizer.convert_tokens_to_ids(
        ["Ġsees", "Ġfish"]
    )
    completion = made(tokenizer, " sees fish")
    assert texts.content("a cat", completion) == " sees fish"
    sequence = Texts.sequence(ids, completion)
    assert sequence.prompt_length == 3 and sequence.mask.sum() == 3 and sequence.ids[-1] == tokenizer.eos_token_id


def test_messages_open_a_reply_and_come_back_as_one() -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = CHATML
    texts = Texts(tokenizer)
    asked = [{"role": "user", "content": "a cat"}]
    (ids,) = texts.prompt_ids([asked])
    rendered = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert ids.tolist() == tokenizer(rendered, add_special_tokens=False)["input_ids"]
    assert texts.content(asked, made(tokenizer, " sees fish")) == [{"role": "assistant", "content": " sees fish"}]
    tokenizer.chat_template = None
    with pytest.raises(AssentError, match="prompt 0 holds messages, and the tokenizer has no chat template"):
        Texts(tokenizer).prompt_ids([asked])


def test_every_end_of_the_model_ends_a_completion() -> None:
    tokenizer = small_tokenizer()
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=[2, 7]))
    assert Texts(tokenizer, model).end == {2, 7} and Texts(tokenizer).end == {2}
    assert Texts(tokenizer, SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=5))).end == {2, 5}


def test_a_logged_completion_is_tokenised_with_its_prompt_or_alone_where_a_token_crosses_the_border() -> None:
    tokenizer = small_tokenizer()
    texts = Texts(tokenizer)
    (ids,) = texts.prompt_ids(["a cat"])
    found = texts.logged_ids("a cat", ids, " sees fish", 64)
    assert tokenizer.convert_ids_to_tokens(found.tolist()) == ["Ġsees", "Ġfish", tokenizer.eos_token]
    assert texts.logged_ids("a cat", ids, " sees fish", 2).tolist() == found[:2].tolist()
    assert texts.logged_ids("a cat", ids[1:], " sees fish", 64).tolist() == found.tolist(), "a prompt that was cut"
    (half,) = texts.prompt_ids(["a c"])
    alone = texts.logged_ids("a c", half, "at", 64)
    assert alone.tolist() == [*tokenizer("at", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    tokenizer.chat_template = CHATML
    asked = [{"role": "user", "content": "a cat"}]
    texts = Texts(tokenizer)
    (ids,) = texts.prompt_ids([asked])
    reply = texts.logged_ids(asked, ids, " sees fish", 64)
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": " sees fish"}], tokenize=False)
    told = tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert [*ids, *reply] == told[: len(ids) + len(reply)] and len(told) - len(ids) - len(reply) <= 1
