"""Part B: the small language model itself, trained by ``assent.train`` on 2,000 real pairs: 96 runs.

    python benchmarks/objectives_real/part_b.py --work runs/objectives --csv docs/results/objectives_b.csv

Eight objectives, labels as they are and 30 % flipped, three learning rates, two seeds.  The same command goes on after a
stop.  Measured on validation and held-out prompts with clean labels: share of pairs ranked rightly, by the objective's own
implicit reward and by the log-ratio to the reference; mean log-ratio gap; change of the chosen log-probability; KL.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import runs
import torch
from torch import Tensor

SEEDS, FLIPS, RATES = (100, 101), (0.0, 0.3), (3e-4, 1e-3, 3e-3)
OBJECTIVES = {
    "dpo": "dpo(beta=0.1)",
    "ipo": "ipo(tau=0.1)",
    "simpo": "simpo(beta=2.0, gamma=0.5)",
    "cdpo": "cdpo(beta=0.1, eps={eps})",
    "rdpo": "rdpo(beta=0.1, eps={eps})",
    "lcpo(dpo)": "lcpo(dpo(beta=0.1))",
    "lcpo(ipo)": "lcpo(ipo(tau=0.1))",
    "lcpo(simpo)": "lcpo(simpo(beta=2.0, gamma=0.5))",
}
EPS = {0.0: 0.1, 0.3: 0.3}
"""What cdpo and rdpo are told: the share that was flipped, or their default where none was.  LCPO is told nothing."""

VALIDATION, PROMPTS, NEW_TOKENS = 300, 64, 48
KEY = ("objective", "flips", "rate", "seed")
COLUMNS = (
    *KEY, "validation_accuracy", "validation_ratio_accuracy", "accuracy", "ratio_accuracy", "margin", "chosen_change",
    "rejected_change", "kl", "train_loss", "noise_rate", "steps", "seconds", "cpu_seconds", "expression",
)  # fmt: skip


def main() -> int:
    parser = runs.arguments(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--limit", type=int, help="stop after so many runs")
    options = parser.parse_args()
    os.environ["ASSENT_CACHE"] = str((options.work / "part_b" / "cache").resolve())
    base = runs.language_model(options)
    if base is None:
        return 0
    train, validation, held_out = runs.splits(options.work)
    for flips, seed in itertools.product(FLIPS, options.seeds):
        path = train_file(options.work, flips, seed)
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in runs.flipped(train, flips, seed)))
    judge = Judge(base, {"validation": validation[:VALIDATION], "": held_out})
    table = runs.Table(options.csv, COLUMNS, KEY)
    grid = itertools.product(options.seeds, RATES[1:2] + RATES[:1] + RATES[2:], FLIPS, OBJECTIVES)
    tasks = [dict(zip(("seed", "rate", "flips", "objective"), cell, strict=True)) for cell in grid]
    left = [task for task in tasks if not table.has(task)][: options.limit]
    runs.each(left, lambda task: table.add([one(task, base, judge, options)]), "language model")
    return 0


def train_file(work: Path, flips: float, seed: int) -> Path:
    return work / "part_b" / f"train-{flips:g}-{seed}.jsonl"


def one(task: dict[str, Any], base: Path, judge: Judge, options: argparse.Namespace) -> dict[str, Any]:
    """One run of ``assent.train`` and what its policy is worth."""
    import assent

    started, spent = time.time(), time.process_time()
    expression = OBJECTIVES[task["objective"]].format(eps=EPS[task["flips"]])
    folder = options.work / "part_b" / "run"
    shutil.rmtree(folder, ignore_errors=True)
    with open(options.work / "part_b" / "log.txt", "a") as log, contextlib.redirect_stderr(log):
        found = assent.train(
            str(base), str(train_file(options.work, task["flips"], task["seed"])), expression, folder,
            seed=task["seed"], learning_rate=task["rate"], per_device_train_batch_size=8,
            gradient_accumulation_steps=4, max_length=runs.real_training.CONTEXT, use_cpu=True, disable_tqdm=True,
            save_strategy="no", logging_steps=20,
        )  # fmt: skip
    return task | judge(found.model, found.objective) | {
        "train_loss": found.metrics["loss"],
        "noise_rate": found.metrics.get("lcpo/noise_rate"),
        "steps": found.steps,
        "seconds": round(time.time() - started, 1),
        "cpu_seconds": round(time.process_time() - spent, 1),
        "expression": expression,
    }  # fmt: skip


class Judge:
    """Scores policies on validation and held-out pairs; what the reference says of them is computed once."""

    def __init__(self, base: Path, pairs: dict[str, list[dict[str, Any]]]) -> None:
        from assent.data.reading import read
        from assent.data.tokens import tokenise
        from assent.scoring.loading import load_policy, load_tokenizer

        self.tokenizer = load_tokenizer(base)
        self.reference = load_policy(base).model.eval()
        self.rows = {
            name: tokenise(read(rows), self.tokenizer, max_length=runs.real_training.CONTEXT)
            for name, rows in pairs.items()
        }
        self.start = {name: self._scores(self.reference, name) for name in pairs}
        prompts = sorted({pair["prompt"] for pair in pairs[""]})[:PROMPTS]
        self.prompts = self.tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")

    def __call__(self, model: Any, objective: Any) -> dict[str, float]:
        """Accuracies of both splits; margin, changes and KL of the held-out one."""
        found: dict[str, float] = {}
        for name in self.rows:
            prefix = f"{name}_" if name else ""
            scores, start = self._scores(model, name), self.start[name]
            chosen = replace(scores.chosen, ref_logp=start.chosen.logp)
            rejected = replace(scores.rejected, ref_logp=start.rejected.logp)
            scores = replace(scores, chosen=chosen, rejected=rejected)
            right, wrong = objective.rewards(scores)
            found[f"{prefix}accuracy"] = share(right - wrong)
            found[f"{prefix}ratio_accuracy"] = share(scores.log_ratio_gap)
        found["margin"] = scores.log_ratio_gap.mean().item()
        found["chosen_change"] = scores.chosen.per_token(scores.chosen.log_ratio).mean().item()
        found["rejected_change"] = scores.rejected.per_token(scores.rejected.log_ratio).mean().item()
        return found | {"kl": self.divergence(model)}

    @torch.no_grad()
    def _scores(self, model: Any, name: str, batch: int = 32) -> Any:
        """Log-probabilities of all pairs of a split, as one PairScores."""
        from assent.scores import PairScores, Scores
        from assent.scoring.causal_lm import CausalLMScorer
        from assent.scoring.engine import prepare_all

        trees = not prepare_all(model.eval())
        rows, scorer = self.rows[name].rows, CausalLMScorer(model, None, self.rows[name].pad_id, trees)
        parts = [scorer.scores(rows[i : i + batch]) for i in range(0, len(rows), batch)]
        sides = [
            Scores(
                torch.cat([getattr(p, side).logp for p in parts]),
                length=torch.cat([torch.as_tensor(getattr(p, side).length) for p in parts]),
            )
            for side in ("chosen", "rejected")
        ]
        return PairScores(*sides)

    @torch.no_grad()
    def divergence(self, model: Any) -> float:
        """KL(policy || reference), nats per token: exact next-token KL, mean over the policy's own sampled prefixes."""
        torch.manual_seed(runs.MODEL_SEED)
        prompt = self.prompts["input_ids"].shape[1]
        drawn = model.generate(
            **{k: self.prompts[k] for k in ("input_ids", "attention_mask")}, do_sample=True, top_k=0,
            max_new_tokens=NEW_TOKENS,
        )  # fmt: skip
        new = drawn[:, prompt:]
        ended = (new == self.tokenizer.eos_token_id).cumsum(1)
        counted = (ended - (new == self.tokenizer.eos_token_id).long()) == 0  # up to the end token, itself included
        mask = torch.cat([self.prompts["attention_mask"], counted.long()], 1)
        places = (mask.cumsum(1) - 1).clamp_min(0)
        policy, reference = (self._next_token(m, drawn, mask, places, new.shape[1]) for m in (model, self.reference))
        each = (policy.exp() * (policy - reference)).sum(-1)
        return (each[counted].sum() / counted.sum()).item()

    @staticmethod
    def _next_token(model: Any, ids: Tensor, mask: Tensor, places: Tensor, keep: int) -> Tensor:
        logits = model(
            input_ids=ids[:, :-1], attention_mask=mask[:, :-1], position_ids=places[:, :-1], use_cache=False,
            logits_to_keep=keep,
        ).logits  # fmt: skip
        return torch.log_softmax(logits.float(), -1)


def share(gap: Tensor) -> float:
    """Share of positive gaps; ties count half."""
    return ((gap > 0).double() + 0.5 * (gap == 0).double()).mean().item()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
