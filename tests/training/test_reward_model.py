"""Reward models end to end: trained, saved as transformers loads them, resumed, cross-fitted, refused beside policies."""

from __future__ import annotations

import inspect
import json
import shutil
import warnings
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from small_run import largest_difference, pair_dicts, save_small_model, small_model, small_tokenizer, write_jsonl

from assent import AssentError, objectives, parse, train
from assent.reporting.objective_facts import SAMPLES
from assent.training.plan import plan
from assent.training.reward_run import check_reward

QUICK = {"per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True, "max_length": 64, "learning_rate": 1e-2,
         "warmup_steps": 0}  # fmt: skip
MIXED = "lcpo(bradley_terry()) + 0.5*mapl_intra(source='reward', beta=1.0)"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    save_small_model(folder / "model")
    write_jsonl(folder / "pairs.jsonl", pair_dicts(48))
    return folder


def run(files: Path, out: Path, text: str = "bradley_terry()", **arguments):
    given = QUICK | arguments
    return train(given.pop("model", str(files / "model")), str(files / "pairs.jsonl"), text, out, **given)


def scores_of(folder: Path, texts: list[str], model=None) -> torch.Tensor:
    """What a user of transformers sees: the directory's model and tokenizer on a padded batch of texts."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = model or AutoModelForSequenceClassification.from_pretrained(folder)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.no_grad():
        return model.eval()(**batch).logits[:, 0]


TEXTS = ["a cat sees well</s>", "the dog likes a small red bird</s>"]


def test_a_reward_model_learns_and_loads_in_transformers(files: Path, tmp_path: Path, capsys) -> None:
    result = run(files, tmp_path / "out", num_train_epochs=6, eval_fraction=0.25)
    said = capsys.readouterr().err
    assert "the reward head is fresh: 32 random weights" in said and "reads no reference" in said
    assert result.evaluation["eval_rewards/accuracies"] > 0.75
    assert result.metrics["rewards/margins"] > 1.0 and not any("logps" in name for name in result.metrics)
    assert result.evaluation["eval_loss"] < 0.6
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"] and config["pad_token_id"] == 0
    assert scores_of(tmp_path / "out", TEXTS)[0] > scores_of(tmp_path / "out", TEXTS)[1]
    again = scores_of(tmp_path / "out", TEXTS, model=result.model)
    torch.testing.assert_close(scores_of(tmp_path / "out", TEXTS), again)
    for text, score in zip(TEXTS, again, strict=True):
        torch.testing.assert_close(scores_of(tmp_path / "out", [text])[0], score, rtol=1e-4, atol=1e-5)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card and "| trained | a reward model, all " in card
    assert "scores of different prompts are not compared" in card and "head is fresh" in card
    more = run(files, tmp_path / "more", model=str(tmp_path / "out"), max_steps=1, learning_rate=0.0)
    assert "fresh" not in capsys.readouterr().err
    assert largest_difference(more.model, result.model) == 0, "a reward model starts from its own head"


def test_lcpo_with_prompts_views_end_to_end(files: Path, tmp_path: Path) -> None:
    result = run(files, tmp_path / "out", MIXED, num_train_epochs=4)
    assert set(result.reliability) == {"ann0", "ann1", "ann2"} and result.metrics["rewards/accuracies"] > 0.6
    assert 0 < result.metrics["lcpo/noise_rate"] < 0.5 and result.metrics["train_loss"] > 0
    plain = run(files, tmp_path / "plain", "lcpo(bradley_terry())", num_train_epochs=4)
    assert largest_difference(plain.model, result.model) > 1e-3, "the views' rewards have a gradient"
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "out" / "pairs-epoch-4.parquet").to_pydict()
    assert table["logp_chosen"] == [None] * len(table["pair"]) and None not in table["posterior"]


def test_cross_fitted_reward_models(files: Path, tmp_path: Path, capsys) -> None:
    result = run(files, tmp_path / "out", "lcpo(bradley_terry(), reliability='crossfit')")
    assert "cross-fitting: 2 folds" in capsys.readouterr().err
    found = json.loads((tmp_path / "out" / "crossfit" / "reliabilities.json").read_text())
    assert set(found["annotators"]) == {"ann0", "ann1", "ann2"} == set(result.reliability)
    assert (tmp_path / "out" / "crossfit" / "fold-1" / "config.json").is_file()


def test_micro_batches_change_nothing(files: Path, tmp_path: Path) -> None:
    exact = {"dtype": "float64", "max_steps": 3, "save_strategy": "no"}
    whole = run(files, tmp_path / "whole", MIXED, **exact)
    for name, cut in (("rows", {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}),
                      ("tokens", {"max_tokens_per_batch": 40})):  # fmt: skip
        assert largest_difference(run(files, tmp_path / name, MIXED, **exact | cut).model, whole.model) < 1e-12


def test_a_resumed_run_ends_with_the_same_weights(files: Path, tmp_path: Path) -> None:
    whole = run(files, tmp_path / "whole", MIXED, max_steps=4, save_strategy="steps", save_steps=2)
    run(files, tmp_path / "cut", MIXED, max_steps=4, save_strategy="steps", save_steps=2)
    for name in ("checkpoint-4", "model.safetensors"):
        path = tmp_path / "cut" / name
        path.unlink() if path.is_file() else shutil.rmtree(path)
    again = run(files, tmp_path / "cut", MIXED, max_steps=4, save_strategy="steps", save_steps=2, resume=True)
    assert largest_difference(whole.model, again.model) == 0 and again.steps == 4


def test_an_adapter_with_its_head(files: Path, tmp_path: Path) -> None:
    from peft import AutoPeftModelForSequenceClassification

    result = run(files, tmp_path / "out", lora_r=4, num_train_epochs=3)
    assert result.metrics["rewards/accuracies"] > 0.6
    with warnings.catch_warnings():  # peft reads a name that transformers will drop
        warnings.simplefilter("ignore", FutureWarning)
        loaded = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "out", num_labels=1)
    loaded.config.pad_token_id = 0
    expected = scores_of(tmp_path / "out", TEXTS, model=result.model)
    torch.testing.assert_close(scores_of(tmp_path / "out", TEXTS, model=loaded), expected)
    on = run(files, tmp_path / "on", model=str(tmp_path / "out"), max_steps=1, learning_rate=0.0)
    torch.testing.assert_close(scores_of(tmp_path / "out", TEXTS, model=on.model), expected)
    merged = run(files, tmp_path / "merged", lora_r=4, num_train_epochs=3, merge=True)
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"] and merged.steps == result.steps
    torch.testing.assert_close(scores_of(tmp_path / "merged", TEXTS), expected, rtol=1e-4, atol=1e-4)


def test_models_in_memory(files: Path, tmp_path: Path) -> None:
    model = small_model()
    named = run(files, tmp_path / "a", max_steps=2)
    result = run(files, tmp_path / "b", model=model, tokenizer=small_tokenizer(), max_steps=2)
    assert type(model).__name__ == "LlamaForCausalLM" and model.config.num_labels == 2, "the given model stays as it is"
    assert result.metrics["train_loss"] == pytest.approx(named.metrics["train_loss"], abs=0.2)
    again = run(files, tmp_path / "c", model=result.model, tokenizer=small_tokenizer(), max_steps=1, learning_rate=0.0)
    assert largest_difference(again.model, result.model) == 0


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("bradley_terry() + dpo()", {}, r"dpo\(beta=0.1\) reads a policy's reference and bradley_terry\(\) the score"),
        ("dpo() + mapl_intra(source='reward')", {}, r"dpo\(beta=0.1\) reads a policy's reference and mapl_intra"),
        ("bradley_terry() + 0.1*cpo()", {}, r"cpo\(.*\) reads a policy's log-probabilities and bradley_terry"),
        ("bradley_terry() + 0.1*sft()", {}, r"sft\(.*\) reads a policy's .* and bradley_terry"),
        ("masked(bradley_terry(), 'differing')", {}, r"masked\(.*\) reads a policy's .* and bradley_terry"),
        ("bradley_terry()", {"reference": "start"}, "reads no reference"),
        ("bradley_terry()", {"source": "online", "judge": len}, "trains a reward model, which samples nothing"),
    ],
)
def test_policies_and_reward_models_have_runs_of_their_own(text, arguments, words, files, tmp_path) -> None:
    with pytest.raises(AssentError, match=words):
        run(files, tmp_path / "out", text, **arguments)
    assert not (tmp_path / "out").exists()


def test_no_wrapper_reads_log_probabilities_of_a_reward_model() -> None:
    seen = {}
    for name, cls in objectives().items():
        if "base" not in {f.name for f in fields(cls)}:
            continue
        needed = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
        try:
            check_reward(cls(**{**{f: SAMPLES[f] for f in needed}, "base": parse("bradley_terry()")}))
            seen[name] = True
        except AssentError as error:
            seen[name] = False
            assert "the score of a reward model" in str(error) or "reads no reference" in str(error)
    assert seen["lcpo"] and seen["smooth"] and seen["weighted"] and not seen["masked"] and not seen["policy_weighted"]


def test_plan_knows_policies_alone(files: Path) -> None:
    with pytest.raises(AssentError, match=r"bradley_terry\(\) trains a reward model, and plan knows policies"):
        plan(str(files / "model"), str(files / "pairs.jsonl"), "bradley_terry()")
    assert check_reward(parse("dpo() + sft()")) is None
