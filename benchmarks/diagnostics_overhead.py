"""What looking at itself costs a run: processor time in looks over that of everything else, in the same run.

python benchmarks/diagnostics_overhead.py [--rows 1000] [--held-out 200] [--length 128] [--cadence epoch|STEPS] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainingArguments

from assent.objectives import parse
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.reference import precompute
from assent.training.alarms import Alarms
from assent.training.diagnosing import Diagnosing
from assent.training.recorder import Recorder
from assent.training.trainer import PreferenceTrainer
from training_overhead import VOCABULARY, model, rows


def tokenizer() -> Any:
    """A word for each token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3} | {f"w{i}": i for i in range(4, VOCABULARY)}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


class Clock(Diagnosing):
    """Adds up the processor time of its looks."""

    spent = 0.0
    looks = 0

    def look(self, state: Any) -> None:
        start, before = time.process_time(), self._last()
        super().look(state)
        if self._last() != before:
            Clock.spent += time.process_time() - start
            Clock.looks += 1

    def _last(self) -> int | None:
        return self.file.lines[-1]["step"] if self.file.lines else None


def trainer_of(folder: Path, given: argparse.Namespace) -> PreferenceTrainer:
    data = rows(given.rows + given.held_out, given.length)
    train, held_out = data[: given.rows], data[given.rows :]
    policy, objective = model(), parse("lcpo(dpo())")
    steps = {} if given.cadence == "epoch" else {"eval_steps": int(given.cadence)}
    how = {"eval_strategy": "steps" if steps else "epoch", **steps}
    args = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=8, per_device_eval_batch_size=8, num_train_epochs=1,
        learning_rate=1e-5, report_to="none", use_cpu=True, disable_tqdm=True, save_strategy="no", seed=0, **how,
    )  # fmt: skip
    scorer = CausalLMScorer(policy, precompute(policy, data, pad_token_id=0), 0)
    trainer = PreferenceTrainer(
        policy, args, train, scorer=scorer, objective=objective, annotators=tuple("abcdef"), eval_rows=held_out,
        processing_class=tokenizer(),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    alarms = Alarms(folder, trainer)
    for watcher in (Recorder(folder, trainer), alarms):
        trainer.observers.append(watcher)
        trainer.add_callback(watcher)
    trainer.add_callback(Clock(folder, trainer, alarms))
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--cadence", default="epoch")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(Path(folder), given)
        start = time.process_time()
        trainer.train()
        total = time.process_time() - start
    found = {
        "parameters": sum(p.numel() for p in trainer.model.parameters()), "steps": trainer.state.global_step,
        "looks": Clock.looks, "seconds_a_look": round(Clock.spent / Clock.looks, 3),
        "seconds_without": round(total - Clock.spent, 2), "over_without": round(Clock.spent / (total - Clock.spent), 4),
    }  # fmt: skip
    if given.json:
        print(json.dumps({"schema": 1, **found}))
        return
    for name, value in found.items():
        print(f"{name:<16} {value}")


if __name__ == "__main__":
    main()
