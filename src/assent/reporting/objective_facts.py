"""What is known of every registered objective, read from its class: for lists, pages and explanations."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import Any

from assent.errors import AssentError, did_you_mean
from assent.objectives import DPO, Objective, PairwiseObjective, RunInfo, Wrapper, aliases, objectives
from assent.objectives.registry import foreign

SAMPLES = {"base": DPO(), "column": "confidence", "tokens": "mask", "a1": 1.0, "a2": 1.0, "gamma": 1.0,
           "formula": "M_l -> M_w given one-true"}  # fmt: skip
"""Values of fields without a default, to show an objective made of another one."""


def names() -> list[str]:
    """Every name that an expression may use, aliases included."""
    return sorted([*objectives(), *aliases()])


def example(name: str) -> Objective:
    """The objective called ``name`` with its defaults, over dpo() where it needs another one."""
    known = objectives() | aliases()
    if name not in known:
        raise AssentError(f"no objective is called {name!r}; {did_you_mean(name, known)}")
    maker = known[name]
    needed = [p.name for p in inspect.signature(maker).parameters.values() if p.default is p.empty]
    return maker(**{field: SAMPLES[field] for field in needed})


def facts(name: str) -> dict[str, Any]:
    """Facts of one name, ready for JSON: text, family, paper, equation, data kind, needs, state, defaults."""
    one = example(name)
    cls = type(one)
    return {
        "name": name,
        **wants(one),
        "alias_of": None if name in objectives() else str(one),
        "family": cls.__module__.rpartition(".")[2],
        "kind": kind_of(one),
        "paper": cls.paper,
        "equation": cls.equation,
        "data": one.data,
        "mean_over": one.mean_over,
        "couples": one.couples,
        "defaults": defaults(name),
        "summary": summary(name),
    }


def wants(objective: Objective) -> dict[str, Any]:
    """Canonical text of an objective, what a scorer must provide, and the names of its state."""
    return {
        "canonical": str(objective),
        "needs": [str(need) for need in sorted(objective.needs)],
        "state": sorted(objective.init(RunInfo())),
    }


def kind_of(objective: Objective) -> str:
    """wrapper, pairwise, labelled, groups, or what the rows are."""
    if isinstance(objective, Wrapper) or "base" in {f.name for f in fields(objective)}:
        return "wrapper"
    return "pairwise" if isinstance(objective, PairwiseObjective) else objective.data


def defaults(name: str) -> dict[str, Any]:
    """Field -> default, as written in an expression; None where a value must be given."""
    if name in aliases():
        parameters = inspect.signature(aliases()[name]).parameters
        return {n: None if p.default is p.empty else p.default for n, p in parameters.items()}
    found = {}
    for f in fields(objectives()[name]):
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        found[f.name] = None if default is MISSING else default
    return {n: v if isinstance(v, str | int | float | bool | None) else str(v) for n, v in found.items()}


def text_of(name: str) -> str:
    """The docstring: formula, symbols with units and defaults, limits."""
    maker = (objectives() | aliases())[name]
    return inspect.cleandoc(maker.__doc__ or "")


def source_line(name: str) -> str:
    """The first line of the file it lives in: the paper in words."""
    module = inspect.getmodule((objectives() | aliases())[name])
    return (module.__doc__ or "").strip().splitlines()[0]


def summary(name: str) -> str:
    """The first line of the docstring."""
    return text_of(name).split("\n")[0]


def other_tools(name: str) -> dict[str, str]:
    """Another tool's field -> what it is called here, or why it is refused."""
    return {field: sentence for (objective, field), sentence in foreign().items() if objective == name}
