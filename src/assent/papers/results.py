"""What was found when the papers' statements and tests were last run, and the four marks that follow from it.

``assent reproduce SLUG --publish`` in a checkout writes `results.json` beside this file; it travels with the package.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from assent.errors import AssentError
from assent.papers.registry import SLUGS, Paper, paper

STORED = Path(__file__).with_name("results.json")
SCHEMA = 1


def stored(path: Path = STORED) -> dict[str, Any]:
    """Results by slug; empty before the first run."""
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("schema") != SCHEMA:
        raise AssentError(
            f"{path} has schema {found.get('schema')!r}; expected {SCHEMA}: run assent reproduce --all in a checkout"
        )
    return found["papers"]


def marks(paper: Paper, found: Mapping[str, Any]) -> dict[str, str]:
    """The four marks of contract 8, from ``found``, the stored result of this paper (empty when it was never run).

    formula: "tested" when the paper's named formula tests ran and all passed, else "failing" or "not run".
    mechanism: the outcomes of the paper's own statements on small worlds: "supported" or "refuted" when all are,
    else "mixed"; "not run".  real_architecture: as formula, from the tests that run the objective on a real model
    class through the loading code that users use.  paper_setting: always "not claimed".
    """
    outcomes = {claim["outcome"] for claim in found.get("claims", ()) if claim["source"] == "paper"}
    mechanism = outcomes.pop() if len(outcomes) == 1 else "mixed" if outcomes else "not run"
    tests = found.get("tests", {})
    return {
        "formula": _mark(tests.get("formula"), "tested"),
        "mechanism": mechanism,
        "real_architecture": _mark(tests.get("model"), "runs"),
        "paper_setting": "not claimed",
    }


def _mark(counts: Mapping[str, int] | None, good: str) -> str:
    if not counts or not counts["passed"] + counts["failed"]:
        return "not run"
    return "failing" if counts["failed"] else good


def listing() -> list[dict[str, Any]]:
    """One line a paper: slug, title, arXiv id, objective and marks."""
    found = stored()
    return [
        {"slug": p.slug, "title": p.title, "arxiv": p.arxiv, "objective": p.objective}
        | {"marks": marks(p, found.get(p.slug, {}))}
        for p in map(paper, SLUGS)
    ]


def checkout() -> Path:
    """The root of the checkout that this package is run from; AssentError when it is an installed copy."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "pyproject.toml").is_file() or not (root / "tests").is_dir():
        raise AssentError(
            "publishing writes the project's pages and runs its tests, but this is an installed copy; "
            "run it in a checkout, or leave --publish out"
        )
    return root


def run_tests(ids: Sequence[str], root: Path) -> dict[str, int]:
    """Run tests by file or id in a process of their own: ``{"passed", "failed", "skipped"}``; missing files fail."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *ids]
        subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if not report.is_file():
            return {"passed": 0, "failed": len(ids), "skipped": 0}
        suites = ElementTree.parse(report).getroot().iter("testsuite")
        total = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
        for suite in suites:
            for name in total:
                total[name] += int(suite.get(name, 0))
    failed = total["failures"] + total["errors"]
    if not total["tests"]:
        failed = len(ids)
    return {"passed": total["tests"] - failed - total["skipped"], "failed": failed, "skipped": total["skipped"]}


def store(found: Mapping[str, Any], path: Path = STORED) -> None:
    """Write results by slug, aside first and then into place."""
    write(path, json.dumps({"schema": SCHEMA, "papers": found}, indent=1) + "\n")


def write(path: Path, text: str) -> None:
    """Write a text file aside and move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
