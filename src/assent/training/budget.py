"""Which rows of a step run together: dealt evenly to ranks, split into micro-batches by tokens or by rows.

Everything here is a function of the step's rows, which every rank knows, so that ranks agree on the number of micro-batches
without asking each other.  Weights of rows, and with them loss and gradient, do not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assent.scoring.table import own_sequences, view_sequences
from assent.scoring.tree import shared_prefix


class Bundle:
    """Rows that run together, by their places in the step, and the tokens that the scorer would run for them.

    On trees a prompt counts once and every different completion under it once; on the padded path every sequence
    counts as the longest.
    """

    def __init__(self, trees: bool) -> None:
        self.trees = trees
        self.places: list[int] = []
        self.parts: dict[Any, int] = {}
        self.count = self.longest = self.tokens = 0

    @classmethod
    def of_row(cls, row: Any, place: int, trees: bool) -> Bundle:
        """One row, the ``place``-th of its step."""
        bundle, found, views = cls(trees), own_sequences(row), view_sequences(row)
        bundle.places, bundle.count = [place], len(found) + len(views)
        bundle.longest = max(len(s.ids) for s in (*found, *views))
        if trees:
            point = shared_prefix(found)
            prompt = found[0].ids[:point].tobytes() or place  # without a shared token a row is a tree of its own
            bundle.parts = {prompt: point} | {(prompt, s.ids[point:].tobytes()): len(s.ids) - point for s in found}
            for s in views:  # each under a prompt of its own
                own = s.ids[: s.prompt_length].tobytes()
                rest = (own, s.ids[s.prompt_length :].tobytes())
                bundle.parts |= {own: s.prompt_length, rest: len(s.ids) - s.prompt_length}
        bundle.tokens = sum(bundle.parts.values()) if trees else bundle.count * bundle.longest
        return bundle

    @classmethod
    def of(cls, bundles: Sequence[Bundle]) -> Bundle:
        """Several bundles in one."""
        whole = cls(bundles[0].trees)
        for bundle in bundles:
            whole.join(bundle)
        return whole

    @property
    def prompt(self) -> Any:
        """What rows of one tree have in common; on the padded path nothing is shared."""
        return next(iter(self.parts), self.places[0])

    def joined(self, other: Bundle) -> int:
        """Tokens of both together."""
        if self.trees:
            return self.tokens + sum(n for key, n in other.parts.items() if key not in self.parts)
        return (self.count + other.count) * max(self.longest, other.longest)

    def join(self, other: Bundle) -> None:
        """Take another bundle's rows in."""
        self.tokens = self.joined(other)
        self.places = self.places + other.places
        self.parts = self.parts | other.parts
        self.count, self.longest = self.count + other.count, max(self.longest, other.longest)


Unit = list[Bundle]
"""Rows that should stay together."""


def _by_cost(units: Sequence[Unit]) -> list[tuple[Unit, Bundle]]:
    """Units with what they cost, the largest first, ties in the order of the step."""
    costs = [(unit, Bundle.of(unit)) for unit in units]
    return sorted(costs, key=lambda pair: (-pair[1].tokens, pair[1].places))


def gather_prompts(rows: Sequence[Bundle], most: int, limit: float) -> list[Unit]:
    """Rows of one prompt as units of at most ``most`` rows and ``limit`` tokens; a larger row is a unit of its own."""
    prompts: dict[Any, list[Bundle]] = {}
    for row in rows:
        prompts.setdefault(row.prompt, []).append(row)
    units = []
    for same in prompts.values():
        unit, whole = [], None
        for row in sorted(same, key=lambda r: (-r.tokens, r.places)):
            if whole is None or len(unit) == most or whole.joined(row) > limit:
                unit, whole = [], Bundle(row.trees)
                units.append(unit)
            unit.append(row)
            whole.join(row)
    return units


def spread(units: Sequence[Unit], piles: int, most: float) -> list[list[Unit]]:
    """Deal units to so many piles, the longest first and each to the lightest pile that has room for its rows.

    most: rows of a pile.  A unit for which no pile has room comes apart.
    """
    dealt: list[list[Unit]] = [[] for _ in range(piles)]
    tokens, rows = [0] * piles, [0] * piles
    for unit, whole in _by_cost(units):
        fits = any(count + len(unit) <= most for count in rows)
        for piece, cost in [(unit, whole.tokens)] if fits else [([row], row.tokens) for row in unit]:
            at = min((i for i in range(piles) if rows[i] + len(piece) <= most), key=tokens.__getitem__)
            dealt[at].append(piece)
            tokens[at] += cost
            rows[at] += len(piece)
    return dealt


def first_fit(units: Sequence[Unit], budget: int) -> list[Bundle]:
    """Micro-batches of at most ``budget`` tokens; a row that is larger runs alone."""
    bins: list[Bundle] = []
    for _, whole in _by_cost(units):
        at = next((b for b in bins if b.joined(whole) <= budget), None)
        if at is None:
            at = Bundle(whole.trees)
            bins.append(at)
        at.join(whole)
    return bins


def by_rows(units: Sequence[Unit], size: int) -> list[Bundle]:
    """As few micro-batches of at most ``size`` rows as there can be, of even tokens on trees, of like lengths if padded."""
    rows = [row for unit in units for row in unit]
    if not rows:
        return []
    if rows[0].trees:
        piles = spread(units, -(-len(rows) // size), size)
        return [Bundle.of([row for unit in pile for row in unit]) for pile in piles if pile]
    rows.sort(key=lambda row: (-row.longest, row.places))
    return [Bundle.of(rows[i : i + size]) for i in range(0, len(rows), size)]


@dataclass(frozen=True)
class Dealer:
    """Deals the rows of a step: numbers of rows -> rank -> micro-batches, as many on every rank.

    rows: all rows by number.  size: rows of a micro-batch, where there is no ``budget``, its tokens.  trees: how the scorer
    packs them.  A rank that is short of micro-batches gets the step's smallest row at weight 0, written -1 - number.
    Without a budget no rank gets more rows than its share, so that no micro-batch is larger than asked for.
    """

    rows: Sequence[Any]
    ranks: int
    size: int
    budget: int | None = None
    trees: bool = False

    def __call__(self, numbers: Sequence[int]) -> list[list[list[int]]]:
        rows = [Bundle.of_row(self.rows[number], place, self.trees) for place, number in enumerate(numbers)]
        share = -(-len(rows) // self.ranks)
        even = sum(row.tokens for row in rows) / self.ranks if self.ranks > 1 else float("inf")
        if self.budget is None:
            units = gather_prompts(rows, min(share, self.size), even)
            batches = [by_rows(pile, self.size) for pile in spread(units, self.ranks, share)]
        else:
            units = gather_prompts(rows, len(rows), min(even, self.budget))
            batches = [first_fit(pile, self.budget) for pile in spread(units, self.ranks, len(rows))]
        filler = -1 - numbers[min(rows, key=lambda row: row.tokens).places[0]]
        count = max(map(len, batches))
        return [
            [
                [numbers[place] for place in sorted(batch.places)]
                for batch in sorted(some, key=lambda b: (-b.tokens, b.places))
            ]
            + [[filler]] * (count - len(some))
            for some in batches
        ]

    def larger_rows(self) -> list[int]:
        """Tokens of every row that is larger than the budget."""
        if self.budget is None:
            return []
        tokens = (Bundle.of_row(row, place, self.trees).tokens for place, row in enumerate(self.rows))
        return [count for count in tokens if count > self.budget]
