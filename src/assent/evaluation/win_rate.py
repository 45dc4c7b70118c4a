"""Win rates of one policy over another on the same prompts: both orders of presentation, intervals, length controlled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from assent.data.aside import write_aside
from assent.data.prompts import Prompts, read_prompts
from assent.errors import AssentError, reason
from assent.judges import Judge, ask, judge_of
from assent.judges.win_rates import WinRate, summarise
from assent.records import Content
from assent.sampling import ModelGenerator, SamplingSettings, Texts, revise
from assent.scoring.lora import is_adapter

RATES = "win_rates.json"
Answers = tuple[list[list[Content]], int]
"""Completions of each prompt, and how many of them were cut."""


def win_rate(
    policy: Any, against: Any, prompts: Any, judge: Any, *, samples: int = 1, sampling: SamplingSettings | None = None,
    columns: Mapping[str, str] | None = None, tokenizer: Any = None, revisions: int = 0,
) -> WinRate:  # fmt: skip
    """Compare two policies: directories, hub ids or models in memory (then with ``tokenizer``).

    against: may also be "completion" (or another column), whose text the rows of ``prompts`` hold.
    samples: completions of each prompt; the i-th ones are compared.  sampling: for both alike, the same draws.
    revisions: how often the policy improves its own completion before it is compared (`sampling.revision`); the other does not.
    Raises AssentError where nobody can be compared.
    """
    sampling, given = _checked(samples, sampling), read_prompts(prompts, columns)
    judge = judge_of(judge)
    first = completions(policy, given, samples, sampling, tokenizer, revisions)
    if isinstance(against, str) and (held := _column(prompts, against, given)) is not None:
        second: Answers = [[text] * samples for text in held], 0
    else:
        second = completions(against, given, samples, sampling, tokenizer)
    name = f"{name_of(policy)}, revised {revisions} x" if revisions else name_of(policy)
    return _compared(judge, given, first, second, samples, name, name_of(against))


def _checked(samples: int, sampling: SamplingSettings | None) -> SamplingSettings:
    if samples < 1:
        raise AssentError(f"samples is {samples}; expected at least 1")
    return sampling or SamplingSettings()


def _compared(
    judge: Judge, prompts: Prompts, first: Answers, second: Answers, samples: int, policy: str, against: str
) -> WinRate:
    before = judge.tally.copy()
    asked = [x for x in prompts.prompts for _ in range(samples)]
    own, others = ([text for some in side for text in some] for side, _ in (first, second))
    verdicts = ask(judge, asked, own, others)
    return summarise(
        verdicts, own, others, samples, policy=policy, against=against, judge=judge.name, cut=(first[1], second[1]),
        tally=judge.tally.since(before),
    )  # fmt: skip


def name_of(policy: Any) -> str:
    return str(policy) if isinstance(policy, str | Path) else type(policy).__name__


def completions(
    policy: Any, prompts: Prompts, samples: int, sampling: SamplingSettings, tokenizer: Any = None, revisions: int = 0
) -> Answers:
    """The policy's completions of each prompt, drawn on the accelerator where there is one, and how many were cut.

    revisions: how often the policy improves them first.
    """
    from assent.training.arguments import Settings
    from assent.training.compare import completions as drawn
    from assent.training.policy import load, tokenizer_of

    settings = Settings(model=policy, tokenizer=tokenizer)
    model = load(settings).model.to("cuda" if torch.cuda.is_available() else "cpu")
    if revisions == 0:
        return drawn(model, tokenizer_of(settings), prompts, samples, sampling)
    texts, longest = Texts(tokenizer_of(settings), model), getattr(model.config, "max_position_embeddings", None)
    own = ModelGenerator(model, texts.end)
    last = revise(own, texts, prompts.prompts, revisions, samples=samples, sampling=sampling, longest=longest)[-1]
    return [list(some) for some in last.contents], last.cut


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


def curve(
    run: str | Path, prompts: Any, judge: Any, *, samples: int = 1, sampling: SamplingSettings | None = None,
    columns: Mapping[str, str] | None = None,
) -> dict[int, WinRate]:  # fmt: skip
    """Win rate of the policy of every round, from 1, over the policy that the run began with.

    A run with --source online keeps the policy of its last round alone.
    """
    folder = Path(run) / "rounds"
    places = sorted(folder.glob("round-*"))
    if not places:
        raise AssentError(f"{str(run)!r} holds no rounds; expected the directory of a run with --source iterative")
    told = json.loads((places[0] / "round.json").read_text(encoding="utf-8"))
    start = folder / "start" if (folder / "start").exists() else told["start"]
    kept = {number: place / "policy" for number, place in enumerate(places, 1)} | {len(places): Path(run)}
    kept = {number: place for number, place in kept.items() if (place / "config.json").exists() or is_adapter(place)}
    if not kept:
        raise AssentError(f"{str(run)!r} holds no policy of a round yet; go on with its training first (--resume)")
    sampling, given = _checked(samples, sampling), read_prompts(prompts, columns)
    judge, first = judge_of(judge), completions(start, given, samples, sampling)
    found = {}
    for number, policy in kept.items():
        made = completions(policy, given, samples, sampling)
        found[number] = _compared(judge, given, made, first, samples, str(policy), str(start))
    return found


def curve_json(found: Mapping[int, WinRate]) -> dict[str, Any]:
    """A curve as a record."""
    return {"schema": 1, "rounds": [{**one.to_json(), "round": number} for number, one in sorted(found.items())]}


def write_curve(run: str | Path, found: Mapping[int, WinRate]) -> Path:
    """Keep a curve in its run's directory, where the report finds it; gives the file."""
    path = Path(run) / RATES
    text = json.dumps(curve_json(found), indent=1) + "\n"
    try:
        write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise AssentError(f"{path} cannot be written ({reason(error)}); mend its permissions") from None
    return path
