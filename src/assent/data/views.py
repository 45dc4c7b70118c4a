"""Further sequences of a row by name: which data transform makes the views that an objective asks for.  Contract, part 6."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from assent.data.degraded_view import degraded_view
from assent.data.fields import key
from assent.data.mapl_views import inter_views, intra_views
from assent.data.rationale_view import rationale_view
from assent.data.revision_views import revision_views
from assent.errors import AssentError, did_you_mean
from assent.objectives.base import Need
from assent.objectives.mapl import INTER, INTRA
from assent.objectives.srpo import CONTEXTS
from assent.records import Content, Example, Pair


class Made(NamedTuple):
    """A view: its sequence, and columns that belong to it."""

    example: Example
    columns: Mapping[str, float] = {}


class Given(NamedTuple):
    """What a view is made of: the row, the run's seed, the prompt of another row, and levels where a view has some."""

    row: Any
    seed: int
    other_prompt: Content
    size: int

    def draws(self, what: str) -> Random:
        """Random numbers of this row alone: the same in every order of the data."""
        pair = self.row
        told = (pair.prompt, pair.chosen, pair.rejected) if isinstance(pair, Pair) else (pair.prompt, pair.completion)
        return Random("\0".join([str(self.seed), what, *(key(part) or "" for part in told)]))


Views = Mapping[str, Made]


def _rationale(given: Given) -> Views:
    return {} if given.row.rationale is None else {"rationale": Made(rationale_view(given.row, given.seed))}


def _intra(given: Given) -> Views:
    return {n: Made(e) for n, e in (intra_views(given.row, given.draws("intra")) or {}).items()}


def _inter(given: Given) -> Views:
    return {n: Made(e) for n, e in (inter_views(given.row, given.draws("inter")) or {}).items()}


def _revision(given: Given) -> Views:
    return {n: Made(e) for n, e in revision_views(given.row).items()}


def _degraded(given: Given) -> Views:
    made = {
        side: degraded_view(given.row, side, given.size, given.draws(f"degraded {side}"))
        for side in ("chosen", "rejected")
    }
    return {f"{side}@degraded": Made(*found) for side, found in made.items() if found is not None}


def _mismatched(given: Given) -> Views:
    row, prompt = given.row, given.other_prompt
    if key(prompt) == key(row.prompt):
        return {}
    if isinstance(row, Pair):
        return {f"{side}@mismatched": Made(Example(prompt, getattr(row, side))) for side in ("chosen", "rejected")}
    return {"mismatched": Made(Example(prompt, row.completion))}


FAMILIES: dict[Callable[[Given], Views], tuple[str, ...]] = {
    _rationale: ("rationale",),
    _intra: INTRA,
    _inter: INTER,
    _revision: CONTEXTS,
    _degraded: ("chosen@degraded", "rejected@degraded"),
    _mismatched: ("mismatched", "chosen@mismatched", "rejected@mismatched"),
}
"""Who makes which views."""

NEAR = 32
"""Rows that are tried for another prompt before one is taken that certainly differs."""

WHY = {
    "rationale": "no row has a rationale; add a column 'rationale'",
    "mismatched": "all rows have one prompt; completions are put to the prompts of other rows",
}
"""Why no row has a view, where it is not the words of the responses."""


def of_row(given: Given, wanted: Iterable[Need]) -> Views:
    """The views of one row by name; those for which it gives no signal are absent."""
    made: dict[str, Made] = {}
    wanted = list(wanted)
    for build, names in FAMILIES.items():
        if own := [need for need in wanted if need.name in names]:
            made |= build(given._replace(size=own[0].size))
    return made


def check(wanted: Iterable[Need]) -> None:
    """Refuse a view that no transform makes, and one with two numbers of levels."""
    known = [name for names in FAMILIES.values() for name in names]
    sizes: dict[str, int] = {}
    for need in wanted:
        if need.name not in known:
            raise AssentError(
                f"no data transform makes the view {need.name!r}; {did_you_mean(need.name, known)}, or score it yourself"
            )
        family = next(names for names in FAMILIES.values() if need.name in names)[0]
        if sizes.setdefault(family, need.size) != need.size:
            raise AssentError(
                f"the view {need.name!r} is asked for with {sizes[family]} and {need.size} levels; give one"
            )


def other_prompts(rows: Sequence[Any], seed: int) -> list[Content]:
    """For each row the prompt of another one, drawn; its own only where all rows have the same prompt."""
    order = list(range(len(rows)))
    Random(f"{seed}\0mismatched").shuffle(order)
    own = [key(row.prompt) for row in rows]
    fallback = [0, next((i for i in range(len(rows)) if own[i] != own[0]), 0)]
    found: list[Content] = [row.prompt for row in rows]
    for place, at in enumerate(order):
        near = (order[(place + step) % len(order)] for step in range(1, 1 + min(NEAR, len(order) - 1)))
        other = next((i for i in (*near, *fallback) if own[i] != own[at]), at)
        found[at] = rows[other].prompt
    return found
