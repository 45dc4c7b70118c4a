"""What verdicts on the completions of two policies come to: rates, intervals, and the rate at equal length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from assent.data.fields import plain
from assent.errors import AssentError
from assent.judges.judge import Tally, Verdicts
from assent.records import Content

BOOTSTRAPS = 2000
BLOCK = 1 << 22
"""Most weights of resampled comparisons that are held at once."""

RIDGE = 1e-3
"""Weight of half the squared coefficients per comparison: fits that would run off to infinity stay finite."""


@dataclass(frozen=True)
class WinRate:
    """How often ``policy`` is preferred to ``against``.

    win_rate: mean P(policy's completion is better), ties count half; interval: 95 %, bootstrap over prompts.
    length_controlled: the win rate at equal length (``length_controlled_rate``), with its interval.
    wins, ties, losses: comparisons by the judge's verdict.  unanswered: those without one, which count for nothing.
    length_gap: mean length of the policy's completions less the other's, in characters.
    """

    policy: str
    against: str
    judge: str
    prompts: int
    comparisons: int
    win_rate: float
    interval: tuple[float, float]
    length_controlled: float
    length_controlled_interval: tuple[float, float]
    wins: int
    ties: int
    losses: int
    unanswered: int
    length_gap: float
    cut: tuple[int, int] = (0, 0)
    tally: Tally = field(default_factory=Tally)

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, **asdict(self)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> WinRate:
        """What ``to_json`` gave, before or after JSON; entries that are not its own are passed over."""
        own = {f.name: told[f.name] for f in fields(cls)}
        own = {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}
        return cls(**own | {"tally": Tally(**own["tally"])})

    def metrics(self) -> dict[str, float]:
        """The figures for a metrics log."""
        low, high = self.interval
        return {"win_rate": self.win_rate, "win_rate_low": low, "win_rate_high": high,
                "win_rate_length_controlled": self.length_controlled}  # fmt: skip

    def sentence(self) -> str:
        """The result in one line."""
        low, high = self.interval
        return (
            f"win rate over {self.against} {self.win_rate:.3f} ({low:.3f} to {high:.3f}), length controlled "
            f"{self.length_controlled:.3f}, {self.comparisons:,} comparisons"
            + (f", {self.unanswered} without an answer" if self.unanswered else "")
            + (f", {self.tally.contradicted} contradictions of the judge" if self.tally.contradicted else "")
        )

    def table(self) -> str:
        """The result in a few lines."""
        low, high = self.interval
        lc_low, lc_high = self.length_controlled_interval
        lines = [
            f"{self.policy} against {self.against}, judged by {self.judge}",
            f"win rate            {self.win_rate:.3f}  ({low:.3f} to {high:.3f})",
            f"length controlled   {self.length_controlled:.3f}  ({lc_low:.3f} to {lc_high:.3f})",
            f"comparisons         {self.comparisons:,} on {self.prompts:,} prompts: {self.wins:,} won, {self.ties:,} tied, "
            f"{self.losses:,} lost",
            f"length              {self.length_gap:+.1f} characters",
        ]
        if self.unanswered or self.tally.contradicted:
            lines.append(
                f"judge               {self.unanswered} without an answer, {self.tally.contradicted} contradictions"
            )
        if any(self.cut):
            lines.append(f"cut                 {self.cut[0]} and {self.cut[1]} completions at max_new_tokens")
        return "\n".join(lines)


def summarise(
    verdicts: Verdicts, first: Sequence[Content], second: Sequence[Content], samples: int, *, policy: str, against: str,
    judge: str, cut: tuple[int, int], tally: Tally, seed: int = 0,
) -> WinRate:  # fmt: skip
    """Rates and intervals from verdicts on ``samples`` comparisons of each prompt, in the order of the prompts."""
    known = verdicts.known
    if not known.any():
        raise AssentError(
            f"the judge {judge!r} answered none of {len(known)} comparisons; look at its replies or its limits"
        )
    gap = np.array([len(plain(a)) - len(plain(b)) for a, b in zip(first, second, strict=True)], float)
    p, prompt, length = verdicts.p[known], (np.arange(len(known)) // samples)[known], controlled(gap[known])
    interval, controlled_interval = intervals(p, length, prompt, seed)
    return WinRate(
        policy, against, judge, len(np.unique(prompt)), len(p), float(p.mean()), interval,
        length_controlled_rate(p, length), controlled_interval, int((p > 0.5).sum()), int((p == 0.5).sum()),
        int((p < 0.5).sum()), int((~known).sum()), float(gap.mean()), cut, tally,
    )  # fmt: skip


def controlled(gap: np.ndarray) -> np.ndarray:
    """The length term: tanh of the gap over its standard deviation, as AlpacaEval 2 has it; 0 where lengths do not vary."""
    spread = gap.std()
    return np.tanh(gap / spread) if spread > 0 else np.zeros_like(gap)


def length_controlled_rate(p: np.ndarray, length: np.ndarray) -> float:
    """sigmoid(theta) of the logistic fit p ~ sigmoid(theta + phi length): the win rate where both are equally long.

    AlpacaEval 2's regression (2404.04475) without its third term, the difficulty of an instruction, which it estimates from
    the answers of many models.  Newton's method with a small ridge.
    """
    return float(_fits(np.ones((1, len(p))), p, length)[0])


def _fits(weight: np.ndarray, p: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The rate at equal length [B] of comparisons [N] under each of B weightings [B, N]."""
    x = np.column_stack([np.ones_like(length), length])
    outer = (x[:, :, None] * x[:, None, :]).reshape(-1, 4)
    share = weight / weight.sum(1, keepdims=True)
    found = np.zeros((len(weight), 2))
    for _ in range(50):
        q = 1 / (1 + np.exp(-np.clip(found @ x.T, -30, 30)))
        slope = (share * (q - p)) @ x + RIDGE * found
        curve = ((share * q * (1 - q)) @ outer).reshape(-1, 2, 2) + RIDGE * np.eye(2)
        step = np.linalg.solve(curve, slope[:, :, None])[:, :, 0]
        found -= step
        if np.abs(step).max() < 1e-10:
            break
    return 1 / (1 + np.exp(-found[:, 0]))


def intervals(
    p: np.ndarray, length: np.ndarray, prompt: np.ndarray, seed: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """95 % of rate and rate at equal length under resampled prompts: comparisons of one prompt stay together."""
    rng = np.random.default_rng(seed)
    _, place = np.unique(prompt, return_inverse=True)
    many, rates, controls = int(place.max()) + 1, [], []
    block = max(1, BLOCK // len(p))
    for start in range(0, BOOTSTRAPS, block):
        drawn = rng.integers(0, many, (min(block, BOOTSTRAPS - start), many))
        weight = np.stack([np.bincount(row, minlength=many) for row in drawn])[:, place].astype(float)
        rates.append(weight @ p / weight.sum(1))
        controls.append(_fits(weight, p, length))
    found = [np.quantile(np.concatenate(some), [0.025, 0.975]) for some in (rates, controls)]
    return tuple((float(low), float(high)) for low, high in found)  # type: ignore[return-value]
