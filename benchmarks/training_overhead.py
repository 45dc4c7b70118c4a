"""What LCPO costs over its base objective, per optimiser step: CPU time, steps of both interleaved.

python benchmarks/training_overhead.py [--steps 60] [--rows 8] [--length 128]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from assent.data.tokens import TokenPair, TokenSequence
from assent.objectives import combine, parse, partial_sums
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.reference import SecondModel
from assent.training.alarms import Alarms
from assent.training.batches import identity
from assent.training.gather import leaves, with_leaves
from assent.training.recorder import Recorder
from assent.training.trainer import PreferenceTrainer

OBJECTIVES = ("dpo()", "lcpo(dpo())", "lcpo(dpo(), reliability=0.8)", "simpo()", "lcpo(simpo())")
VOCABULARY = 4096


def model() -> LlamaForCausalLM:
    """About 2M parameters, as the model of the real-data results."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=160, intermediate_size=432, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=1024, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def rows(count: int, length: int) -> list[TokenPair]:
    rng, out = np.random.default_rng(0), []
    for i in range(count):
        prompt = rng.integers(4, VOCABULARY, length // 4)
        sides = []
        for _ in range(2):
            ids = np.concatenate([prompt, rng.integers(4, VOCABULARY, rng.integers(length // 2, length))]).astype(
                np.int32
            )
            sides.append(TokenSequence(ids, len(prompt), np.arange(len(ids)) >= len(prompt)))
        out.append(TokenPair(*sides, 1.0, 1.0, ((i % 6, 1.0, 1.0, False),), {}, i))
    return out


def trainer_of(text: str, data: list[TokenPair], folder: Path, batch: int) -> PreferenceTrainer:
    policy, arguments = model(), {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    args = TrainingArguments(output_dir=str(folder), per_device_train_batch_size=batch, learning_rate=1e-5, **arguments)
    objective = parse(text)
    scorer = CausalLMScorer(policy, SecondModel(model()) if "dpo" in text else None)
    trainer = PreferenceTrainer(
        policy, args, data, scorer=scorer, objective=objective, annotators=tuple("abcdef"), eval_rows=None
    )
    trainer.observers = [Recorder(folder, trainer), Alarms(folder, trainer)]
    trainer.create_optimizer()
    trainer.optimizer = trainer.accelerator.prepare(trainer.optimizer)
    return trainer


def step(trainer: PreferenceTrainer, batch: list[TokenPair]) -> float:
    """CPU seconds of one whole step: scores, loss, gradient, optimiser, the objective's state."""
    batch = identity(batch)
    start = time.process_time()
    trainer.training_step(trainer.model, batch)
    trainer.optimizer.step()
    trainer.update_state()
    trainer.optimizer.zero_grad()
    return time.process_time() - start


def own_work(trainer: PreferenceTrainer, batch: list[TokenPair], repeats: int) -> float:
    """CPU seconds a step of what is not the model's: loss and its gradient on the scores, statistics, metrics, tables."""
    with torch.no_grad():
        scores = trainer.scorer.scores(batch, trainer.objective.needs)
    taken = []
    for _ in range(repeats):
        fresh = with_leaves(scores, leaves(scores))
        start = time.process_time()
        loss = combine(partial_sums(trainer.objective, fresh, trainer.objective_state))
        loss.backward()
        trainer._sums = trainer.objective.sums(fresh, trainer.objective_state)
        trainer._observe(batch, fresh)
        trainer.update_state()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = rows(given.rows * 8, given.length)
    with tempfile.TemporaryDirectory() as folder:
        trainers = {t: trainer_of(t, data, Path(folder) / str(i), given.rows) for i, t in enumerate(OBJECTIVES)}
        times: dict[str, list[float]] = {t: [] for t in OBJECTIVES}
        for number in range(given.steps + 3):
            batch = data[given.rows * (number % 8) :][: given.rows]
            names = list(OBJECTIVES)[:: 1 if number % 2 else -1]
            for name in names:
                seconds = step(trainers[name], batch)
                if number >= 3:
                    times[name].append(seconds)
        own = {t: own_work(trainers[t], data[: given.rows], 200) for t in OBJECTIVES}
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model().parameters()), "steps": given.steps}
    for name, base in ((n, "simpo()" if "simpo" in n else "dpo()") for n in OBJECTIVES):
        ratio = statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))
        found[name] = {
            "ms_per_step": round(1e3 * statistics.median(times[name]), 2), "over_base": round(ratio - 1, 4),
            "own_ms_per_step": round(1e3 * own[name], 3),
            "own_over_base_step": round((own[name] - own[base]) / statistics.median(times[base]), 5),
        }  # fmt: skip
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
