"""The registry of objectives: one name, one class; look-up with "did you mean"."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from assent.errors import AssentError, did_you_mean
from assent.objectives.base import Objective

T = TypeVar("T", bound=type[Objective])

_CLASSES: dict[str, type[Objective]] = {}
_ALIASES: dict[str, Callable[..., Objective]] = {}
_FOREIGN: dict[tuple[str, str], str] = {}


def register(cls: T) -> T:
    """Class decorator: enter an objective under its ``name``."""
    if cls.name in _CLASSES or cls.name in _ALIASES:
        raise ValueError(f"two objectives are called {cls.name!r}")
    _CLASSES[cls.name] = cls
    return cls


def alias(function: Callable[..., Objective]) -> Callable[..., Objective]:
    """Decorator: a function whose name parses to the composition that it returns."""
    name = function.__name__
    if name in _CLASSES or name in _ALIASES:
        raise ValueError(f"two objectives are called {name!r}")
    _ALIASES[name] = function
    return function


def explain_foreign(objective: str, field: str, sentence: str) -> None:
    """Enter what to say when another tool's field name is used here with a different meaning."""
    _FOREIGN[objective, field] = sentence


def objectives() -> dict[str, type[Objective]]:
    """The registered objectives by name."""
    return dict(sorted(_CLASSES.items()))


def aliases() -> dict[str, Callable[..., Objective]]:
    """The registered aliases by name."""
    return dict(sorted(_ALIASES.items()))


def foreign() -> dict[tuple[str, str], str]:
    """(objective, another tool's field) -> what it is called here, or why it is refused."""
    return dict(_FOREIGN)


def build(name: str, args: list[Any], kwargs: dict[str, Any]) -> Objective:
    """Make the objective called ``name``; unknown names and fields are refused with the nearest known ones."""
    maker = _CLASSES.get(name) or _ALIASES.get(name)
    if maker is None:
        raise AssentError(f"no objective is called {name!r}; {did_you_mean(name, [*_CLASSES, *_ALIASES])}")
    fields = list(inspect.signature(maker).parameters)
    for field in kwargs:
        if (name, field) in _FOREIGN:
            raise AssentError(f"{name}: {_FOREIGN[name, field]}")
        if field not in fields:
            raise AssentError(f"{name} has no field {field!r}; {did_you_mean(field, fields)}")
    if len(args) > len(fields):
        raise AssentError(f"{name} takes at most {len(fields)} values ({', '.join(fields)}); got {len(args)}")
    for field in fields[: len(args)]:
        if field in kwargs:
            raise AssentError(f"{name}: {field} is given twice")
    values = dict(zip(fields, args, strict=False)) | kwargs
    missing = [f for f, p in inspect.signature(maker).parameters.items() if p.default is p.empty and f not in values]
    if missing:
        raise AssentError(f"{name} needs {missing[0]!r}; write {name}({', '.join(fields)})")
    _check_kinds(maker, name, values)
    return maker(**values)


def _check_kinds(maker: Callable[..., Objective], name: str, values: dict[str, Any]) -> None:
    """Refuse a text where a number is expected and the like, by the field's default."""
    for field, parameter in inspect.signature(maker).parameters.items():
        if field not in values or parameter.default is parameter.empty:
            continue
        value, default = values[field], parameter.default
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if number and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise AssentError(f"{name}: {field} is {value!r}; expected a number")
        if isinstance(default, bool) and not isinstance(value, bool):
            raise AssentError(f"{name}: {field} is {value!r}; expected True or False")
