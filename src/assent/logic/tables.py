"""A loss as two sets of rows of a truth table, ordered by entailment.  Richardson et al., arXiv:2412.17696.

A variable says that a model deems a completion valid: M_w and M_l for the policy, R_w and R_l for the reference.  A loss is
rho = log WMC(check) - log WMC(cross): the rows that count for it over the rows that count against it, where WMC sums a
product of p and 1 - p over the rows.  Rows run from all true to all false, the first variable slowest: TT, TF, FT, FF.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from assent.errors import AssentError

POLICY = ("M_w", "M_l")
VARIABLES = (*POLICY, "R_w", "R_l")
"""Chosen and rejected completion under the policy, and under the reference."""

_MARKS = "-cxb"
_PARTNER = {"M_w": "M_l", "M_l": "M_w", "R_w": "R_l", "R_l": "R_w"}


@cache
def literal(variables: tuple[str, ...], name: str) -> int:
    """Bitmask of the rows where a variable is true; bit i is row i."""
    shift = len(variables) - 1 - variables.index(name)
    return sum(1 << row for row in range(2 ** len(variables)) if not row >> shift & 1)


@dataclass(frozen=True)
class Table:
    """check, cross: bitmasks over the 2^n rows (bit i is row i); a row may carry none, either or both.

    Raises AssentError for a mask with more rows than the variables have, or for variables given twice.
    """

    variables: tuple[str, ...]
    check: int
    cross: int

    def __post_init__(self) -> None:
        if len(set(self.variables)) != len(self.variables):
            raise AssentError(f"the variables {self.variables!r} hold one twice; expected distinct names")
        for name, mask in (("check", self.check), ("cross", self.cross)):
            if not 0 <= mask <= self.full:
                raise AssentError(f"{name} is {mask}; expected a bitmask of {self.rows} rows, 0 to {self.full}")

    @property
    def rows(self) -> int:
        return 2 ** len(self.variables)

    @property
    def full(self) -> int:
        """The mask of all rows."""
        return (1 << self.rows) - 1

    @property
    def degenerate(self) -> bool:
        """Whether no row counts for, or none against, so that rho is infinite."""
        return self.check == 0 or self.cross == 0

    @property
    def marks(self) -> str:
        """One sign a row: - none, c check, x cross, b both."""
        return "".join(_MARKS[(self.check >> i & 1) + 2 * (self.cross >> i & 1)] for i in range(self.rows))

    @classmethod
    def of_marks(cls, marks: str, variables: Sequence[str] | None = None) -> Table:
        """The table that ``marks`` spells, over M_w and M_l (4 rows) or over all four variables (16 rows)."""
        if variables is None:
            if len(marks) not in (4, 16):
                raise AssentError(f"the rows {marks!r} are {len(marks)}; expected 4 (M_w, M_l) or 16 (and R_w, R_l)")
            variables = POLICY if len(marks) == 4 else VARIABLES
        if len(marks) != 2 ** len(variables) or set(marks) - set(_MARKS):
            raise AssentError(f"the rows {marks!r} are not {2 ** len(variables)} of -, c (check), x (cross), b (both)")
        at = [_MARKS.index(mark) for mark in marks]
        return cls(tuple(variables), *(sum((k >> bit & 1) << i for i, k in enumerate(at)) for bit in (0, 1)))

    def row(self, index: int) -> dict[str, bool]:
        """The assignment of row ``index``: variable -> whether it is true."""
        return {name: bool(literal(self.variables, name) >> index & 1) for name in self.variables}

    def names_of_rows(self) -> list[str]:
        """TT, TF, FT, FF of two variables, and so on."""
        return ["".join("FT"[true] for true in self.row(i).values()) for i in range(self.rows)]

    def over(self, variables: Sequence[str]) -> Table:
        """The same loss over other variables, in their order; those that are new change nothing.

        Raises AssentError where a variable that the loss reads is left out.
        """
        lost = [name for name in self.read if name not in variables]
        if lost:
            raise AssentError(f"the loss reads {lost[0]}, which is not among {', '.join(variables)}")
        target = Table(tuple(variables), 0, 0)
        source = []  # for every row of the result a row of this table
        for i in range(target.rows):
            row = target.row(i)
            picked = [row.get(name, True) for name in self.variables]
            source.append(sum((not true) << (len(picked) - 1 - k) for k, true in enumerate(picked)))
        masks = (sum((mask >> at & 1) << i for i, at in enumerate(source)) for mask in (self.check, self.cross))
        return Table(tuple(variables), *masks)

    @property
    def read(self) -> tuple[str, ...]:
        """The variables that some row's sign depends on."""
        return tuple(n for n in self.variables if any(depends(self.variables, m, n) for m in (self.check, self.cross)))

    def with_reference(self) -> Table:
        """rho - s_ref: check and R_l over cross and R_w.  Raises AssentError where the reference is read already."""
        if any(name.startswith("R_") for name in self.read):
            raise AssentError("the loss reads the reference already; leave reference=True out")
        wide = self.over(VARIABLES)
        return Table(VARIABLES, wide.check & literal(VARIABLES, "R_l"), wide.cross & literal(VARIABLES, "R_w"))

    def negated(self) -> Table:
        """Check and cross exchanged: -rho."""
        return Table(self.variables, self.cross, self.check)

    def swapped(self) -> Table:
        """Chosen and rejected exchanged: the loss of the other order."""
        renamed = Table(tuple(_PARTNER[name] for name in self.variables), self.check, self.cross)
        return renamed.over(self.variables)

    def __le__(self, other: Table) -> bool:
        """Whether this loss entails the other: fewer check and more cross rows, so rho is nowhere larger."""
        a, b = aligned(self, other)
        return a.check & ~b.check == 0 and b.cross & ~a.cross == 0

    def __lt__(self, other: Table) -> bool:
        return self <= other and not other <= self


def depends(variables: tuple[str, ...], mask: int, name: str) -> bool:
    """Whether a set of rows depends on a variable."""
    true = literal(variables, name)
    step = 1 << (len(variables) - 1 - variables.index(name))
    return mask & true != (mask & ~true) >> step


def aligned(a: Table, b: Table) -> tuple[Table, Table]:
    """Both losses over the same variables."""
    if a.variables == b.variables:
        return a, b
    known = dict.fromkeys((*a.variables, *b.variables))
    order = tuple(sorted(known, key=lambda n: (VARIABLES.index(n) if n in VARIABLES else len(VARIABLES), n)))
    return a.over(order), b.over(order)


def equivalent(a: Table, b: Table) -> bool:
    """Whether every row carries the same sign in both."""
    one, other = aligned(a, b)
    return one == other


def same_function(a: Table, b: Table) -> bool:
    """Whether rho is the same function of the probabilities, though the rows may differ: w l / (l (1 - w)) is w / (1 - w).

    Compares check_a cross_b with cross_a check_b as integers, with probabilities k / (k + m) of large coprime sizes.
    """
    a, b = aligned(a, b)
    for seed in (1, 2, 3):
        points = [((seed * 7919 + 104_729 * k) % 1_000_003, 1_299_709 + seed * k) for k, _ in enumerate(a.variables, 1)]
        at, ac, bt, bc = (_count(a.variables, mask, points) for mask in (a.check, a.cross, b.check, b.cross))
        if at * bc != ac * bt:
            return False
    return True


def _count(variables: tuple[str, ...], mask: int, odds: Sequence[tuple[int, int]]) -> int:
    """Weighted count of the rows in ``mask``, with (weight if true, weight if false) of each variable: an integer."""
    table, total = Table(variables, 0, 0), 0
    for i in range(table.rows):
        if mask >> i & 1:
            product = 1
            for true, (yes, no) in zip(table.row(i).values(), odds, strict=True):
                product *= yes if true else no
            total += product
    return total


def counter(a: Table, b: Table) -> dict[str, bool] | None:
    """An assignment that keeps ``a`` from entailing ``b``: a check row of a only, or a cross row of b only; None if none."""
    a, b = aligned(a, b)
    against = a.check & ~b.check or b.cross & ~a.cross
    return a.row((against & -against).bit_length() - 1) if against else None


def covers(tables: Mapping[str, Table]) -> list[tuple[str, str]]:
    """Edges (lower, upper) of the order among these losses, with none of them between."""
    below = {(x, y) for x in tables for y in tables if tables[x] < tables[y]}
    return [(x, y) for x in tables for y in tables if (x, y) in below and not any(_between(below, tables, x, y))]


def _between(below: set[tuple[str, str]], names: Mapping[str, Table], x: str, y: str) -> Iterator[bool]:
    return ((x, z) in below and (z, y) in below for z in names)


_STATES = {  # signs of the rows TT and FF; TF is check and FT is cross in all of them
    "CEUnl": "xx", "sCE": "bx", "CE": "cx", "l3": "-x", "cUNL": "x-", "l20": "xb", "fUnl": "xc", "ORPO": "--",
    "CPO": "b-", "l14": "bc", "cCPO": "c-", "unCPO": "cc", "qfUnl": "-b", "l5": "bb", "bCPO": "cb", "cfUnl": "-c",
}  # fmt: skip
REFERENCE_SUFFIX = "+ref"


@cache
def _named(reference: bool) -> dict[str, Table]:
    plain = {name: Table.of_marks(f"{tt}cx{ff}") for name, (tt, ff) in _STATES.items()}
    return {n + REFERENCE_SUFFIX: t.with_reference() for n, t in plain.items()} if reference else plain


def named(reference: bool = False) -> dict[str, Table]:
    """The 16 losses of the paper's lattice by name, or their versions with a reference ("CPO+ref" is DPO)."""
    return dict(_named(reference))


def name_of(table: Table) -> str | None:
    """The name of a loss of the lattice, with or without reference; None for the others."""
    return next((n for n, t in (_named(False) | _named(True)).items() if equivalent(t, table)), None)
