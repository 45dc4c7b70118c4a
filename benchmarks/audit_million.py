"""A million labels by a thousand annotators with given logits through the real command: seconds, memory, error.

    python benchmarks/audit_million.py [--labels 1000000] [--annotators 1000] [--seed 0] [--json]

Writes a Parquet file with the columns `logit, annotator` (the logit is that of the row's own order), runs
`assent audit FILE --scorer logits:logit --json` as a process of its own and compares its reliabilities with the truth.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def make(path: Path, labels: int, annotators: int, seed: int, scale: float) -> np.ndarray:
    """Write the file and return the true reliabilities [K], U(.3, .98).

    Margins are N(0, 2^2) nats and calibrated; they are written divided by ``scale``, which the audit has to find out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(seed)
    eta = random.uniform(0.3, 0.98, annotators)
    who = random.integers(annotators, size=labels)
    margin = 2 * random.standard_normal(labels)
    order = random.random(labels) < 1 / (1 + np.exp(-margin))
    right = random.random(labels) < eta[who]
    stored = np.where(order == right, margin, -margin) / scale  # the row's order is what the label says
    names = pa.array([f"annotator-{k:04d}" for k in range(annotators)])
    column = pa.DictionaryArray.from_arrays(pa.array(who.astype(np.int32)), names).cast(pa.string())
    pq.write_table(pa.table({"logit": stored, "annotator": column}), path)
    return eta


def run(labels: int, annotators: int, seed: int, scale: float, out: bool) -> dict:
    """Make the file, audit it, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.parquet"
        eta = make(path, labels, annotators, seed, scale)
        command = [
            str(Path(sys.executable).parent / "assent"),
            "audit",
            str(path),
            "--scorer",
            "logits:logit",
            "--json",
        ]
        if out:
            command += ["--out", str(Path(folder) / "audit")]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"assent audit failed: {done.stderr.strip()}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(done.stdout)
    found = report["annotators"]
    rows = [found[f"annotator-{k:04d}"] for k in range(annotators)]
    error = np.abs(np.array([row["reliability"] for row in rows]) - eta)
    inside = np.mean([row["low"] <= true <= row["high"] for row, true in zip(rows, eta, strict=True)])
    return {
        "schema": 1, "labels": labels, "annotators": annotators, "seed": seed, "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime, "gib": used.ru_maxrss / 2**20,
        "reliability_error": float(error.mean()), "largest_error": float(error.max()), "intervals_hold": float(inside),
        "noise_rate": report["noise_rate"], "noise_rate_true": float(1 - eta.mean()), "rests_on": report["rests_on"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--annotators", type=int, default=1000)
    parser.add_argument("--scale", type=float, default=1.4, help="the temperature that the audit has to find")
    parser.add_argument("--out", action="store_true", help="let the audit write its files too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = run(options.labels, options.annotators, options.seed, options.scale, options.out)
    if options.json:
        print(json.dumps(report))
        return
    print(
        f"{report['labels']:,} labels, {report['annotators']:,} annotators: {report['seconds']:.1f} s "
        f"({report['cpu_seconds']:.1f} s of processor), {report['gib']:.2f} GiB; reliability error "
        f"{report['reliability_error']:.4f} (largest {report['largest_error']:.4f}), {report['intervals_hold']:.1%} of the "
        f"intervals hold; noise rate {report['noise_rate']:.4f} (true {report['noise_rate_true']:.4f}), rests on "
        f"{report['rests_on']}"
    )


if __name__ == "__main__":
    main()
