"""Methods that make their own data, on the embedded world: ``python benchmarks/online_methods.py OUT [SEED ...]``.

Every method starts from the world's reference, draws and has scored as many completions (3,072 by the true reward, whose
P(a is better) is sigmoid of the gap), and takes as many optimiser steps.  RSO scores 16 completions of a prompt and keeps 4, so
that it sees a quarter of the prompts; EGPO samples anew for each of its 96 half and whole steps, so that it makes 48 updates of
smaller batches; offline DPO has everything scored before it begins.  Policies are compared by true reward at the largest KL
that all of them reached.  Needs no GPU; a seed takes about a minute.  Default seeds: 100 101 102.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from assent import train
from assent.evaluation import frontier
from assent.evaluation.measure import Judge
from assent.judges import ScalarJudge
from assent.worlds import embedded, language
from assent.worlds.embedded import World

PROMPTS, SAMPLES, ROUNDS, EPOCHS, BATCH, STEPS = 256, 4, 3, 4, 32, 96
COMMON = {
    "max_length": 64, "per_device_train_batch_size": BATCH, "learning_rate": 3e-4, "warmup_steps": 0,
    "lr_scheduler_type": "constant", "disable_tqdm": True, "use_cpu": True,
}  # fmt: skip
ROUND = {
    "source": "iterative", "rounds": ROUNDS, "round_prompts": PROMPTS, "samples": SAMPLES,
    "max_new_tokens": language.LONGEST, "num_train_epochs": EPOCHS,
}  # fmt: skip
STEPWISE = {
    "source": "online", "update": "extragradient", "rounds": STEPS, "round_prompts": 16, "samples": 2,
    "max_new_tokens": language.LONGEST, "per_device_train_batch_size": 16, "learning_rate": 1e-3, "save_steps": 16,
}  # fmt: skip
PREVIOUS = {"round_reference": "previous"}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "offline DPO": ("dpo(beta=0.1)", {"num_train_epochs": EPOCHS}),
    "online DPO": ("dpo(beta=0.1)", ROUND),
    "online IPO": ("ipo(tau=0.05)", ROUND),
    "SPPO": ("sppo_soft(beta=0.05)", ROUND | PREVIOUS),
    "INPO": ("inpo(eta=0.1, tau=0.0333)", ROUND | PREVIOUS),
    "EGPO": ("ipo_soft(tau=0.05, per='sequence')", STEPWISE),
    "RSO": ("dpo(beta=0.1)", ROUND | {"round_prompts": PROMPTS // 4, "samples": 16, "rejection": "4:0.5", "pairing": "disjoint",
                                     "num_train_epochs": 2 * EPOCHS}),
}  # fmt: skip
"""An objective, and where its rows come from; no source: the file that is judged before the run."""


def true_reward(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """The world's reward; prompts in files end with the blank that parts them from their completion."""
    reward = language.Reward()
    return [reward(p.strip(), c.strip()) for p, c in zip(prompts, completions, strict=True)]


def start(seed: int, out: Path) -> tuple[World, Judge, dict[str, Path]]:
    """The world of a seed, who measures policies, and its files: reference, prompts."""
    world = embedded.build(seed)
    files = world.write(out / "world")
    asked = sorted({pair.prompt for pair in world.pairs})
    prompts = out / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"{p} "}) + "\n" for p in asked))
    return world, Judge.of(world), {"model": files["model"], "prompts": prompts}


def offline(world: World, prompts: Path, judge: ScalarJudge, seed: int, path: Path) -> Path:
    """Best and worst of every four completions that the reference draws, three fours a prompt of a round; a file of pairs."""
    from assent.sampling import ModelGenerator, SamplingSettings, Texts
    from assent.sampling.judged import Counts, PairingRule, draft, judged

    asked = [json.loads(line)["prompt"] for line in prompts.read_text().splitlines()]
    asked = [asked[i % len(asked)] for i in range(ROUNDS * PROMPTS)]
    texts = Texts(world.tokenizer, world.reference)
    rows: list[dict[str, str]] = []
    for number in range(ROUNDS):
        some = asked[number * PROMPTS : (number + 1) * PROMPTS]
        sampling = SamplingSettings(max_new_tokens=language.LONGEST, seed=seed + 1000 * number)
        made = ModelGenerator(world.reference, texts.end).generate(texts.prompt_ids(some), SAMPLES, sampling)
        words = [texts.content(some[m.prompt], m) for m in made]
        groups = judged(judge, some, [words[i : i + SAMPLES] for i in range(0, len(words), SAMPLES)])
        draft(judge, groups, PairingRule(), seed, Counts())
        rows += [
            {"prompt": g.prompt, "chosen": g.texts[pair.chosen], "rejected": g.texts[pair.rejected]}
            for g in groups
            for pair in g.pairs
        ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def policies(run: Path) -> list[Path]:
    """Every policy that a run left, in the order of training: of rounds, and of steps within each."""
    found: list[Path] = []
    for place in [*sorted(run.glob("rounds/round-*/policy")), run]:
        steps = {int(m[1]): f for f in place.glob("checkpoint-*") if (m := re.fullmatch(r"checkpoint-(\d+)", f.name))}
        found += [steps[step] for step in sorted(steps)]
    return found


def curve(run: Path, measure: Judge) -> list[dict[str, float]]:
    """Divergence and true reward along a run, from the reference on."""
    from transformers import AutoModelForCausalLM

    models = (AutoModelForCausalLM.from_pretrained(place).eval() for place in policies(run))
    return [measure.start(), *(measure(model) for model in models)]


def methods(seed: int, out: Path) -> dict[str, list[dict[str, float]]]:
    """The curve of every method in a seed's world; what lies in its file is not run again."""
    world, measure, files = start(seed, out)
    judge = ScalarJudge(true_reward, "true reward")
    found: dict[str, list[dict[str, float]]] = {}
    for name, (objective, how) in METHODS.items():
        file = out / f"{name}.json"
        if not file.exists():
            asked = COMMON | how | {"seed": seed}
            data = files["prompts"]
            if "source" in how:
                asked["judge"] = judge
            else:
                data = offline(world, data, judge, seed, out / "offline.jsonl")
            train(str(files["model"]), str(data), objective, out / name, **asked)
            file.write_text(json.dumps(curve(out / name, measure)))
        found[name] = json.loads(file.read_text())
    return found


def main() -> None:
    out = Path(sys.argv[1])
    seeds = [int(seed) for seed in sys.argv[2:]] or [100, 101, 102]
    torch.set_num_threads(1)
    results = {seed: methods(seed, out / str(seed)) for seed in seeds}
    print(
        "| method | objective | " + " | ".join(map(str, seeds)) + " | mean (s.e.) | reward at the end | KL at the end |"
    )
    print("|---" * (len(seeds) + 5) + "|")
    kl = {seed: frontier.common_kl(found) for seed, found in results.items()}
    for name, (objective, _) in METHODS.items():
        values = [frontier.at_kl(found[name], kl[seed], "true_reward") for seed, found in results.items()]
        ends = [fmean(found[name][-1][key] for found in results.values()) for key in ("true_reward", "kl")]
        shown = " | ".join(f"{value:.2f}" for value in values)
        error = frontier.standard_error(values)
        print(
            f"| {name} | `{objective}` | {shown} | {fmean(values):.2f} ({error:.2f}) | {ends[0]:.2f} | {ends[1]:.2f} |"
        )
    print("\nequal KL: " + ", ".join(f"{value:.2f}" for value in kl.values()) + " nats")


if __name__ == "__main__":
    main()
