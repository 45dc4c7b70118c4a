"""The registry and what every paper in it owes."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import assent.papers
from assent.errors import AssentError
from assent.objectives import parse
from assent.papers.registry import SLUGS, paper, reproduce
from assent.papers.results import stored

ROOT = Path(__file__).resolve().parents[2]


def test_every_paper_file_is_listed():
    names = {m.name for m in pkgutil.iter_modules(assent.papers.__path__)}
    pages = {n for n in names if hasattr(importlib.import_module(f"assent.papers.{n}"), "PAPER")}
    assert pages == {slug.replace("-", "_") for slug in SLUGS}


@pytest.mark.parametrize("slug", SLUGS)
def test_a_paper_has_all_its_parts(slug):
    found = paper(slug)
    assert found.slug == slug and found.title
    assert re.fullmatch(r"\d{4}\.\d{4,5}", found.arxiv)
    assert str(parse(found.objective)) == str(parse(str(parse(found.objective))))
    assert found.statements and all(s.__doc__ for s in found.statements)
    for test in found.formula_tests + found.model_tests:
        assert (ROOT / test.split("::")[0]).is_file(), test
    assert len((ROOT / "src/assent/papers" / f"{slug.replace('-', '_')}.py").read_text().splitlines()) < 200


def test_published_results_belong_to_listed_papers_and_published_seeds():
    found = stored()
    assert set(found) == set(SLUGS)
    for result in found.values():
        names = [claim["name"] for claim in result["claims"]]
        assert len(names) == len(set(names)) and result["seed"] == 100
        assert all(claim["seeds"] in ([], [100, 101, 102, 103, 104]) for claim in result["claims"])


def test_unknown_slug_and_seed():
    with pytest.raises(AssentError, match="did you mean 'lcpo'"):
        paper("lcp0")
    with pytest.raises(AssentError, match="seed is -1"):
        reproduce("lcpo", seed=-1)
