"""New losses by constraint: every table between two others, antisymmetric ones, and how each would move the two completions.

To first order a step moves log p_w by d_w |g_w|^2 - d_l <g_w, g_l> and log p_l by d_w <g_w, g_l> - d_l |g_l|^2 (2410.13828),
where d_w : d_l = a : b are the slopes of rho; what a loss does with entangled gradients can be read off before it is trained.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, prod

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.logic.program import program
from assent.logic.tables import VARIABLES, Table, aligned
from assent.logic.wording import text_of

GRID = (0.05, 0.2, 0.5, 0.8)
"""Probabilities at which slopes are looked at, the reference's included."""
_PARTNERS = ("M_l", "M_w", "R_l", "R_w")


@dataclass(frozen=True)
class Space:
    """All tables of some constraints: orbits of rows, and what marks an orbit's rows may carry together.

    choices: for each orbit its options, each the (check, cross) masks that it adds.
    """

    variables: tuple[str, ...]
    choices: tuple[tuple[tuple[int, int], ...], ...]

    def __len__(self) -> int:
        return prod(map(len, self.choices))

    def __getitem__(self, number: int) -> Table:
        """Table ``number``, the last orbit fastest."""
        check = cross = 0
        for options in reversed(self.choices):
            number, at = divmod(number, len(options))
            check, cross = check | options[at][0], cross | options[at][1]
        return Table(self.variables, check, cross)

    def tables(self, most: int, seed: int = 0) -> Iterator[Table]:
        """All of them where they are at most ``most``, else so many distinct ones, drawn; without those that are undefined."""
        size = len(self)
        numbers = range(size) if size <= most else random.Random(seed).sample(range(size), most)
        return (table for number in numbers if not (table := self[number]).degenerate)


def space(
    lower: Table | None = None, upper: Table | None = None, *, antisymmetric: bool = False,
    variables: tuple[str, ...] = VARIABLES,
) -> Space:  # fmt: skip
    """The losses that ``lower`` entails and that entail ``upper`` (None: no bound).

    antisymmetric: swapping the completions turns the sign of rho, as a margin does; rows then come in pairs.
    Raises AssentError where the bounds leave nothing.
    """
    blank = Table(variables, 0, 0)
    low = aligned(lower, blank)[0].over(variables) if lower is not None else Table(variables, 0, blank.full)
    high = aligned(upper, blank)[0].over(variables) if upper is not None else Table(variables, blank.full, 0)
    if not low <= high:
        raise AssentError("the lower loss does not entail the upper one, so nothing lies between them")
    choices = []
    for rows in _orbits(variables) if antisymmetric else [(i, i) for i in range(blank.rows)]:
        options = [
            (check, cross)
            for check, cross in _marked(rows, antisymmetric)
            if all(_allowed(row, check, cross, low, high) for row in rows)
        ]
        if not options:
            raise AssentError(f"no antisymmetric loss lies between the bounds: row {rows[0]} can carry no mark")
        choices.append(tuple(options))
    return Space(variables, tuple(choices))


def _orbits(variables: tuple[str, ...]) -> list[tuple[int, int]]:
    """Rows with the row that exchanging the completions makes of them, each once."""
    place = [variables.index(_PARTNERS[VARIABLES.index(name)]) for name in variables]
    size, found = len(variables), []
    for row in range(2**size):
        bits = [row >> (size - 1 - k) & 1 for k in range(size)]
        other = sum(bits[place[k]] << (size - 1 - k) for k in range(size))
        if row <= other:
            found.append((row, other))
    return found


def _marked(rows: tuple[int, int], antisymmetric: bool) -> Iterator[tuple[int, int]]:
    """The masks that the marks of an orbit add: what counts for a row counts against its partner."""
    first, second = rows
    for check in (0, 1):
        for cross in (0, 1):
            if not antisymmetric:
                yield check << first, cross << first
            elif first != second:
                yield check << first | cross << second, cross << first | check << second
            elif check == cross:
                yield check << first, cross << first


def _allowed(row: int, check: int, cross: int, low: Table, high: Table) -> bool:
    at = lambda mask: mask >> row & 1  # noqa: E731
    return at(low.check) <= at(check) <= at(high.check) and at(high.cross) <= at(cross) <= at(low.cross)


@dataclass(frozen=True)
class Behaviour:
    """What a loss pulls on, over the grid of probabilities.

    chosen, rejected: smallest and largest a = d rho / d log p_w and b = -d rho / d log p_l.  start: smallest a / b where all
    probabilities are equal (policy = reference, alike completions); inf where b is 0.
    """

    chosen: tuple[float, float]
    rejected: tuple[float, float]
    start: float

    @property
    def monotone(self) -> bool:
        """Whether it never pushes the chosen completion down nor the rejected one up."""
        return self.chosen[0] >= 0 and self.rejected[0] >= 0

    def rises(self, cosine: float, length_ratio: float = 1.0) -> bool:
        """Whether log p_w rises at the start, for gradients at this cosine; length_ratio: |g_l| / |g_w|."""
        return self.start > cosine * length_ratio


def slopes(table: Table, logp: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(a, b) [N] at log-probabilities [N] of every variable that the table reads."""
    leaves = {n: x.detach().clone().requires_grad_(n in ("M_w", "M_l")) for n, x in logp.items()}
    rho = program(table).rho(leaves)
    policy = (leaves["M_w"], leaves["M_l"])
    if not rho.requires_grad:
        return torch.zeros_like(policy[0]), torch.zeros_like(policy[0])
    up, down = torch.autograd.grad(rho.sum(), policy, allow_unused=True, materialize_grads=True)
    return up, -down


def behaviour(table: Table, grid: Sequence[float] = GRID) -> Behaviour:
    """The pull of a loss over all combinations of the grid's probabilities for what it reads, and at the start."""
    axes = [torch.tensor(grid, dtype=torch.float64)] * len(VARIABLES)
    points = dict(zip(VARIABLES, torch.cartesian_prod(*axes).log().unbind(1), strict=True))
    a, b = slopes(table, points)
    same = torch.tensor(grid, dtype=torch.float64).log()
    first, second = slopes(table, dict.fromkeys(VARIABLES, same))
    ratio = torch.where(second > 0, first / second, torch.where(first > 0, inf, -inf))
    return Behaviour((a.min().item(), a.max().item()), (b.min().item(), b.max().item()), ratio.min().item())


@dataclass(frozen=True)
class Derived:
    """A loss that was found, with its text, its pull, and how many operations it costs."""

    table: Table
    behaviour: Behaviour
    cost: int

    @property
    def text(self) -> str:
        """Its formula, as ``logic(...)`` reads it."""
        from assent.logic.formula import Structure

        return text_of(Structure.of_table(self.table))


def search(
    losses: Space,
    keep: Callable[[Table, Behaviour], bool] = lambda table, pull: True,
    *,
    most: int = 5000,
    seed: int = 0,
) -> list[Derived]:
    """Losses of a space that ``keep`` accepts and that read the policy, cheapest first, one of each function.

    most: how many tables are looked at; a larger space is drawn from.
    """
    found: dict[tuple[float, ...], Derived] = {}
    place = torch.Generator().manual_seed(0)
    probe = {n: torch.rand(6, generator=place, dtype=torch.float64).log() for n in VARIABLES}
    for table in losses.tables(most, seed):
        if table.check == table.cross or not any(name.startswith("M_") for name in table.read):
            continue
        made = program(table)
        key = tuple(round(x, 9) for x in made.rho(probe).tolist())
        if key in found and found[key].cost <= made.cost:
            continue
        pull = behaviour(table)
        if keep(table, pull):
            found[key] = Derived(table, pull, made.cost)
    return sorted(found.values(), key=lambda one: (one.cost, one.table.marks))
