"""Assent beside TRL in one run: pairs per second, peak memory, and whether both arrive at the same parameters.

    python benchmarks/train_vs_trl.py --trl-python VENV/bin/python [--case short long real wide groups epoch2] [--json]
    python -m venv VENV && VENV/bin/pip install -r benchmarks/requirements-trl.txt

Three sides, each a process of its own, in alternating order: TRL as shipped with its own cache of the reference; the
control, which is TRL with its chunked head replaced by a plain matrix product at the completion tokens (off a GPU the
chunked head is a fallback that scores every token); and ``assent.train``.  Same text, tokens, order, starting weights,
AdamW, learning rate, clipping and float32; that the tokens are the same is checked.  Only the ratio to the control may be
called "faster than TRL" for a CPU.  --check trains once more with half the learning rate, which must not pass for the same.
Seconds of a step are the least over the rounds, which other work on the machine disturbs least.  gemm_share: model FLOPs a
second over those of matrix products of the same shapes on this machine.  Without --trl-python Assent is measured alone.
groups (trees against the plain path) and epoch2 (a second epoch with the cached reference against an objective that
reads none) need no TRL.  --assent scoring=padded and the like switch a technique off.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vs_trl import flops
from vs_trl.cases import CASES, LONGEST, Case, available, write

HERE = Path(__file__).resolve().parent / "vs_trl"
LOSS_GAP, PARAMETER_GAP, LEAST_FALL = 1e-3, 1e-2, 0.2
"""Largest difference of a step's loss (nats), largest |a - b| as a share of |a - start|, least fall of the loss (nats)."""
BATCH = 4


def main() -> int:
    given = _parser().parse_args()
    reports, right = {}, True
    for name in given.case:
        if name in CASES and not available(CASES[name], given.data):
            continue
        with tempfile.TemporaryDirectory(prefix="vs-trl-") as folder:
            report = OWN[name](Path(folder), given) if name in OWN else compare(CASES[name], Path(folder), given)
        reports[name] = {"schema": 1, "case": name, **report}
        right &= report.get("same") is not False and report.get("half_rate", {}).get("same") is not True
    if given.json and reports:
        one = next(iter(reports.values()))
        print(json.dumps(one if len(reports) == 1 else {"schema": 1, "cases": reports}))
    return 0 if right else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trl-python", help="interpreter with TRL; without it only Assent is measured")
    parser.add_argument("--case", nargs="+", choices=[*CASES, *OWN], default=["short"])
    parser.add_argument("--steps", type=int, default=12, help="optimiser steps of a run")
    parser.add_argument("--warm-up", type=int, default=3, help="first steps that are not timed")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each side; the order turns round every time")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing on all sides")
    parser.add_argument("--assent", nargs="+", default=[], metavar="NAME=VALUE", help="arguments of assent.train")
    parser.add_argument("--check", action="store_true", help="also show that half the learning rate is told apart")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the real judgements lie")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser


# ---- running --------------------------------------------------------------------------------------------


def compare(case: Case, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run all sides of a case in rounds and set them beside each other."""
    written = write(case, folder, given.steps * BATCH, given.seed, given.data)
    sides = ["trl", "control", "assent"] if given.trl_python else ["assent"]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    shape, timed, rates = flops.load_shapes(folder / "model"), written["lengths"][BATCH * given.warm_up :], []
    for number in range(given.rounds):
        rates.append(flops.gemm_rate(shape, timed, given.steps - given.warm_up, given.threads))
        for side in sides[:: 1 if number % 2 == 0 else -1]:
            runs[side].append(run(side, case.rate, folder, given))
            last = runs[side][-1]
            print(f"round {number + 1} {side}: {sum(last['seconds'][given.warm_up :]):.1f} s, "
                  f"{last['peak_mb']:.0f} MB", file=sys.stderr, flush=True)  # fmt: skip
    if {r["tokens"] for s in sides for r in runs[s]} != {written["digest"]}:
        raise SystemExit("a side did not train on the tokens that were meant; the comparison means nothing")
    report = summary(runs, written, given)
    report |= efficiency(report, flops.model_flops(shape, timed) / len(timed), max(rates))
    report |= gaps(runs, folder, sides) if given.trl_python else {"loss_gap": None, "parameter_gap": None, "same": None}
    report["half_rate"] = half_rate(case, folder, given) if given.check else {}
    show(report)
    return report


def efficiency(report: dict[str, Any], per_pair: float, rate: float) -> dict[str, Any]:
    """Model FLOPs a second of every side (prompts counted once, whoever computes them twice) over those of plain products."""
    return {
        "gflops_a_pair": per_pair / 1e9,
        "gemm_gflops_per_second": rate / 1e9,
        "gemm_share": {s: speed * per_pair / rate for s, speed in report["pairs_per_second"].items()},
    }


def run(
    side: str, rate: float, folder: Path, given: argparse.Namespace, name: str = "", objective: str = "dpo(beta=0.1)",
    epochs: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """One side once, in a process of its own; its report.  ``name``: where its model goes, where that is not the side."""
    name = name or side
    extra = dict(word.split("=", 1) for word in given.assent)
    spec = {
        "side": side, "model": str(folder / "model"), "rows": str(folder / "rows.jsonl"), "output": str(folder / name),
        "report": str(folder / f"{name}.json"), "steps": epochs * given.steps, "batch": BATCH, "rate": rate,
        "threads": given.threads, "checkpointing": given.checkpointing, "max_length": LONGEST, "seed": given.seed,
        "objective": objective, "arguments": {k: yaml.safe_load(v) for k, v in extra.items()},
    }  # fmt: skip
    path = folder / f"{name}.spec.json"
    path.write_text(json.dumps(spec))
    script, python = ("assent_side.py", sys.executable) if side == "assent" else ("trl_side.py", given.trl_python)
    with tempfile.TemporaryDirectory(dir=folder) as cold:  # neither tool finds a cache of an earlier run
        caches = {"HF_HOME": cold, "ASSENT_CACHE": cold, "TMPDIR": cold}
        quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(given.threads)}
        command = [python, str(HERE / script), str(path)]
        shutil.rmtree(spec["output"], ignore_errors=True)
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **caches, **quiet})
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-4000:]}")
    return json.loads(Path(spec["report"]).read_text())


# ---- comparing ------------------------------------------------------------------------------------------


def summary(
    runs: dict[str, list[dict[str, Any]]], written: dict[str, Any], given: argparse.Namespace
) -> dict[str, Any]:
    """Speed, memory and their ratios."""
    pairs = BATCH * (given.steps - given.warm_up)
    least = {s: sum(np.min([r["seconds"][given.warm_up :] for r in runs[s]], axis=0)) for s in runs}
    cpu = {s: sum(np.min([r["cpu_seconds"][given.warm_up :] for r in runs[s]], axis=0)) for s in runs}
    peak = {s: max(r["peak_mb"] for r in runs[s]) for s in runs}
    fixed = 16e-6 * written["parameters"]  # float32 weights, gradients and AdamW's two moments
    both = "trl" in runs
    return {
        "pairs_per_second": {s: pairs / least[s] for s in runs},
        "peak_mb": peak,
        "speedup": least["trl"] / least["assent"] if both else None,
        "speedup_control": least["control"] / least["assent"] if both else None,
        "memory_ratio": peak["assent"] / peak["trl"] if both else None,
        "memory_ratio_above_parameters": (peak["assent"] - fixed) / (peak["trl"] - fixed) if both else None,
        "pairs_per_cpu_second": {s: pairs / cpu[s] for s in runs},
        "seconds_before_step_1": {s: min(r["before"] for r in runs[s]) for s in runs},
        "parameters": written["parameters"],
        "tokens_a_pair": float(np.mean([2 * p + c + r for p, c, r in written["lengths"]])),
        "rounds": {s: [sum(r["seconds"][given.warm_up :]) for r in runs[s]] for s in runs},
        "losses": {s: runs[s][-1]["losses"] for s in runs},
        "threads": given.threads,
        "versions": {s: runs[s][0]["versions"] for s in runs},
    }


def gaps(runs: dict[str, list[dict[str, Any]]], folder: Path, sides: list[str]) -> dict[str, Any]:
    """Whether Assent did what both TRL sides did: the same losses and parameters, on a task that is learnt."""
    found = {
        s: gap(runs[s][-1]["losses"], runs["assent"][-1]["losses"], folder, s, "assent") for s in ("trl", "control")
    }
    losses = runs["trl"][-1]["losses"]
    fall = losses[0] - float(np.mean(losses[-3:]))
    loss, parameter = (max(found[s][name] for s in found) for name in ("loss_gap", "parameter_gap"))
    same = bool(loss <= LOSS_GAP and parameter <= PARAMETER_GAP)
    if fall < LEAST_FALL:
        print(f"the loss fell by {fall:.3f} only, so equal losses say little; give more --steps", file=sys.stderr)
        same = False
    return {"loss_gap": loss, "parameter_gap": parameter, "loss_fall": fall, "same": same, "gaps": found}


def gap(a: list[float], b: list[float], folder: Path, first: str, second: str) -> dict[str, float]:
    """Largest difference of a step's loss, and |theta_a - theta_b| / |theta_a - theta_0|, in float64."""
    from safetensors import safe_open

    files = [safe_open(str(folder / n / "model.safetensors"), framework="pt") for n in (first, second, "model")]
    names = [set(f.keys()) for f in files]
    if not names[0] == names[1] == names[2]:
        raise SystemExit(f"{first} and {second} saved other tensors: {sorted(names[0] ^ names[1])[:4]}")
    apart = moved = 0.0
    for name in sorted(names[0]):
        one, two, start = (f.get_tensor(name).double() for f in files)
        apart += float((one - two).square().sum())
        moved += float((one - start).square().sum())
    loss = max(abs(x - y) for x, y in zip(a, b, strict=True))
    return {"loss_gap": loss, "parameter_gap": (apart / moved) ** 0.5}


def half_rate(case: Case, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Assent with half the learning rate against TRL (against itself where TRL is not measured): it must not pass."""
    half = run("assent", case.rate / 2, folder, given, name="half")
    other = "trl" if given.trl_python else "assent"
    whole = json.loads((folder / f"{other}.json").read_text())
    found = gap(whole["losses"], half["losses"], folder, other, "half")
    return {**found, "same": found["loss_gap"] <= LOSS_GAP and found["parameter_gap"] <= PARAMETER_GAP}


# ---- without TRL ----------------------------------------------------------------------------------------


def groups(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Eight completions of one prompt on a tree over the plain path with the same chunked head."""
    from vs_trl.cases import write_model
    from vs_trl.groups import measure

    write_model(CASES["short"], folder, given.seed)
    report = measure(folder, given.rounds * given.steps, given.warm_up, given.threads, given.seed)
    print(f"groups: trees {report['speedup_plain']:.2f} x the plain path with the chunked head, log-probabilities within "
          f"{report['largest_difference']:.1e}", file=sys.stderr)  # fmt: skip
    return report


def second_epoch(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """What reading the cached reference costs: an epoch with it over one of an objective that reads no reference."""
    case = CASES["short"]
    write(case, folder, given.steps * BATCH, given.seed, given.data)
    objectives = {"cached": "dpo(beta=0.1)", "none": "simpo()"}
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in objectives}
    for number in range(given.rounds):
        for name in list(objectives)[:: 1 if number % 2 == 0 else -1]:
            taken[name].append(run("assent", case.rate, folder, given, name, objectives[name], epochs=2))
    report: dict[str, Any] = {}
    for kind in ("seconds", "cpu_seconds"):
        least = {n: sum(np.min([r[kind][given.steps :] for r in taken[n]], axis=0)) for n in taken}
        report |= {kind: least, kind.replace("seconds", "more"): least["cached"] / least["none"] - 1}
    print(f"epoch2: the cached reference costs {report['more']:+.1%} by the clock, {report['cpu_more']:+.1%} of processor",
          file=sys.stderr)  # fmt: skip
    return report


OWN = {"groups": groups, "epoch2": second_epoch}
"""Cases that are measured without TRL."""


def show(report: dict[str, Any]) -> None:
    """The table, on stderr."""
    lines = [f"{report['parameters'] / 1e6:.1f}M parameters, {report['tokens_a_pair']:.0f} tokens a pair"]
    for side, speed in report["pairs_per_second"].items():
        lines.append(f"  {side:<8} {speed:7.3f} pairs/s  {report['peak_mb'][side]:8.0f} MB above the start")
    lines.append(f"  {report['gemm_share']['assent']:.0%} of the rate of plain matrix products of these shapes")
    if report["speedup"] is not None:
        lines.append(f"  over the control {report['speedup_control']:.2f} x; over TRL as shipped {report['speedup']:.2f} x,"
                     f" {report['memory_ratio']:.2f} of its memory")  # fmt: skip
        lines.append(f"  loss falls by {report['loss_fall']:.3f}; gap of losses {report['loss_gap']:.1e}, of parameters "
                     f"{report['parameter_gap']:.1e}: {'the same' if report['same'] else 'NOT the same'}")  # fmt: skip
    if half := report["half_rate"]:
        lines.append(f"  half the rate: {half['loss_gap']:.1e}, {half['parameter_gap']:.1e}: "
                     f"{'passes for the same, which is wrong' if half['same'] else 'told apart'}")  # fmt: skip
    print("\n".join(lines), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
