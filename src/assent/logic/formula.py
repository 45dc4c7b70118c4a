"""Formulas as text: ``"M_l -> M_w given one-true"`` becomes a structure (P, P_C, P_A) and its table; nothing is evaluated.

``P given P_C also P_A``: P is what a good model satisfies, P_C the rows that are looked at (true when left out), P_A the
rows counted on both sides (false when left out).  check = (P or P_A) and P_C, cross = (not P or P_A) and P_C.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from assent.errors import AssentError, did_you_mean
from assent.logic.tables import POLICY, VARIABLES, Table, literal, named

_LONGEST, _DEEPEST = 2000, 60
_ALL = (1 << 2 ** len(VARIABLES)) - 1
_M_W, _M_L = literal(VARIABLES, "M_w"), literal(VARIABLES, "M_l")

CONSTANTS = {
    "true": _ALL, "false": 0, "⊤": _ALL, "⊥": 0,
    "one-true": _M_W | _M_L, "one-hot": _M_W ^ _M_L,
}  # fmt: skip
"""Words beside the variables; one-true is M_w or M_l, one-hot exactly one of them."""

_OPERATORS = {
    "not": ("not", "~", "!", "¬"), "and": ("and", "&", "&&", "∧"), "or": ("or", "|", "||", "∨"),
    "xor": ("xor", "^", "⊕"), "->": ("->", "=>", "→", "implies"), "<->": ("<->", "<=>", "↔", "iff"),
    "(": ("(",), ")": (")",), "given": ("given",), "also": ("also",),
}  # fmt: skip
_MEANING = {spelling: name for name, spellings in _OPERATORS.items() for spelling in spellings}
_TOKEN = re.compile(r"\s*(<->|<=>|->|=>|&&|\|\||\w+(?:-\w+)?|[^\s\w])")
_SIGNS = {"-": "-", "none": "-", "check": "c", "c": "c", "cross": "x", "x": "x", "both": "b", "b": "b"}


@dataclass(frozen=True)
class Structure:
    """(P, P_C, P_A) as bitmasks over the rows of ``variables``; several structures have the same table."""

    variables: tuple[str, ...]
    core: int
    given: int
    also: int

    @property
    def table(self) -> Table:
        """The rows that count for and against.  The two may be empty: see ``Table.degenerate``."""
        full = (1 << 2 ** len(self.variables)) - 1
        check, cross = (self.core | self.also) & self.given, ((full & ~self.core) | self.also) & self.given
        return Table(self.variables, check, cross)

    @classmethod
    def of_table(cls, table: Table) -> Structure:
        """The canonical structure: P = P_b -> P_t, P_C = P_t or P_b, P_A = P_t and P_b (Algorithm 1)."""
        top, bottom = table.check, table.cross
        return cls(table.variables, (table.full & ~bottom) | top, top | bottom, top & bottom)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


def pointed(text: str, start: int, end: int, sentence: str) -> AssentError:
    """An error that shows the formula with a line of carets under the offending part."""
    return AssentError(f"{sentence}\n  {text}\n  {' ' * start}{'^' * max(1, end - start)}")


def read(text: str | Table | Structure) -> Table:
    """The table that a text, a structure or a table means.

    A text is a name of the lattice ("cCPO", "CPO+ref"), a formula, or the rows' signs: "-cx-" in the order TT, TF, FT, FF
    (16 signs with the reference), or "TF:check FT:cross", where rows left out carry none.
    Raises AssentError, with the offending part marked, where the text cannot be read or the loss is undefined.
    """
    if isinstance(text, Structure):
        text = text.table
    if isinstance(text, Table):
        return _defined(text)
    if not isinstance(text, str) or not text.strip():
        raise AssentError(f"the formula is {text!r}; expected a text such as 'M_l -> M_w given one-true', or '-cx-'")
    text = text.strip()
    known = named() | named(True)
    if text in known:
        return known[text]
    if re.fullmatch(r"[-cxb]{4}|[-cxb]{16}", text):
        return _defined(Table.of_marks(text), text)
    if ":" in text:
        return _defined(_rows(text), text)
    return parse_structure(text).table


def _defined(table: Table, text: str | None = None) -> Table:
    if not table.degenerate:
        return table
    shown = text or table.marks
    side = "no row counts for it (check)" if table.check == 0 else "no row counts against it (cross)"
    raise pointed(shown, 0, len(shown), f"the loss is undefined: {side}, and log 0 is infinite")


def _rows(text: str) -> Table:
    """Rows typed one by one, as in "TT:- TF:check FT:cross FF:-"."""
    marks: dict[str, str] = {}
    size = 0
    for found in re.finditer(r"[^\s,;]+", text):
        row, _, sign = found.group().partition(":")
        size = size or len(row)
        if not re.fullmatch("[TF]{2}|[TF]{4}", row) or len(row) != size:
            raise pointed(text, *found.span(), "a row is two letters T or F (M_w, M_l), or four (and R_w, R_l)")
        if sign not in _SIGNS:
            raise pointed(text, *found.span(), f"a row's sign is one of {', '.join(_SIGNS)}; got {sign!r}")
        if row in marks:
            raise pointed(text, *found.span(), f"the row {row} is given twice")
        marks[row] = _SIGNS[sign]
    names = Table(VARIABLES[:size], 0, 0).names_of_rows()
    return Table.of_marks("".join(marks.get(name, "-") for name in names))


def parse_structure(text: str) -> Structure:
    """The structure (P, P_C, P_A) of a formula, over M_w and M_l, or over all four variables if the reference is named.

    Raises AssentError with the part marked: unknown words, missing parentheses, a loss without check or cross rows.
    """
    if len(text) > _LONGEST:
        raise AssentError(f"the formula has {len(text)} characters; expected at most {_LONGEST}")
    return _Parser(text).structure()


class _Parser:
    """Recursive descent; the value of every part is its bitmask over the 16 rows of the four variables."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.reference = text, 0, 0, False
        self.tokens = [self._token(found) for found in _TOKEN.finditer(text) if found.group(1)]
        self.tokens.append(_Token("end", "", len(text), len(text)))

    def _token(self, found: re.Match[str]) -> _Token:
        word, (start, end) = found.group(1), found.span(1)
        if word in VARIABLES or word in CONSTANTS:
            return _Token("value", word, start, end)
        if word in _MEANING:
            return _Token(_MEANING[word], word, start, end)
        if not re.fullmatch(r"[\w-]+", word) or word == "-":
            raise pointed(
                self.text, start, end, f"the sign {word!r} means nothing in a formula; use ~ & | ^ -> <-> ( )"
            )
        known = (*VARIABLES, *(c for c in CONSTANTS if len(c) > 1), "given", "also", "and", "or", "not", "xor")
        raise pointed(self.text, start, end, f"there is no variable {word!r}; {did_you_mean(word, known)}")

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *kinds: str) -> _Token | None:
        if self.next.kind not in kinds:
            return None
        self.at += 1
        return self.tokens[self.at - 1]

    def refuse(self, sentence: str) -> NoReturn:
        raise pointed(self.text, self.next.start, self.next.end, sentence)

    def structure(self) -> Structure:
        core, core_at = self.part()
        given, given_at = self.part() if self.take("given") else (_ALL, core_at)
        also, _ = self.part() if self.take("also") else (0, core_at)
        if self.next.kind == ")":
            self.refuse("this parenthesis closes nothing")
        if self.next.kind in ("given", "also"):
            self.refuse(f"{self.next.text!r} is misplaced; the order is P given P_C also P_A, each once")
        if self.next.kind != "end":
            self.refuse("an operator is missing here; expected and, or, xor, ->, <->, given or also")
        found = Structure(VARIABLES, core, given, also)
        self.must_be_defined(found, core_at, given_at)
        if self.reference:
            return found
        masks = (Table(VARIABLES, mask, 0).over(POLICY).check for mask in (core, given, also))
        return Structure(POLICY, *masks)

    def must_be_defined(self, found: Structure, core: tuple[int, int], given: tuple[int, int]) -> None:
        if found.given == 0:
            raise pointed(self.text, *given, "the loss is undefined: this condition is never true")
        where = "" if found.given == _ALL else " where the condition holds"
        if found.table.check == 0:
            raise pointed(
                self.text, *core, f"the loss is undefined: this formula is never true{where}, so nothing counts for it"
            )
        if found.table.cross == 0:
            what = (
                f"the loss is undefined: this formula is always true{where} (a tautology), so nothing counts against it"
            )
            raise pointed(self.text, *core, what)

    def part(self) -> tuple[int, tuple[int, int]]:
        """One of P, P_C, P_A and where it stands."""
        start = self.next.start
        value = self.equivalence()
        return value, (start, self.tokens[self.at - 1].end)

    def equivalence(self) -> int:
        value = self.implication()
        while self.take("<->"):
            value = _ALL & ~(value ^ self.implication())
        return value

    def implication(self) -> int:
        self.deeper()
        value = self.either()
        if self.take("->"):
            value = (_ALL & ~value) | self.implication()
        self.depth -= 1
        return value

    def either(self) -> int:
        value = self.exclusive()
        while self.take("or"):
            value |= self.exclusive()
        return value

    def exclusive(self) -> int:
        value = self.both()
        while self.take("xor"):
            value ^= self.both()
        return value

    def both(self) -> int:
        value = self.unary()
        while self.take("and"):
            value &= self.unary()
        return value

    def unary(self) -> int:
        negative = False
        while self.take("not"):
            negative = not negative
        value = self.atom()
        return _ALL & ~value if negative else value

    def atom(self) -> int:
        if token := self.take("value"):
            self.reference |= token.text.startswith("R_")
            return CONSTANTS[token.text] if token.text in CONSTANTS else literal(VARIABLES, token.text)
        if opened := self.take("("):
            value = self.equivalence()
            if not self.take(")"):
                missing = self.next.kind in ("value", "not", "(")
                what = "an operator or ) is missing after this" if missing else "this parenthesis is never closed"
                raise pointed(self.text, opened.start, opened.end, what)
            return value
        return self.refuse("a variable, a constant or an opening parenthesis is missing here")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.refuse(f"the formula is nested more than {_DEEPEST} deep here")
