"""From a core loss equation to the structure that it is the loss of.  Algorithm 1 of arXiv:2412.17696.

rho = log(top / bottom), both multilinear polynomials with disjoint monomials in p_w, p_l (policy), r_w, r_l (reference) and
their complements.  A probability becomes its variable, 1 - t becomes not t, a product and, a sum or; then
P = P_b -> P_t, P_C = P_t or P_b, P_A = P_t and P_b.
"""

from __future__ import annotations

import re

from assent.logic.formula import Structure, pointed
from assent.logic.tables import POLICY, VARIABLES, Table, depends, literal
from assent.logic.wording import LETTERS

_VARIABLE = {letter: name for name, letter in LETTERS.items()}
_ALL = (1 << 2 ** len(VARIABLES)) - 1


def decompile(ratio: str) -> Structure:
    """The structure of exp(rho), given as ``top / bottom`` such as ``p_w (1 - p_l) / (p_l (1 - p_w))``.

    Over M_w and M_l, or over all four variables where r_w or r_l occurs.  Raises AssentError with the part marked where the
    text is no ratio of multilinear polynomials with disjoint monomials, or where top or bottom is never true.
    """
    reader = _Polynomial(ratio)
    top, bottom = reader.ratio()
    variables = VARIABLES if re.search(r"\br_[wl]\b", ratio) else POLICY
    table = Table(VARIABLES, top, bottom).over(variables)
    return Structure.of_table(table)


class _Polynomial:
    """Recursive descent; the value of every part is the set of rows (of the four variables) that it is the weight of."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.tokens = [(m.group(1), *m.span(1)) for m in re.finditer(r"\s*(\w+|[^\s\w])", text)] + [
            ("", *[len(text)] * 2)
        ]

    @property
    def sign(self) -> str:
        return self.tokens[self.at][0]

    def error(self, sentence: str, start: int | None = None) -> Exception:
        """An error at the next sign, or at everything since token ``start``."""
        first = self.at if start is None else start
        last = self.at if start is None else max(start, self.at - 1)
        return pointed(self.text, self.tokens[first][1], self.tokens[last][2], sentence)

    def take(self, sign: str) -> bool:
        if self.sign != sign or not sign:
            return False
        self.at += 1
        return True

    def ratio(self) -> tuple[int, int]:
        top = self.side("counts for it")
        bottom = self.side("counts against it") if self.take("/") else _ALL
        if self.sign:
            raise self.error("expected a sum of products of p_w, p_l, r_w, r_l and 1 - them, over another one")
        return top, bottom

    def side(self, role: str) -> int:
        start = self.at
        value = self.total()
        if value == 0:
            raise self.error(f"the loss is undefined: this is 0, so nothing {role}", start)
        return value

    def total(self) -> int:
        """1 - product, or a sum of products."""
        start = self.at
        value = self.product()
        if self.sign == "-" and value != _ALL:
            raise self.error("only 1 minus a product can be read as a probability; expected 1 - t", start)
        if self.take("-"):
            return _ALL & ~self.product()
        while self.take("+"):
            first = self.at
            more = self.product()
            if value & more:
                what = "this monomial and one before it can be true together; expected disjoint ones (1 - t in parentheses)"
                raise self.error(what, first)
            value |= more
        return value

    def product(self) -> int:
        start = self.at
        value = self.factor()
        while self.take("*") or self.sign == "(" or self.sign in _VARIABLE:
            first = self.at
            more = self.factor()
            shared = [n for n in VARIABLES if depends(VARIABLES, value, n) and depends(VARIABLES, more, n)]
            if shared:
                raise self.error(
                    f"{LETTERS[shared[0]]} occurs here a second time in a product; expected a multilinear one", first
                )
            value &= more
        if self.at == start:
            raise self.error("a factor is missing here")
        return value

    def factor(self) -> int:
        opened = self.at
        if self.take("("):
            value = self.total()
            if not self.take(")"):
                self.at = opened
                raise self.error("this parenthesis is never closed")
            return value
        if self.sign in ("0", "1"):
            self.at += 1
            return _ALL if self.tokens[self.at - 1][0] == "1" else 0
        if self.sign in _VARIABLE:
            self.at += 1
            return literal(VARIABLES, _VARIABLE[self.tokens[self.at - 1][0]])
        raise self.error("expected p_w, p_l, r_w, r_l, 0, 1 or an opening parenthesis here")
