"""How far ``assent plan`` is from what then happens: peak memory and tokens per second, each run in a process of its own.

    python benchmarks/plan.py [--case short long wide lora checkpointing real] [--steps 8] [--threads 1] [--json]

Models and rows are those of ``train_vs_trl.py``.  Memory is the peak above what is resident before the model is loaded.  With
one thread seconds are the processor's, which other work on the machine disturbs least; with more, the clock's.  All steps after
the warm-up count together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vs_trl.cases import CASES, LONGEST, Case, available, write

HERE = Path(__file__).resolve().parent
BATCH, RATE = 4, 1e-4
COMMON = {"per_device_train_batch_size": BATCH, "train_sampling_strategy": "sequential", "use_cpu": True}


@dataclass(frozen=True)
class Run:
    """A case of the other benchmark, with further arguments of ``assent train``."""

    case: Case
    arguments: dict[str, Any]


RUNS = {
    "short": Run(CASES["short"], {}),
    "long": Run(CASES["long"], {}),
    "wide": Run(CASES["wide"], {}),
    "lora": Run(CASES["short"], {"lora_r": 16}),
    "checkpointing": Run(CASES["long"], {"gradient_checkpointing": True}),
    "real": Run(CASES["real"], {}),
    "budget": Run(CASES["real"], {"max_tokens_per_batch": 1024}),
    "live": Run(CASES["short"], {"reference_logp": "live"}),
    "half": Run(CASES["short"], {"dtype": "bfloat16"}),
    "adafactor": Run(CASES["long"], {"optim": "adafactor"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warm-up", type=int, default=2, help="first steps that are not timed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the real judgements lie")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    reports = {}
    for name in given.case:
        if available(RUNS[name].case, given.data):
            reports[name] = compare(RUNS[name], given)
            show(name, reports[name])
    if given.json:
        print(json.dumps({"schema": 1, "threads": given.threads, "cases": reports}))


def compare(run: Run, given: argparse.Namespace) -> dict[str, Any]:
    """Predicted and measured, side by side."""
    with tempfile.TemporaryDirectory(prefix="plan-") as name:
        folder = Path(name)
        written = write(run.case, folder, given.steps * BATCH, 0, given.data)
        plan = predicted(run, folder, given)
        found = measured(run, folder, given, written["lengths"])
    memory, speed = plan["peak_bytes"] / 1e6 / found["peak_mb"] - 1, plan["tokens_per_second"] / found["tokens"] - 1
    return {
        "peak_mb": {"predicted": plan["peak_bytes"] / 1e6, "measured": found["peak_mb"], "error": memory},
        "tokens_per_second": {"predicted": plan["tokens_per_second"], "measured": found["tokens"], "error": speed},
        "parts_mb": {kind: size / 1e6 for kind, size in plan["parts"].items()},
        "load": os.getloadavg()[0],
    }


def predicted(run: Run, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """What the command says."""
    arguments = {**COMMON, **run.arguments, "max_steps": given.steps, "max_length": LONGEST}
    words = [f"--{name.replace('_', '-')}={str(value).lower()}" for name, value in arguments.items()]
    command = ["plan", "--model", str(folder / "model"), "--data", str(folder / "rows.jsonl"), "--json", "--no-knobs"]
    code = "import sys; from assent.cli import main; main(sys.argv[1:])"
    return json.loads(_run([sys.executable, "-c", code, *command, *words], folder, given).strip().splitlines()[-1])


def measured(run: Run, folder: Path, given: argparse.Namespace, lengths: list[tuple[int, ...]]) -> dict[str, Any]:
    """Peak memory in MB and packed tokens per second of ``assent.train`` on rows of these lengths, in their order."""
    arguments = dict(run.arguments)
    spec = {
        "side": "assent", "model": str(folder / "model"), "rows": str(folder / "rows.jsonl"),
        "output": str(folder / "out"), "report": str(folder / "report.json"), "steps": given.steps, "batch": BATCH,
        "rate": RATE, "threads": given.threads, "checkpointing": arguments.pop("gradient_checkpointing", False),
        "max_length": LONGEST, "seed": 0, "objective": "dpo()", "arguments": {"optim": "adamw_torch_fused"} | arguments,
    }  # fmt: skip
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    _run([sys.executable, str(HERE / "plan.py"), "--side", str(path)], folder, given)
    report = json.loads((folder / "report.json").read_text())
    seconds = report["cpu_seconds" if given.threads == 1 else "seconds"][given.warm_up :]
    tokens = sum(map(sum, lengths[BATCH * given.warm_up : BATCH * given.steps]))
    return {"peak_mb": report["peak_mb"], "tokens": tokens / sum(seconds)}


def _run(command: list[str], folder: Path, given: argparse.Namespace) -> str:
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(given.threads)}
    caches = {"HF_HOME": str(folder), "ASSENT_CACHE": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **caches, **quiet})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def show(name: str, report: dict[str, Any]) -> None:
    memory, speed = report["peak_mb"], report["tokens_per_second"]
    print(
        f"{name:<14} memory {memory['predicted']:7.0f} MB, measured {memory['measured']:7.0f} ({memory['error']:+.0%})   "
        f"speed {speed['predicted']:6.0f} tokens/s, measured {speed['measured']:6.0f} ({speed['error']:+.0%})   "
        f"load {report['load']:.1f}",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def side(spec: dict[str, Any]) -> None:
    """The measured run, in a process of its own."""
    sys.path.insert(0, str(HERE / "vs_trl"))
    import measure
    import torch
    from transformers import trainer as transformers_trainer

    import assent
    import assent.training.run  # imported before memory is looked at

    torch.set_num_threads(spec["threads"])
    clock = measure.Clock(spec["model"])
    transformers_trainer.DEFAULT_CALLBACKS.append(clock)
    arguments = measure.common(spec) | spec["arguments"]
    assent.train(
        spec["model"], spec["rows"], spec["objective"], spec["output"], max_length=spec["max_length"], **arguments
    )
    measure.finish(spec, **clock.report())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        side(json.loads(Path(sys.argv[2]).read_text()))
    else:
        main()
