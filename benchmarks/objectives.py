"""What each pairwise objective costs by itself: forward and backward at P pairs, one thread, beside dpo()."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.objectives import Objective, PairwiseObjective, RunInfo, objectives, parse
from assent.scores import Column, PairScores, Scores, Tokens

ASKED = 250.0
"""Microseconds allowed at P = 1,024."""
GIVEN = {
    "masked": ("masked(dpo(), 'mask')", "masked(dpo(), 'shorter')", "masked(dpo(), 'differing')"),
    "sum": ("simpo() + 0.1*sft()",),
    "tgdpo": ("tgdpo(source='reward')",),
    "weighted": ("weighted(dpo(), 'confidence')",),
    "logic": ("logic('l5')", "logic('l20', reference=True)"),
    "ld_dpo": ("ld_dpo()", "ld_dpo(reference='whole')"),
}
"""Expressions in place of a name with its defaults."""


class Batch:
    """P random pairs with everything that an objective may read, and the leaves that gradients reach."""

    def __init__(self, pairs: int, mean: int) -> None:
        self.generator, self.leaves = torch.Generator().manual_seed(0), []
        self.pairs, self.mean, self.tokens = pairs, mean, 0
        chosen, rejected = self.side(), self.side()
        names = ("intra_better", "intra_worse", "for_chosen", "for_rejected", "degraded")
        views = {f"{side}@{name}": self.view() for name in names for side in ("chosen", "rejected")}
        views |= {f"{one}|{other}": self.view() for one in ("chosen", "rejected") for other in ("chosen", "rejected")}
        gap, share = self.normal(pairs), torch.rand(pairs, generator=self.generator)
        columns = {
            "confidence": Column(share), "margin": Column(gap, "negate"), "logit": Column(gap, "negate"),
            "score_chosen": Column(gap / 2, exchange="score_rejected"),
            "score_rejected": Column(-gap / 2, exchange="score_chosen"),
            "win_rate_chosen": Column(share, exchange="win_rate_rejected"),
            "win_rate_rejected": Column(1 - share, exchange="win_rate_chosen"),
            "old_logp_chosen": Column(gap - 16, exchange="old_logp_rejected"),
            "old_logp_rejected": Column(-gap - 16, exchange="old_logp_chosen"),
            "from_reference_chosen": Column((share < 0.5).float(), exchange="from_reference_rejected"),
            "from_reference_rejected": Column((share >= 0.5).float(), exchange="from_reference_chosen"),
            "distance_chosen": Column(share, exchange="distance_rejected"),
            "distance_rejected": Column(1 - share, exchange="distance_chosen"),
        }  # fmt: skip
        self.scores = PairScores(chosen, rejected, views=views | {"rationale": self.view()}, columns=columns)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def leaf(self, value: Tensor) -> Tensor:
        self.leaves.append(value.requires_grad_())
        return value

    def view(self) -> Scores:
        logp = self.leaf(self.normal(self.pairs) - 16)
        degree = {"degree": torch.arange(self.pairs) % 4}
        heads = {f"degree_{side}": self.leaf(self.normal(self.pairs, 4)) for side in ("chosen", "rejected")}
        reward = self.normal(self.pairs)
        return Scores(
            logp, logp.detach() + reward, torch.full_like(reward, 16.0), columns={"reward": reward} | degree | heads
        )

    def side(self) -> Scores:
        """Completions of half to one and a half times the mean number of tokens, laid out in order as scorers do."""
        length = torch.randint(self.mean // 2, self.mean + self.mean // 2 + 1, (self.pairs,), generator=self.generator)
        row = torch.repeat_interleave(torch.arange(self.pairs), length)
        count, self.tokens = len(row), self.tokens + len(row)
        index = torch.arange(count) - (length.cumsum(0) - length)[row]
        ref, unit = (
            -1 - torch.rand(count, generator=self.generator),
            lambda: torch.rand(count, generator=self.generator),
        )
        tokens = Tokens(
            row, index, self.leaf((ref + 0.2 * self.normal(count)).clamp_max(-1e-3)), ref, unit(), unit(),
            self.leaf(unit() / 10), self.leaf(unit()), {"id": torch.randint(0, 32_000, (count,), generator=self.generator),
            "reward": unit()},
        )  # fmt: skip
        logp = self.leaf(tokens.sum_rows(tokens.logp.detach(), self.pairs))
        reward = self.leaf(self.normal(self.pairs))
        return Scores(logp, tokens.sum_rows(ref, self.pairs), length.float(), tokens, {"reward": reward})


def expressions() -> list[str]:
    """Every registered pairwise objective: its defaults where it has them, around dpo() where it needs a base."""
    found = []
    for name, cls in objectives().items():
        if name in GIVEN:
            found.extend(GIVEN[name])
        elif issubclass(cls, PairwiseObjective) or cls.data == "pairs":
            for text in (f"{name}()", f"{name}(dpo())"):
                try:
                    parse(text)
                except (AssentError, TypeError):  # a base is needed, or none is taken
                    continue
                found.append(text)
                break
            else:
                raise SystemExit(f"no expression is known for {name}; enter one in GIVEN")
    return found


def once(objective: Objective, batch: Batch) -> Callable[[], None]:
    state = objective.init(RunInfo())

    def run() -> None:
        torch.autograd.grad(objective(batch.scores, state).sum(), batch.leaves, allow_unused=True)

    return run


def median(run: Callable[[], None], repeats: int) -> float:
    """Microseconds of processor, median."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1e6 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=16, help="mean number of tokens of a completion")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[], help="expressions instead of all")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    batch = Batch(given.pairs, given.tokens)
    base, rows = once(parse("dpo()"), batch), []
    median(base, 50)
    for text in given.only or expressions():
        run = once(parse(text), batch)
        median(run, 20)
        beside = median(base, given.repeats)
        spent = median(run, given.repeats)
        rows.append({"objective": text, "us": spent, "over_dpo": spent / beside})
    rows.sort(key=lambda row: -row["us"])
    if given.json:
        print(json.dumps({"schema": 1, "pairs": given.pairs, "tokens": batch.tokens, "rows": rows}))
        return
    print(f"{given.pairs:,} pairs, {batch.tokens:,} tokens; forward and backward, microseconds (asked: {ASKED:.0f})")
    for row in rows:
        print(f"{row['objective']:<44} {row['us']:>8.0f} {row['over_dpo']:>7.2f} x dpo")


if __name__ == "__main__":
    main()
