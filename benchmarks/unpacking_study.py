"""Data, algorithm, reward model, prompts: the four levers of 2406.09279, end to end: ``unpacking_study.py OUT [SEED ...]``.

Everything runs through `assent.train` on the embedded world, policies and reward models starting from its reference model.
Levers, one at a time from the same base (clean labels, the reference's width for the reward model, the prompts of the pairs):
labels of the six annotators; DPO or PPO; a reward model of a quarter of the width; PPO on twice the prompts, no more labels.
True rewards on held-out prompts are read at the largest KL that all arms of a seed reached.  What lies in OUT is not run again.
Needs no GPU; a seed takes about a minute.  Default seeds: 100 101 102.  The same study without a language model:
``assent reproduce unpacking``.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from assent import train
from assent.evaluation import frontier
from assent.evaluation.measure import Judge
from assent.records import Pair
from assent.worlds import embedded, language
from assent.worlds.embedded import World, WorldConfig

CONFIG = WorldConfig(pairs=3000, tests=128, samples=256)
SMALL = 16
"""Width of the small reward model; the reference has 64."""
COMMON = {
    "max_length": 64, "per_device_train_batch_size": 32, "learning_rate": 1e-3, "warmup_steps": 0, "disable_tqdm": True,
    "lr_scheduler_type": "constant", "use_cpu": True, "eval_strategy": "no",
}  # fmt: skip
REWARD = {"num_train_epochs": 4, "save_strategy": "no"}
DPO = {"num_train_epochs": 4, "save_strategy": "steps", "save_steps": 12}
PPO = {
    "source": "online", "rounds": 12, "round_prompts": 96, "samples": 4, "max_new_tokens": language.LONGEST,
    "per_device_train_batch_size": 8, "save_strategy": "epoch",
}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One run.  labels: "clean" or "panel".  judge: width of the reward model, None for DPO.  prompts: "pairs" or "more"."""

    labels: str = "clean"
    judge: int | None = CONFIG.width
    prompts: str = "pairs"


ARMS = {
    "DPO": Arm(judge=None), "DPO, panel": Arm("panel", None), "PPO": Arm(), "PPO, panel": Arm("panel"),
    "PPO, small reward model": Arm(judge=SMALL), "PPO, more prompts": Arm(prompts="more"),
}  # fmt: skip
LEVERS = {
    "data, DPO": ("DPO", "DPO, panel"), "data, PPO": ("PPO", "PPO, panel"), "algorithm": ("PPO", "DPO"),
    "algorithm, panel": ("PPO, panel", "DPO, panel"), "reward model": ("PPO", "PPO, small reward model"),
    "prompts": ("PPO, more prompts", "PPO"),
}  # fmt: skip


def start(seed: int, out: Path) -> tuple[World, dict[Any, Path]]:
    """The world of a seed and its files: models by width, pairs by labels, prompts by how many."""
    world = embedded.build(seed, CONFIG)
    small = embedded.build(seed, replace(CONFIG, width=SMALL, pairs=2, tests=2, samples=2))
    files: dict[Any, Path] = {
        CONFIG.width: world.write(out / "world")["model"],
        SMALL: small.write(out / "small")["model"],
    }
    asked = sorted({pair.prompt for pair in world.pairs})
    labelled = set(asked[::2])
    for name, pairs in (("clean", world.clean_pairs), ("panel", world.pairs)):
        files[name] = embedded.write_rows(
            first_labels([p for p in pairs if p.prompt in labelled]), out / f"{name}.jsonl"
        )
    for name, prompts in (("pairs", sorted(labelled)), ("more", asked)):
        files[f"{name} prompts"] = out / f"prompts, {name}.jsonl"
        files[f"{name} prompts"].write_text("".join(json.dumps({"prompt": f"{p} "}) + "\n" for p in prompts))
    return world, files


def first_labels(pairs: Sequence[Pair]) -> list[Pair]:
    """One label of each pair, its first, so that both kinds of labels are as many."""
    return [replace(pair, labels=pair.labels[:1]) for pair in pairs]


def reward_model(files: dict[Any, Path], out: Path, labels: str, width: int, seed: int) -> Path:
    """Trained once for all arms that read it; gives its directory."""
    place = out / f"reward model, {labels}, {width}"
    if not (place / "done").exists():
        found = train(
            str(files[width]), str(files[labels]), "bradley_terry()", place, **COMMON | REWARD | {"seed": seed}
        )
        (place / "done").write_text(f"{found.metrics['rewards/accuracies']}\n")
    return place


def run(arm: Arm, name: str, world: World, files: dict[Any, Path], out: Path) -> list[dict[str, float]]:
    """The arm's curve of KL and true reward, from the reference on."""
    from transformers import AutoModelForCausalLM

    file = out / f"{name}.json"
    if not file.exists():
        model, place, seed = str(files[CONFIG.width]), out / name, {"seed": world.seed}
        if arm.judge is None:
            train(model, str(files[arm.labels]), "dpo(beta=0.1)", place, **COMMON | DPO | seed)
        else:
            judge = f"reward:{reward_model(files, out, arm.labels, arm.judge, world.seed)}"
            prompts = str(files[f"{arm.prompts} prompts"])
            train(model, prompts, "ppo(beta=0.05)", place, judge=judge, **COMMON | PPO | seed)
        steps = {int(m[1]): f for f in place.glob("checkpoint-*") if (m := re.fullmatch(r"checkpoint-(\d+)", f.name))}
        measure = Judge.of(world)
        kept = (AutoModelForCausalLM.from_pretrained(steps[step]).eval() for step in sorted(steps))
        file.write_text(json.dumps([measure.start(), *(measure(policy) for policy in kept)]))
    return json.loads(file.read_text())


def main() -> None:
    out = Path(sys.argv[1])
    seeds = [int(seed) for seed in sys.argv[2:]] or [100, 101, 102]
    torch.set_num_threads(1)
    reward: dict[str, list[float]] = {name: [] for name in ARMS}
    kls = []
    for seed in seeds:
        before, place = time.process_time(), out / str(seed)
        place.mkdir(parents=True, exist_ok=True)
        world, files = start(seed, place)
        curves = {name: run(arm, name, world, files, place) for name, arm in ARMS.items()}
        kls.append(frontier.common_kl(curves))
        for name, curve in curves.items():
            reward[name].append(frontier.at_kl(curve, kls[-1], "true_reward"))
        print(f"seed {seed}: {time.process_time() - before:.0f} s of processor", file=sys.stderr)
    print(
        f"true reward at KL {', '.join(f'{kl:.2f}' for kl in kls)} nats\n\n| arm or lever | "
        + " | ".join(map(str, seeds)),
        end="",
    )
    print(" | mean (s.e.) |\n" + "|---" * (len(seeds) + 2) + "|")
    rows = reward | {
        f"lever: {n}": [x - y for x, y in zip(reward[a], reward[b], strict=True)] for n, (a, b) in LEVERS.items()
    }
    for name, values in rows.items():
        shown = " | ".join(f"{value:.2f}" for value in values)
        print(f"| {name} | {shown} | {fmean(values):.2f} ({frontier.standard_error(values):.2f}) |")


if __name__ == "__main__":
    main()
