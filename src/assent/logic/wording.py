"""Readable text of row sets: formulas through sympy's simplification, and polynomials in the probabilities.

sympy is imported on use: reading, compiling and comparing need bitmasks only, and its import takes half a second.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations
from typing import Any

from assent.logic.formula import Structure
from assent.logic.tables import VARIABLES, Table, depends, literal

LETTERS = {"M_w": "p_w", "M_l": "p_l", "R_w": "r_w", "R_l": "r_l"}
"""Variable -> its probability in the equations."""


def expression(variables: tuple[str, ...], mask: int) -> Any:
    """The shortest of sympy's sum of products and product of sums of a set of rows, as a sympy Boolean."""
    from sympy import Symbol
    from sympy.logic.boolalg import POSform, SOPform, true

    if mask == Table(variables, 0, 0).full:
        return true
    symbols = [Symbol(name) for name in variables]
    rows = [[int(value) for value in Table(variables, 0, 0).row(i).values()] for i in range(2 ** len(variables))]
    chosen = [row for i, row in enumerate(rows) if mask >> i & 1]
    return min((form(symbols, chosen) for form in (SOPform, POSform)), key=lambda e: (e.count_ops(), len(str(e))))


@cache
def formula(variables: tuple[str, ...], mask: int) -> str:
    """A set of rows in words that ``parse_structure`` reads: ``M_l -> M_w``."""
    return _words(expression(variables, mask))


def _words(e: Any, inner: bool = False) -> str:
    from sympy.logic.boolalg import And, Not, Or

    if isinstance(e, Not):
        return "~" + _words(e.args[0], inner=True)
    if not isinstance(e, And | Or):
        return str(e).lower() if str(e) in ("True", "False") else str(e)
    parts = sorted(e.args, key=lambda a: (isinstance(a, Not), sorted(map(_place, a.free_symbols))))
    if isinstance(e, And):
        shown = " & ".join(_words(a, inner=True) for a in parts)
    else:
        before = [a.args[0] for a in parts if isinstance(a, Not)]
        after = [a for a in parts if not isinstance(a, Not)]
        if before and after:
            left, right = And(*before), Or(*after)
            shown = f"{_words(left, inner=True)} -> {_words(right, inner=True)}"
        else:
            shown = " | ".join(_words(a, inner=True) for a in parts)
    return f"({shown})" if inner else shown


def _place(symbol: Any) -> tuple[int, str]:
    """Where a variable stands in a formula: M_w, M_l, R_w, R_l, then others by name."""
    name = str(symbol)
    return (VARIABLES.index(name) if name in VARIABLES else len(VARIABLES), name)


def text_of(structure: Structure) -> str:
    """``P given P_C also P_A`` with the trivial parts left out."""
    full = (1 << 2 ** len(structure.variables)) - 1
    text = formula(structure.variables, structure.core)
    if structure.given != full:
        text += f" given {_given(structure)}"
    return text + (f" also {formula(structure.variables, structure.also)}" if structure.also else "")


def _given(structure: Structure) -> str:
    m_w, m_l = (literal(structure.variables, name) if name in structure.variables else 0 for name in ("M_w", "M_l"))
    known = {m_w | m_l: "one-true", m_w ^ m_l: "one-hot"}
    return known.get(structure.given) or formula(structure.variables, structure.given)


@cache
def polynomial(variables: tuple[str, ...], mask: int) -> str:
    """WMC of a set of rows as a multilinear polynomial with disjoint monomials, the shortest that factoring finds."""
    full = (1 << 2 ** len(variables)) - 1
    found = [_factored(variables, mask, order) for order in permutations(variables)]
    if mask not in (0, full):
        found += ["1 - " + closed(_factored(variables, full & ~mask, order)) for order in permutations(variables)]
    return min(found, key=lambda text: (len(text), text.count("1 -")))


def _factored(variables: tuple[str, ...], mask: int, order: tuple[str, ...]) -> str:
    if mask == 0:
        return "0"
    if mask == (1 << 2 ** len(variables)) - 1:
        return "1"
    name = next(n for n in order if depends(variables, mask, n))
    high, low = split(variables, mask, name)
    p, rest = LETTERS.get(name, name), order[order.index(name) + 1 :]
    parts = [
        letter if part == "1" else f"{letter} {closed(part)}"
        for letter, half in ((p, high), (f"(1 - {p})", low))
        if (part := _factored(variables, half, rest)) != "0"
    ]
    if len(parts) == 1 and parts[0].startswith("(") and parts[0].count("(") == 1 and parts[0].endswith(")"):
        return parts[0][1:-1]
    return " + ".join(parts)


def closed(text: str) -> str:
    """A factor: in parentheses if it is a sum."""
    depth = 0
    for i, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and text[i : i + 3] in (" + ", " - "):
            return f"({text})"
    return text


def split(variables: tuple[str, ...], mask: int, name: str) -> tuple[int, int]:
    """The set of rows with a variable held true, and held false; both no longer depend on it."""
    true, step = literal(variables, name), 1 << (len(variables) - 1 - variables.index(name))
    high, low = mask & true, mask & ~true
    return high | high << step, low | low >> step


def equation(table: Table) -> str:
    """exp(rho) as a ratio: ``p_w (1 - p_l) / (p_l (1 - p_w))``."""
    top, bottom = (polynomial(table.variables, mask) for mask in (table.check, table.cross))
    if bottom == "1":
        return top
    wrap = bottom if bottom.isidentifier() or (bottom == closed(bottom) and " " not in bottom) else f"({bottom})"
    return f"{closed(top)} / {wrap}"
