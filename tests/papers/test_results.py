"""Marks follow from stored results; tests are run and counted."""

from __future__ import annotations

import json

import pytest

from assent.errors import AssentError
from assent.papers import results
from assent.papers.registry import paper

GOOD = {"passed": 3, "failed": 0, "skipped": 0}


def claim(source, outcome):
    return {"source": source, "outcome": outcome}


def test_marks_of_a_paper_never_run():
    expected = {"formula": "not run", "mechanism": "not run", "real_architecture": "not run"}
    assert results.marks(paper("lcpo"), {}) == expected | {"paper_setting": "not claimed"}


@pytest.mark.parametrize(
    ("outcomes", "mark"),
    [(["supported"] * 2, "supported"), (["refuted"], "refuted"), (["supported", "refuted"], "mixed"),
     (["unclear"], "unclear"), ([], "not run")],
)  # fmt: skip
def test_mechanism_follows_the_papers_own_claims(outcomes, mark):
    found = {"claims": [claim("paper", o) for o in outcomes] + [claim("sheet", "refuted")]}
    assert results.marks(paper("lcpo"), found)["mechanism"] == mark


def test_formula_and_architecture_follow_the_tests():
    found = {"claims": [], "tests": {"formula": GOOD, "model": GOOD | {"failed": 1}}}
    marks = results.marks(paper("lcpo"), found)
    assert marks["formula"] == "tested" and marks["real_architecture"] == "failing"
    skipped = {"tests": {"formula": {"passed": 0, "failed": 0, "skipped": 2}}}
    assert results.marks(paper("lcpo"), skipped)["formula"] == "not run"


def test_run_tests_counts_outcomes(tmp_path):
    text = (
        "import pytest\ndef test_a(): assert 1\ndef test_b(): assert 0\n"
        "@pytest.mark.skip\ndef test_c(): pass\n@pytest.fixture\ndef f(): raise OSError\ndef test_d(f): pass\n"
    )
    (tmp_path / "test_some.py").write_text(text)
    assert results.run_tests(("test_some.py",), tmp_path) == {"passed": 1, "failed": 2, "skipped": 1}
    assert results.run_tests(("test_none.py",), tmp_path)["failed"] == 1


def test_store_and_read_back(tmp_path):
    path = tmp_path / "results.json"
    results.store({"lcpo": {"seed": 3}}, path)
    assert results.stored(path) == {"lcpo": {"seed": 3}} and [p.name for p in tmp_path.iterdir()] == ["results.json"]
    path.write_text(json.dumps({"schema": 99}))
    with pytest.raises(AssentError, match="schema 99"):
        results.stored(path)
    assert results.stored(tmp_path / "none.json") == {}
