"""``assent eval`` on reward models: the figures of the run that trained them, of the judge they are, and by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from assent import AssentError, train
from assent.cli import main
from assent.evaluation import evaluate
from assent.evaluation.ranking import default_objective
from assent.judges import reward_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import pair_dicts, save_small_model, write_jsonl

QUICK = {"per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True, "max_length": 64, "learning_rate": 1e-2,
         "warmup_steps": 0, "num_train_epochs": 2}  # fmt: skip
HELD_OUT = [row | {"p_chosen": 0.8} if i % 5 == 0 else row for i, row in enumerate(pair_dicts(24, seed=1))]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    save_small_model(folder / "model")
    write_jsonl(folder / "pairs.jsonl", pair_dicts(48))
    write_jsonl(folder / "held_out.jsonl", HELD_OUT)
    return folder


def trained(files: Path, out: Path, **arguments):
    asked = QUICK | {"eval_data": str(files / "held_out.jsonl")} | arguments
    return train(str(files / "model"), str(files / "pairs.jsonl"), "bradley_terry()", out, **asked)


@pytest.mark.parametrize("adapter", [{}, {"lora_r": 4}])
def test_the_figures_are_those_of_the_run_and_of_the_judge(adapter: dict, files: Path, tmp_path: Path, capsys) -> None:
    told = trained(files, tmp_path / "rm", **adapter).evaluation
    found = evaluate(tmp_path / "rm", str(files / "held_out.jsonl"), max_length=64, batch_size=5)
    assert found.objective == "bradley_terry()" and found.pairs == 24
    assert found.loss == pytest.approx(told["eval_loss"], abs=1e-5)
    assert found.margin == pytest.approx(told["eval_rewards/margins"], abs=1e-5)
    judge = reward_model(str(tmp_path / "rm"), batch_size=7)
    prompts = [row["prompt"] for row in HELD_OUT]
    chosen, rejected = (judge.score(prompts, [row[side] for row in HELD_OUT]) for side in ("chosen", "rejected"))
    assert found.margin == pytest.approx((chosen - rejected).mean(), abs=1e-5)
    assert (found.chosen_reward, found.rejected_reward) == pytest.approx((chosen.mean(), rejected.mean()), abs=1e-5)
    stated = 1 / (1 + np.exp(-np.abs(chosen - rejected)))
    target = np.array([row.get("p_chosen", 1.0) for row in HELD_OUT])
    seen = np.where(chosen > rejected, target, 1 - target)
    assert told["eval_rewards/accuracies"] == pytest.approx((chosen > rejected).mean(), abs=1e-6)
    assert found.accuracy == pytest.approx(seen.mean(), abs=1e-6), "a soft label counts its share"
    place = np.minimum((20 * (stated - 0.5)).astype(int), 9)
    gaps = [(stated[place == k] - seen[place == k]).sum() / 24 for k in range(10)]
    assert found.calibration_error == pytest.approx(np.abs(gaps).sum(), abs=1e-4)
    assert found.overconfidence == pytest.approx(sum(gaps), abs=1e-4)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["eval", "--model", str(tmp_path / "rm"), "--data", str(files / "held_out.jsonl")])
    table = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert table["accuracy"] == f"{found.accuracy:.4f}" and "chosen_logp" not in table and "calibration_error" in table


def test_what_a_reward_model_is_not_is_refused(files: Path, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    with pytest.raises(AssentError, match="without a trained reward head; train one with bradley_terry"):
        evaluate(files / "model", HELD_OUT, objective="bradley_terry()")
    with pytest.raises(AssentError, match="reads no reference"):
        evaluate(files / "model", HELD_OUT, objective="bradley_terry()", reference=files / "model")
    config = LlamaConfig(vocab_size=60, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                         num_labels=3, pad_token_id=0)  # fmt: skip
    torch.manual_seed(0)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "three")
    (tmp_path / "three" / "tokenizer.json").write_text((files / "model" / "tokenizer.json").read_text())
    told = json.loads((files / "model" / "tokenizer_config.json").read_text())
    (tmp_path / "three" / "tokenizer_config.json").write_text(json.dumps(told))
    assert default_objective(files / "model") == "dpo()" and default_objective(tmp_path / "three") == "bradley_terry()"
    with pytest.raises(AssentError, match="is a classifier with 3 outputs; expected a reward model"):
        evaluate(tmp_path / "three", HELD_OUT)
    with pytest.raises(AssentError, match="is a reward model, which gives no log-probabilities"):
        evaluate(tmp_path / "three", HELD_OUT, objective="simpo()")
