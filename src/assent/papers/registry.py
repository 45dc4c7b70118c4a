"""The papers that have a page in the project, one file each; looked up by slug."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from assent.errors import AssentError, did_you_mean
from assent.papers.claims import Claim

SLUGS = (
    "lcpo",
    "preference-rankings",
    "gradient-entanglement",
    "rdpo",
    "3d-properties",
    "madpo",
    "color",
    "osp",
    "spo-degree",
    "srpo",
    "bco",
    "sem-dpo",
    "asft",
    "rpo",
    "tgdpo",
    "rationales",
    "mapl",
    "sparsepo",
    "dpa-logic",
    "egpo",
    "inpo",
    "sppo",
    "rso",
    "ipo-md",
    "on-policy",
    "llm-regret",
    "grao",
    "irepo",
    "npo",
    "drift",
    "adversarial-mdp",
    "unpacking",
)
"""One slug a paper: ``assent/papers/<slug>.py``, _ for -, defines ``PAPER``."""

REPETITIONS = 5
"""Seeds of a reproduction: ``--seed S`` runs S .. S + 4."""


@dataclass(frozen=True)
class Paper:
    """A citation, the composition in this package's own spelling, and the statements with their check.

    statements: functions of the seeds that return claims.
    formula_tests, model_tests: test files or ids (from the checkout's root) that check the formulas, and that run the
    objective on a real model class through the loading code that users use; `results.measure` runs them.
    """

    slug: str
    title: str
    arxiv: str
    objective: str
    statements: tuple[Callable[[Sequence[int]], list[Claim]], ...]
    formula_tests: tuple[str, ...]
    model_tests: tuple[str, ...]


def paper(slug: str) -> Paper:
    """The paper called ``slug``; AssentError with the nearest slugs when there is none."""
    if slug not in SLUGS:
        raise AssentError(f"no paper is called {slug!r}; {did_you_mean(slug, SLUGS)}")
    return importlib.import_module(f"assent.papers.{slug.replace('-', '_')}").PAPER


def reproduce(slug: str, seed: int = 0, progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Check every statement of a paper on seeds ``seed`` .. ``seed + 4``; the object of ``assent reproduce --json``."""
    if seed < 0:
        raise AssentError(f"seed is {seed}; expected a whole number from 0")
    found, started, claims = paper(slug), time.perf_counter(), []
    seeds = tuple(range(seed, seed + REPETITIONS))
    for statement in found.statements:
        if progress is not None:
            progress(statement.__name__.replace("_", " "))
        claims.extend(statement(seeds))
    seconds = round(time.perf_counter() - started, 1)
    return {"schema": 1, "slug": slug, "claims": [claim.as_json() for claim in claims], "seconds": seconds}
