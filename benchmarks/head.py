"""The tiled output layer against F.linear, log_softmax, gather and their backward: time as a ratio, and peak memory.

python benchmarks/head.py [--steps 5] [--chunks 20 22 24] [--keep 0 24 26] [--json]

Chunks and what is kept are given as powers of two (keep 0: nothing is kept).  Sides alternate within one run; the ratio is
the median over its steps.  Memory is the peak of a fresh process above what it held before the pass.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assent.scoring.head import HeadOptions, head_values

CASES = {"d 256, V 32,000": (512, 256, 32_000), "d 896, V 151,936": (512, 896, 151_936)}


def problem(case: str) -> tuple[nn.Linear, Tensor, Tensor]:
    tokens, width, vocabulary = CASES[case]
    torch.manual_seed(0)
    head = nn.Linear(width, vocabulary, bias=False)
    head.weight.grad = torch.zeros_like(head.weight)
    return head, torch.randn(tokens, width), torch.randint(0, vocabulary, (tokens,))


def step(head: nn.Linear, hidden: Tensor, targets: Tensor, options: HeadOptions | None) -> float:
    """Processor seconds of a forward and a backward pass, which a busy machine disturbs least; options None is plain."""
    hidden = hidden.detach().requires_grad_()
    start = time.process_time()
    if options is None:
        logp = F.log_softmax(F.linear(hidden, head.weight), 1).gather(1, targets[:, None])
    else:
        logp = head_values(head, hidden, targets, options=options).logp
    logp.sum().backward()
    return time.process_time() - start


def memory(field: str) -> float:
    """MB of this process by the kernel (VmRSS now, VmHWM at most); ru_maxrss would begin at the parent's."""
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0]) / 1024


def peak(case: str, options: HeadOptions | None) -> float:
    """MB above what was resident before the pass, of one pass in this process."""
    inputs = problem(case)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    step(*inputs, options)
    return memory("VmHWM") - before


def peak_of_own_process(case: str, options: HeadOptions | None) -> float:
    given = [] if options is None else [str(options.chunk_elements), str(options.keep_elements)]
    command = [sys.executable, __file__, "--peak", case, *given]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(case: str, sides: dict[str, HeadOptions | None], steps: int) -> dict[str, dict[str, float]]:
    inputs, times = problem(case), {name: [] for name in sides}
    for number in range(steps + 1):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            seconds = step(*inputs, sides[name])
            if number:
                times[name].append(seconds)
    found = {}
    for name, options in sides.items():
        ratio = statistics.median(a / b for a, b in zip(times[name], times["plain"], strict=True))
        found[name] = {
            "seconds": round(statistics.median(times[name]), 3),
            "over_plain": round(ratio, 3),
            "peak_mb": round(peak_of_own_process(case, options)),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chunks", type=int, nargs="*", default=[])
    parser.add_argument("--keep", type=int, nargs="*", default=[])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.peak:
        case, *numbers = given.peak
        print(peak(case, HeadOptions(*map(int, numbers)) if numbers else None))
        return
    sides: dict[str, HeadOptions | None] = {"plain": None, "default": HeadOptions()}
    for chunk in given.chunks:
        for keep in given.keep or [0]:
            sides[f"2^{chunk}, keep 2^{keep}"] = HeadOptions(1 << chunk, (1 << keep) if keep else 0)
    found = {}
    for case in CASES:
        print(case, file=sys.stderr)
        found[case] = measure(case, sides, given.steps)
        for name, row in found[case].items():
            print(
                f"  {name:20} {row['seconds']:8.3f} s {row['over_plain']:7.3f} x {row['peak_mb']:7.0f} MB",
                file=sys.stderr,
            )
    if given.json:
        print(json.dumps({"schema": 1, "cases": found}))


if __name__ == "__main__":
    main()
