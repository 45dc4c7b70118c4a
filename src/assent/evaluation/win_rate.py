"""Win rates of one policy over another on the same prompts: both orders of presentation, intervals, length controlled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from assent.data.fields import plain
from assent.data.prompts import Prompts, read_prompts
from assent.errors import AssentError
from assent.judges import Tally, Verdicts, ask, judge_of
from assent.records import Content
from assent.sampling import ModelGenerator, SamplingSettings, Texts

BOOTSTRAPS = 2000
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


def win_rate(
    policy: Any, against: Any, prompts: Any, judge: Any, *, samples: int = 1, sampling: SamplingSettings | None = None,
    columns: Mapping[str, str] | None = None, tokenizer: Any = None,
) -> WinRate:  # fmt: skip
    """Compare two policies: directories, hub ids or models in memory (then with ``tokenizer``).

    against: may also be "completion" (or another column), whose text the rows of ``prompts`` hold.
    samples: completions of each prompt; the i-th ones are compared.  sampling: for both alike, the same draws.
    Raises AssentError where nobody can be compared.
    """
    sampling = sampling or SamplingSettings()
    if samples < 1:
        raise AssentError(f"samples is {samples}; expected at least 1")
    judge = judge_of(judge)
    given = read_prompts(prompts, columns)
    first, cut = completions(policy, given, samples, sampling, tokenizer)
    if isinstance(against, str) and (held := _column(prompts, against, given)) is not None:
        second, other_cut = [[text] * samples for text in held], 0
    else:
        second, other_cut = completions(against, given, samples, sampling, tokenizer)
    before = judge.tally.copy()
    flat = [
        [x for x in given.prompts for _ in range(samples)],
        *([t for own in side for t in own] for side in (first, second)),
    ]
    verdicts = ask(judge, *flat)
    return summarise(
        verdicts, flat[1], flat[2], samples, policy=name_of(policy), against=name_of(against), judge=judge.name,
        cut=(cut, other_cut), tally=judge.tally.since(before),
    )  # fmt: skip


def name_of(policy: Any) -> str:
    return str(policy) if isinstance(policy, str | Path) else type(policy).__name__


def completions(
    policy: Any, prompts: Prompts, samples: int, sampling: SamplingSettings, tokenizer: Any = None
) -> tuple[list[list[Content]], int]:
    """The policy's completions of each prompt, and how many were cut."""
    from assent.training.arguments import Settings
    from assent.training.policy import load, tokenizer_of

    settings = Settings(model=policy, tokenizer=tokenizer)
    texts = Texts(tokenizer_of(settings), model := load(settings).model)
    made = ModelGenerator(model, texts.end).generate(texts.prompt_ids(prompts.prompts), samples, sampling)
    words = [texts.content(prompts.prompts[m.prompt], m) for m in made]
    return [words[i : i + samples] for i in range(0, len(words), samples)], sum(not m.ended for m in made)


def _column(source: Any, name: str, prompts: Prompts) -> list[Content] | None:
    """The texts of a column of the prompts' rows; None where ``name`` is none of their columns."""
    from assent.data.reading import iter_rows
    from assent.data.splitting import prompt_key

    rows = list(iter_rows(source))
    if not rows or name not in rows[0]:
        return None
    held: dict[str, Content] = {}
    for number, row in enumerate(rows):
        if not isinstance(row.get(name), str | list):
            raise AssentError(f"{prompts.source}: row {number} has no text in column {name!r} to compare against")
        held.setdefault(prompt_key(row["prompt"]), row[name])
    return [held[prompt_key(prompt)] for prompt in prompts.prompts]


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
    prompt = np.arange(len(known)) // samples
    p, rows = verdicts.p[known], prompt[known]
    scaled = controlled(gap[known])
    rate = lambda some: p[some].mean()  # noqa: E731
    control = lambda some: length_controlled_rate(p[some], scaled[some])  # noqa: E731
    everything = np.arange(len(p))
    return WinRate(
        policy, against, judge, int(prompt.max()) + 1, len(p), float(rate(everything)), _bootstrap(rate, rows, seed),
        float(control(everything)), _bootstrap(control, rows, seed), int((p > 0.5).sum()), int((p == 0.5).sum()),
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
    x = np.column_stack([np.ones_like(length), length])
    found = np.zeros(2)
    ridge = RIDGE * np.eye(2)
    for _ in range(50):
        q = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        slope = x.T @ (q - p) / len(p) + ridge @ found
        curve = (x * (q * (1 - q))[:, None]).T @ x / len(p) + ridge
        step = np.linalg.solve(curve, slope)
        found = found - step
        if np.abs(step).max() < 1e-10:
            break
    return float(1 / (1 + np.exp(-found[0])))


def _bootstrap(statistic: Any, rows: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % of a statistic under resampled prompts: comparisons of one prompt stay together."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(rows == i) for i in np.unique(rows)]
    found = []
    for _ in range(BOOTSTRAPS):
        drawn = rng.integers(0, len(members), len(members))
        found.append(statistic(np.concatenate([members[i] for i in drawn])))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def curve(
    run: str | Path, prompts: Any, judge: Any, *, samples: int = 1, sampling: SamplingSettings | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[WinRate]:  # fmt: skip
    """Win rates of every round's policy of an iterative run over the policy that the run began with."""
    import json

    folder = Path(run) / "rounds"
    places = sorted(folder.glob("round-*"))
    if not places:
        raise AssentError(f"{str(run)!r} holds no rounds; expected the directory of a run with --source iterative")
    told = json.loads((places[0] / "round.json").read_text(encoding="utf-8"))
    start = folder / "start" if (folder / "start").exists() else told["start"]
    policies = [place / "policy" for place in places if (place / "policy" / "config.json").exists()] + [Path(run)]
    return [
        win_rate(policy, start, prompts, judge, samples=samples, sampling=sampling, columns=columns)
        for policy in policies
    ]
