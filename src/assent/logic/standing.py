"""Where a loss stands among the others: its neighbours in the lattice, its pull on either completion, and what entails what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from assent.errors import AssentError, did_you_mean
from assent.logic.cores import CORES, Core, core_of
from assent.logic.formula import Structure, read
from assent.logic.program import program
from assent.logic.tables import Table, counter, covers, equivalent, name_of, named, same_function
from assent.logic.wording import equation, text_of
from assent.objectives.base import Objective
from assent.objectives.parse import parse
from assent.objectives.registry import objectives

PLACES = ((0.2, 0.2), (0.5, 0.5), (0.8, 0.2))
"""Probabilities (p_w, p_l) where the pull of a loss is shown; the reference has 1/2 for both."""


@dataclass(frozen=True)
class Relation:
    """kind: "equivalent", "entails", "is entailed by" or "incomparable".

    same_function: whether rho is the same though the rows differ.  against: an assignment that keeps A from entailing B,
    and B from entailing A; None where it does.
    """

    kind: str
    same_function: bool
    against: tuple[dict[str, bool] | None, dict[str, bool] | None]


def compare(a: Table, b: Table) -> Relation:
    """How two losses stand: A entails B where A has fewer check and more cross rows, so that rho_A <= rho_B everywhere."""
    kind = "equivalent" if equivalent(a, b) else "entails" if a <= b else "is entailed by" if b <= a else "incomparable"
    return Relation(kind, same_function(a, b), (counter(a, b), counter(b, a)))


def weights(table: Table, w: float, l: float, r_w: float = 0.5, r_l: float = 0.5) -> tuple[float, float]:
    """(a, b) = (d rho / d log p_w, -d rho / d log p_l): how strongly the loss pushes the chosen up and the rejected down."""
    logp = {"M_w": w, "M_l": l, "R_w": r_w, "R_l": r_l}
    leaves = {n: torch.tensor([p], dtype=torch.float64).log().requires_grad_(n[0] == "M") for n, p in logp.items()}
    rho = program(table).rho(leaves)
    if not rho.requires_grad:
        return 0.0, 0.0
    up, down = torch.autograd.grad(rho.sum(), (leaves["M_w"], leaves["M_l"]), allow_unused=True, materialize_grads=True)
    return up.item(), -down.item() + 0.0


def neighbours(table: Table) -> tuple[list[str], list[str]]:
    """Names of the nearest losses of the lattice that entail this one, and of those that it entails.

    Among the versions with a reference where the loss reads it.
    """
    tables = named(any(name.startswith("R_") for name in table.read))
    below = [n for n, t in tables.items() if t < table]
    above = [n for n, t in tables.items() if table < t]
    lower = [n for n in below if not any(tables[n] < tables[m] for m in below)]
    return lower, [n for n in above if not any(tables[m] < tables[n] for m in above)]


def resolve(text: str) -> Table:
    """The table of a formula, rows, a name of the lattice, or of a registered objective ("dpo", "simpo(beta=2.0)")."""
    plain = text.strip()
    name = plain.partition("(")[0]
    if plain in objectives() or (name in objectives() and plain.endswith(")")):
        core = core_of(parse(plain if "(" in plain else _with_defaults(plain)))
        if isinstance(core, str):
            raise AssentError(f"{name} is the loss of no formula: {core}")
        return core.table
    if plain.isidentifier() and plain not in named() and not plain.startswith(("M_", "R_")):
        raise AssentError(f"there is no loss {plain!r}; {did_you_mean(plain, [*named(), *CORES])}")
    return read(plain)


def _with_defaults(name: str) -> str:
    if name == "logic":
        raise AssentError("logic needs a formula; write the formula itself, such as 'M_l -> M_w given one-true'")
    return f"{name}()"


def described(table: Table) -> dict[str, Any]:
    """All that is known of a loss, ready for JSON: equation, structure, rows, pull and place in the lattice."""
    structure = Structure.of_table(table)
    lower, upper = neighbours(table)
    parts = {"P": structure.core, "P_C": structure.given, "P_A": structure.also}
    from assent.logic.wording import formula

    return {
        "name": name_of(table),
        "exp_rho": equation(table),
        "formula": text_of(structure),
        "structure": {key: formula(structure.variables, mask) for key, mask in parts.items()},
        "variables": list(table.variables),
        "rows": dict(zip(table.names_of_rows(), table.marks, strict=True)),
        "marks": table.marks,
        "pair_weights": [
            dict(zip(("p_w", "p_l", "a", "b"), (*at, *weights(table, *at)), strict=True)) for at in PLACES
        ],
        "entailed_by": lower,
        "entails": upper,
    }


def standing(objective: Objective) -> list[dict[str, Any]]:
    """For every objective inside an expression, wrappers left out: its core and place, or why it has none."""
    found = []
    for one in objective.walk():
        if one.children() or one.name == "sum":
            continue
        core = core_of(one)
        if isinstance(core, Core):
            told = {"core": True, "link": core.link, "outside": list(core.outside), "condition": core.condition}
            found.append({"objective": str(one), **told, **described(core.table)})
        else:
            found.append({"objective": str(one), "core": False, "reason": core})
    return found


def relation_facts(a: str, b: str) -> dict[str, Any]:
    """``compare`` of two texts, ready for JSON."""
    one, other = resolve(a), resolve(b)
    told = asdict(compare(one, other))
    return {"a": {"text": a, "exp_rho": equation(one)}, "b": {"text": b, "exp_rho": equation(other)}, **told}


def edges(reference: bool = False) -> list[tuple[str, str]]:
    """The 32 cover edges (lower, upper) of the named losses."""
    return covers(named(reference))
