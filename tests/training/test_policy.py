from __future__ import annotations

import pytest
from small_run import small_model, small_tokenizer

from assent.errors import AssentError
from assent.training.arguments import Settings
from assent.training.policy import load, tokenizer_of


def test_a_model_in_memory_takes_the_lora_that_is_asked_for():
    loaded = load(Settings(model=small_model(), lora_r=2))
    assert loaded.stage == "fresh"
    # per layer: q 32-32, k 32-16, v 32-16, o 32-32, gate, up and down 32-48; two layers of rank 2
    assert loaded.trainable == 2 * 2 * (64 + 48 + 48 + 64 + 3 * 80)


@pytest.mark.parametrize(("name", "value"), [("dtype", "bfloat16"), ("adapter", "somewhere"), ("load_in_4bit", True)])
def test_options_of_loading_are_refused_for_a_model_in_memory(name, value):
    with pytest.raises(AssentError, match=f"{name} is read when a model is loaded"):
        load(Settings(model=small_model(), **{name: value}))


def test_a_model_in_memory_needs_its_tokenizer():
    with pytest.raises(AssentError, match="pass its tokenizer too"):
        tokenizer_of(Settings(model=small_model()))
    given = small_tokenizer()
    assert tokenizer_of(Settings(model=small_model(), tokenizer=given)) is given
