"""Expressions of objectives as text: parsed as data, never evaluated.  ``parse(str(x)) == x``."""

from __future__ import annotations

import ast
from typing import Any

from assent.errors import AssentError
from assent.objectives.base import Objective
from assent.objectives.registry import build

_LONGEST = 10_000


def parse(text: str | Objective) -> Objective:
    """The objective that an expression spells; an objective is given back as it is.

    >>> str(parse("0.5*dpo(beta=0.2) + sft()"))
    "0.5*dpo(beta=0.2) + sft(per='token')"

    Raises AssentError that shows the offending part for anything that is not names, numbers, texts, lists,
    dictionaries, calls by name, ``+``, ``-`` and ``*``.
    """
    if isinstance(text, Objective):
        return text
    if not isinstance(text, str) or not text.strip():
        raise AssentError(f"the objective is {text!r}; expected an expression such as lcpo(dpo(beta=0.1))")
    if len(text) > _LONGEST:
        raise AssentError(f"the objective has {len(text)} characters; expected at most {_LONGEST}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" at character {error.offset}" if getattr(error, "offset", None) else ""
        raise AssentError(
            f"the objective {text!r} cannot be read{where}; expected the form lcpo(dpo(beta=0.1)) + 0.1*sft()"
        ) from None
    return _Reader(text.strip()).objective(tree.body)


class _Reader:
    """Walks a syntax tree and accepts only the few forms of an expression."""

    def __init__(self, text: str) -> None:
        self.text = text

    def refuse(self, node: ast.AST, expected: str) -> AssentError:
        part = ast.get_source_segment(self.text, node) or "?"
        return AssentError(f"in the objective {self.text!r}: {part!r} is not {expected}")

    def objective(self, node: ast.expr) -> Objective:
        value = self.value(node)
        if not isinstance(value, Objective):
            raise self.refuse(node, "an objective; write its name with parentheses, as in dpo()")
        return value

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Call(func=ast.Name(id=name)):
                if any(k.arg is None for k in node.keywords):
                    raise self.refuse(node, "allowed: ** cannot be used")
                args = [self.value(a) for a in node.args]
                return build(name, args, {k.arg: self.value(k.value) for k in node.keywords})
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult()):
                return self.operation(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                value = self.value(node.operand)
                if isinstance(value, bool) or not isinstance(value, int | float | Objective):
                    raise self.refuse(node, "a number or an objective with a sign")
                return (
                    -1.0 * value
                    if isinstance(value, Objective) and isinstance(node.op, ast.USub)
                    else (-value if isinstance(node.op, ast.USub) else value)
                )
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return node.value
            case ast.List() | ast.Tuple():
                return tuple(self.value(e) for e in node.elts)
            case ast.Dict():
                if any(key is None for key in node.keys):
                    raise self.refuse(node, "allowed: ** cannot be used")
                return {self.value(k): self.value(v) for k, v in zip(node.keys, node.values, strict=True)}
            case ast.Name(id=name):
                raise self.refuse(node, f"a value; an objective is written with parentheses, {name}()")
            case _:
                raise self.refuse(node, "allowed here; expected names, numbers, texts, calls, +, - and *")

    def operation(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        both = isinstance(left, Objective) and isinstance(right, Objective)
        numbers = (int, float)
        if isinstance(node.op, ast.Mult):
            if both or not (isinstance(left, Objective) or isinstance(right, Objective)):
                raise self.refuse(node, "a number times an objective")
            factor = right if isinstance(left, Objective) else left
            if isinstance(factor, bool) or not isinstance(factor, numbers):
                raise self.refuse(node, "a number times an objective")
            return left * right if isinstance(left, Objective) else right * left
        if not both:
            raise self.refuse(node, "a sum of two objectives")
        return left + right if isinstance(node.op, ast.Add) else left - right
