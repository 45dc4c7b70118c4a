"""What compiled formulas cost: a pair's loss and gradient as a multiple of dpo's, and compiling with the first evaluation.

    python benchmarks/logic.py [--pairs 1024]

CPU time of this process on one thread, the best of seven repeats; ratios within one run.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable

import torch

from assent import DPO, ORPO, Logic, Objective, PairScores, Scores
from assent.logic import Table, named
from assent.logic.tables import VARIABLES


def scores(pairs: int) -> PairScores:
    """Random pairs of 5 to 49 tokens."""
    draw = torch.Generator().manual_seed(0)

    def side() -> Scores:
        length = torch.randint(5, 50, (pairs,), generator=draw).float()
        logp, ref = (-length * torch.rand(pairs, generator=draw) for _ in range(2))
        return Scores(logp.requires_grad_(), ref, length)

    return PairScores(side(), side())


def seconds(objective: Objective, rows: PairScores, backward: bool, times: int = 60) -> float:
    """CPU seconds of one evaluation."""
    leaves = (rows.chosen.logp, rows.rejected.logp)

    def once() -> None:
        loss = objective(rows)
        if backward:
            torch.autograd.grad(loss.sum(), leaves, allow_unused=True)

    def repeat() -> float:
        start = time.process_time()
        for _ in range(times):
            once()
        return (time.process_time() - start) / times

    return min(repeat() for _ in range(8))


def first(table: Table, rows: PairScores) -> float:
    """Wall seconds of compiling a table and evaluating it once, gradient included."""
    start = time.perf_counter()
    Logic(table)(rows).sum().backward()
    return time.perf_counter() - start


def four_variables(count: int = 20) -> list[Table]:
    """Random losses of four variables, and parity, which has no small diagram."""
    draw = random.Random(0)
    parity = "".join("cx"[bin(row).count("1") % 2] for row in range(16))
    return [
        Table.of_marks(parity),
        *(Table(VARIABLES, *(draw.randrange(1, 2**16) for _ in "cx")) for _ in range(count)),
    ]


def worst(makers: dict[str, Objective], measure: Callable[[Objective], float], base: float) -> str:
    ratios = sorted((measure(o) / base, name) for name, o in makers.items())
    return f"median {ratios[len(ratios) // 2][0]:.2f}, largest {ratios[-1][0]:.2f} ({ratios[-1][1]})"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pairs", type=int, default=1024)
    pairs = options.parse_args().pairs
    torch.set_num_threads(1)
    rows, tables = scores(pairs), four_variables()
    compiling = max(first(table, rows) for table in tables)
    print(f"{pairs} pairs; compile and first evaluation of four variables: at most {1e3 * compiling:.1f} ms")
    for backward, what in ((True, "loss and gradient"), (False, "loss alone")):
        rows = scores(pairs)
        for side in (rows.chosen, rows.rejected):
            side.logp.requires_grad_(backward)
        base = seconds(DPO(), rows, backward)
        measure = lambda o, rows=rows, backward=backward: seconds(o, rows, backward)  # noqa: E731
        print(f"{what}: dpo {1e6 * base:.0f} us; orpo {measure(ORPO()) / base:.2f} x dpo")
        for per in ("token", "sequence"):
            for reference in (False, True):
                kind = {n: Logic(n, per=per) for n in named(reference)}
                print(f"  named{' + reference' if reference else ''}, per {per}: {worst(kind, measure, base)}")
        print(f"  any four variables: {worst({t.marks: Logic(t) for t in tables}, measure, base)}")


if __name__ == "__main__":
    main()
