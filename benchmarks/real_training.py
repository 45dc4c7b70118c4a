"""A small language model from scratch on real answers, then DPO and LCPO on real judgements, clean and 30 % flipped.

    python benchmarks/real_training.py --out runs/real_training [--data ../shared/data] [--seed 0]

Needs ``alpaca_eval_judgements.parquet`` in --data; says so and stops with exit code 0 where it is absent.  Prompts are
split into training and held-out ones before anything is trained; the tokenizer and the language model see answers to
training prompts only.  Accuracy is that of held-out pairs against their unflipped labels.  Every run is an ordinary
``assent.train``; finished stages are not run again, so that a stopped benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCABULARY, CONTEXT = 2048, 1024
SIZES = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "num_attention_heads": 2}
LM_TOKENS = 1_000_000
MAX_CHARACTERS, HELD_OUT = 1200, 500
FLIPPED = 0.30
LABEL_BORDER = 0.4
SFT = {"learning_rate": 2e-3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
ALIGN = {"learning_rate": 1e-3, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 16}
COMMON = {"use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "max_length": CONTEXT, "logging_steps": 20}
METHODS = {
    "dpo": "dpo(beta=0.1)",
    "lcpo_online": "lcpo(dpo(beta=0.1))",
    "lcpo_crossfit": "lcpo(dpo(beta=0.1), reliability='crossfit')",
    "lcpo_audit": "lcpo(dpo(beta=0.1), reliability='audit:{audit}')",
}
"""lcpo_audit takes the reliabilities from the audit's text model on the same rows."""

RUNS = [("clean", "dpo"), ("flipped", "dpo"), ("flipped", "lcpo_online"), ("clean", "lcpo_online")]
RUNS += [("flipped", "lcpo_crossfit"), ("clean", "lcpo_crossfit"), ("flipped", "lcpo_audit"), ("clean", "lcpo_audit")]
"""All the size and learning-rate constants were fixed with dpo on clean labels alone, seed 0, 1,000 pairs."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lm-tokens", type=int, default=LM_TOKENS)
    parser.add_argument("--only", nargs="*", help="runs such as flipped/dpo; all unless given")
    options = parser.parse_args()
    source = options.data / "alpaca_eval_judgements.parquet"
    if not source.is_file():
        print(f"skipped: {source} is absent (real preference data are not part of the repository)", file=sys.stderr)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    facts = prepare(source, options)
    base = stage(options.out / "base.json", lambda: train_base(options))
    results = {}
    for noise, method in RUNS:
        name = f"{noise}/{method}"
        if not options.only or name in options.only:
            results[name] = stage(
                options.out / f"{noise}-{method}.json", lambda n=noise, m=method: align(n, m, options)
            )
            print(f"{name}: {json.dumps(results[name])}", file=sys.stderr, flush=True)
    overhead = stage(options.out / "overhead.json", lambda: measure_overhead(options))
    cost = stage(options.out / "crossfit_cost.json", lambda: measure_crossfit_cost(options))
    print(table(facts, base, results, overhead), file=sys.stderr)
    print(f"Cross-fitted over its base run: {cost['ratio']:.2f} x ({cost['pairs']} pairs, CPU time).", file=sys.stderr)
    found = {"schema": 1, "data": facts, "base": base, "runs": results, "overhead": overhead, "crossfit_cost": cost}
    print(json.dumps(found))
    return 0


def stage(path: Path, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of a stage: read where it was finished before, else run and kept."""
    if path.is_file():
        return json.loads(path.read_text())
    found = run()
    path.write_text(json.dumps(found, indent=1))
    return found


# ---- data -----------------------------------------------------------------------------------------------


def prepare(source: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write answers.jsonl, clean.jsonl, flipped.jsonl and held_out.jsonl; counts of what is in them."""
    pairs = _pairs(source)
    prompts = sorted({p["prompt"] for p in pairs})
    rng = random.Random(options.seed)
    rng.shuffle(prompts)
    rng.shuffle(pairs)
    count, train_prompts = 0, set()
    sizes: dict[str, int] = {}
    for pair in pairs:
        sizes[pair["prompt"]] = sizes.get(pair["prompt"], 0) + 1
    for prompt in prompts:
        if count >= options.pairs:
            break
        train_prompts.add(prompt)
        count += sizes[prompt]
    clean = [p for p in pairs if p["prompt"] in train_prompts][: options.pairs]
    held_out = [p for p in pairs if p["prompt"] not in train_prompts][:HELD_OUT]
    flipped = []
    for pair in clean:
        turn = rng.random() < FLIPPED
        sides = (pair["rejected"], pair["chosen"]) if turn else (pair["chosen"], pair["rejected"])
        flipped.append({**pair, "chosen": sides[0], "rejected": sides[1]})
    answers = _answers(clean, rng)
    for name, rows in (("clean", clean), ("flipped", flipped), ("held_out", held_out), ("answers", answers)):
        _write(options.out / f"{name}.jsonl", rows)
    longer = [len(p["chosen"]) > len(p["rejected"]) for p in held_out]
    return {
        "pairs": len(clean),
        "train_prompts": len(train_prompts),
        "held_out_pairs": len(held_out),
        "held_out_prompts": len({p["prompt"] for p in held_out}),
        "flipped": sum(a["chosen"] != b["chosen"] for a, b in zip(clean, flipped, strict=True)),
        "answers": len(answers),
        "longer_is_chosen": statistics.mean(longer),
    }


def _pairs(source: Path) -> list[dict[str, Any]]:
    """One pair with its first clear judgement for each (prompt, two answers), both sides short enough."""
    import pandas as pd

    frame = pd.read_parquet(source)
    frame = frame[(frame.p_b - 0.5).abs() > LABEL_BORDER]
    lengths = frame.prompt.str.len() + frame[["response_a", "response_b"]].map(len).max(axis=1)
    frame = frame[(lengths < MAX_CHARACTERS) & (frame.response_a != frame.response_b)]
    frame = frame[(frame.response_a != "") & (frame.response_b != "")]
    frame = frame.drop_duplicates(["prompt", "response_a", "response_b"])
    rows = []
    for row in frame.itertuples():
        sides = (row.response_b, row.response_a) if row.p_b > 0.5 else (row.response_a, row.response_b)
        rows.append(
            {"prompt": row.prompt + "\n\n", "chosen": sides[0], "rejected": sides[1], "annotator": row.annotator}
        )
    return rows


def _answers(pairs: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Every distinct answer to a training prompt, in random order."""
    seen = {(p["prompt"], p[side]) for p in pairs for side in ("chosen", "rejected")}
    rows = [{"prompt": prompt, "completion": text} for prompt, text in sorted(seen)]
    rng.shuffle(rows)
    return rows


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


# ---- models ---------------------------------------------------------------------------------------------


def train_base(options: argparse.Namespace) -> dict[str, Any]:
    """The tokenizer and the language model, from nothing, by ``assent.train`` with sft."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import assent

    answers = _read(options.out / "answers.jsonl")
    tokenizer = _tokenizer(answers)
    kept, tokens = [], 0
    for row in answers:
        tokens += len(tokenizer(row["prompt"] + row["completion"])["input_ids"]) + 1
        if tokens > options.lm_tokens:
            break
        kept.append(row)
    _write(options.out / "lm.jsonl", kept)
    torch.manual_seed(options.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=CONTEXT, tie_word_embeddings=True, bos_token_id=0,
        eos_token_id=1, pad_token_id=1, initializer_range=0.05, **SIZES,
    )  # fmt: skip
    folder = options.out / "scratch"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    found = assent.train(
        str(folder), str(options.out / "lm.jsonl"), "sft(per='batch_token')", options.out / "base", seed=options.seed,
        **COMMON, **SFT,
    )  # fmt: skip
    return {
        "parameters": found.model.num_parameters(),
        "tokens": min(tokens, options.lm_tokens),
        "rows": found.rows,
        "steps": found.steps,
        "last_loss_nats_per_token": found.metrics["loss"],
        "seconds": round(found.seconds, 1),
    }


def _tokenizer(answers: list[dict[str, Any]]) -> Any:
    """Byte-pair tokens learned on the training prompts' answers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    core.train_from_iterator((row["completion"] for row in answers), trainer)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def align(noise: str, method: str, options: argparse.Namespace) -> dict[str, Any]:
    """One run; accuracy of held-out pairs against their unflipped labels."""
    import shutil

    import assent

    folder = options.out / f"{noise}-{method}"
    shutil.rmtree(folder, ignore_errors=True)
    started, spent = time.time(), time.process_time()
    data, audit = str(options.out / f"{noise}.jsonl"), options.out / f"{noise}-audit"
    if method == "lcpo_audit":
        assent.audit(data, out=audit)
    found = assent.train(
        str(options.out / "base"), data, METHODS[method].format(audit=audit), folder, seed=options.seed,
        eval_data=str(options.out / "held_out.jsonl"), **COMMON, **ALIGN,
    )  # fmt: skip
    return {
        "accuracy": found.evaluation["eval_rewards/accuracies"],
        "pairs": len(found.trainer.eval_dataset),
        "margin": found.evaluation["eval_rewards/margins"],
        "train_accuracy": found.metrics.get("rewards/accuracies"),
        "noise_rate": found.metrics.get("lcpo/noise_rate"),
        "reliability": found.reliability,
        "steps": found.steps,
        "alarms": list(found.alarms),
        "seconds": round(time.time() - started, 1),
        "cpu_seconds": round(time.process_time() - spent, 1),
    }


# ---- overhead -------------------------------------------------------------------------------------------


def measure_overhead(options: argparse.Namespace, steps: int = 16) -> dict[str, Any]:
    """CPU time of LCPO's training steps over DPO's, on the same rows in turn; medians over the steps."""
    trainers = {name: _timed_trainer(METHODS[name], options) for name in ("dpo", "lcpo_online")}
    spent: dict[str, list[float]] = {name: [] for name in trainers}
    batches = list(next(iter(trainers.values())).step_sampler())[: steps + 2]
    for number, rows in enumerate(batches):
        order = list(trainers) if number % 2 else list(trainers)[::-1]
        for name in order:
            trainer = trainers[name]
            batch = trainer.data_collator(trainer.train_dataset.__getitems__(rows))
            started = time.process_time()
            trainer.training_step(trainer.model, batch)
            trainer.optimizer.step()
            trainer.optimizer.zero_grad()
            trainer.update_state()
            if number >= 2:
                spent[name].append(time.process_time() - started)
    ratios = [b / a for a, b in zip(spent["dpo"], spent["lcpo_online"], strict=True)]
    return {
        "steps": steps,
        "dpo_seconds_per_step": statistics.median(spent["dpo"]),
        "lcpo_seconds_per_step": statistics.median(spent["lcpo_online"]),
        "overhead": statistics.median(ratios) - 1,
        "overhead_standard_error": 1.2533 * statistics.stdev(ratios) / len(ratios) ** 0.5,
    }


def measure_crossfit_cost(options: argparse.Namespace, pairs: int = 600) -> dict[str, Any]:
    """CPU time of a whole cross-fitted run over that of its base run, on the first pairs, without evaluation."""
    import shutil

    import assent

    data, folder = options.out / "cost.jsonl", options.out / "cost"
    _write(data, _read(options.out / "clean.jsonl")[:pairs])
    spent = {}
    for name, more in (("warm-up", {"max_steps": 1}), ("dpo", {}), ("lcpo_crossfit", {})):
        shutil.rmtree(folder, ignore_errors=True)
        objective = METHODS.get(name, METHODS["dpo"])
        if "lcpo" not in objective:
            more = {**more, "reference_logp": "memory"}  # nothing from the cache; cross-fitting does as much by itself
        started = time.process_time()
        assent.train(
            str(options.out / "base"), str(data), objective, folder, seed=options.seed, **COMMON, **ALIGN, **more
        )
        spent[name] = time.process_time() - started
    return {
        "pairs": pairs,
        "dpo_cpu_seconds": round(spent["dpo"], 1),
        "lcpo_crossfit_cpu_seconds": round(spent["lcpo_crossfit"], 1),
        "ratio": spent["lcpo_crossfit"] / spent["dpo"],
    }


def _timed_trainer(expression: str, options: argparse.Namespace) -> Any:
    """The trainer of a real run, made ready to step by hand, with recorder and alarms as in every run."""
    from assent.objectives import parse
    from assent.training.arguments import resolve
    from assent.training.interrupt import Interrupt
    from assent.training.policy import make
    from assent.training.prepare import prepare as prepare_rows
    from assent.training.run import build

    objective = parse(expression)
    arguments = {"model": str(options.out / "base"), "data": str(options.out / "clean.jsonl"), **COMMON, **ALIGN}
    folder = options.out / "overhead"
    settings, training = resolve(arguments, objective, str(folder))
    prepared = prepare_rows(settings, objective, training.seed, None)
    policy = make(settings, training, objective, prepared.tokenizer, prepared.all_rows)
    trainer, _ = build(policy, prepared, objective, training, Interrupt(), folder)
    trainer.create_optimizer()
    return trainer


def table(facts: dict[str, Any], base: dict[str, Any], results: dict[str, Any], overhead: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"{facts['pairs']} pairs of {facts['train_prompts']} prompts, {facts['flipped']} labels flipped in `flipped`; "
        f"{facts['held_out_pairs']} held-out pairs of {facts['held_out_prompts']} other prompts, where the longer answer is "
        f"the chosen one in {facts['longer_is_chosen']:.3f}.",
        f"Language model: {base['parameters']:,} parameters, {base['tokens']:,} tokens, "
        f"{base['last_loss_nats_per_token']:.2f} nats a token at the end, {base['seconds']:.0f} s.",
        "",
        "| labels | method | held-out accuracy | s.e. | training accuracy | noise rate told | s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, r in results.items():
        noise, method = name.split("/")
        error = (r["accuracy"] * (1 - r["accuracy"]) / r["pairs"]) ** 0.5
        told = "" if r["noise_rate"] is None else f"{r['noise_rate']:.3f}"
        lines.append(
            f"| {noise} | {method} | {r['accuracy']:.3f} | {error:.3f} | {r['train_accuracy']:.3f} | {told} | "
            f"{r['seconds']:.0f} |"
        )
    lines += [
        "",
        f"LCPO online over DPO, per step: {overhead['overhead']:+.2%} (s.e. {overhead['overhead_standard_error']:.2%}; "
        f"{overhead['lcpo_seconds_per_step']:.3f} against {overhead['dpo_seconds_per_step']:.3f} s of CPU, median of "
        f"{overhead['steps']} steps on the same rows in turn).",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
