"""Arguments: one reader for words, YAML and Python; defaults by kind of run; nothing unread."""

from __future__ import annotations

from pathlib import Path

import pytest

from assent import parse
from assent.errors import AssentError
from assent.training.arguments import DEFAULTS, NOT_READ, coerce, read_config, read_options, resolve, training_fields


def test_words_are_typed_by_their_field() -> None:
    text = (
        "--learning-rate 1e-5 --bf16 --logging-steps=5 --lora_target_modules q_proj v_proj --max-steps -1 "
        "--columns a=b --columns c=d --eval-fraction .1 --no-such="
    )
    words = text.split()
    with pytest.raises(AssentError, match="no argument 'no_such'"):
        read_options(words)
    found = read_options(words[:-1])
    assert found == {
        "learning_rate": 1e-5, "bf16": True, "logging_steps": 5.0, "lora_target_modules": ["q_proj", "v_proj"],
        "max_steps": -1, "columns": ["a=b", "c=d"], "eval_fraction": 0.1,
    }  # fmt: skip
    with pytest.raises(AssentError, match="'stray' without a name"):
        read_options(["stray", "--bf16"])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", "1.5", "--seed: invalid int value: '1.5'"),
        ("bf16", "maybe", "--bf16: .*maybe"),
        ("lora_r", ["1", "2"], "lora_r|unrecognized"),
        ("learning_rate", "", "--learning_rate: .*"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(name: str, value: object, words: str) -> None:
    with pytest.raises(AssentError, match=words):
        coerce({name: value})


def test_yaml_numbers_without_a_point_are_numbers(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "learning-rate: 1e-6\nlora_target_modules: [q_proj]\nfsdp_config: {a: 1}\nbf16: false\nmodel: m\n"
    )
    found = read_config(str(config))
    assert found["learning_rate"] == 1e-6 and found["lora_target_modules"] == ["q_proj"]
    assert found["bf16"] is False and found["model"] == "m"
    with pytest.raises(AssentError, match="cannot be read"):
        read_config(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("objective", "arguments", "rate"),
    [
        ("dpo()", {}, 1e-6), ("lcpo(simpo())", {"lora_r": 4}, 1e-5), ("sft()", {}, 2e-5),
        ("sft()", {"lora_r": 4}, 2e-4), ("dpo() + sft()", {}, 1e-6), ("dpo()", {"learning_rate": 0.5}, 0.5),
    ],
)  # fmt: skip
def test_the_learning_rate_suits_the_run(objective: str, arguments: dict, rate: float, tmp_path: Path) -> None:
    _, training = resolve({"use_cpu": True} | arguments, parse(objective), str(tmp_path))
    assert training.learning_rate == rate


def test_defaults_and_refusals_name_real_arguments_of_transformers(tmp_path: Path) -> None:
    known = training_fields()
    assert set(DEFAULTS) <= set(known)
    assert len(set(NOT_READ) & set(known)) > 15
    settings, training = resolve({"use_cpu": True, "eval_fraction": 0.1}, parse("dpo()"), str(tmp_path))
    assert training.report_to == [] and training.num_train_epochs == 1.0 and training.eval_strategy.value == "epoch"
    assert training.per_device_eval_batch_size == 8 and settings.max_length == 1024
    with pytest.raises(AssentError, match=r"train: .*load_best_model_at_end"):
        resolve({"use_cpu": True, "load_best_model_at_end": True}, parse("dpo()"), str(tmp_path))


def test_a_number_of_steps_says_that_steps_are_meant(tmp_path: Path) -> None:
    arguments = {"model": "m", "data": "d", "use_cpu": True}
    asked = resolve(arguments | {"save_steps": 5, "eval_steps": 3, "eval_data": "e"}, parse("dpo()"), str(tmp_path))[1]
    assert (asked.save_strategy, asked.save_steps, asked.eval_strategy, asked.eval_steps) == ("steps", 5, "steps", 3)
    told = resolve(arguments | {"save_steps": 5, "save_strategy": "epoch"}, parse("dpo()"), str(tmp_path))[1]
    plain = resolve(arguments | {"eval_data": "e"}, parse("dpo()"), str(tmp_path))[1]
    assert told.save_strategy == plain.save_strategy == plain.eval_strategy == "epoch"
