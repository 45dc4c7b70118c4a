"""The report: ordered counts, few examples, plain rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assent.data import Report
from assent.data.report import SENTENCES


def test_counts_and_examples():
    report = Report()
    for row in range(8):
        report.add("ties", row, "anna" if row % 2 else "ben")
    report.add("ties", 0)
    report.add("rows read", n=10)
    assert report["ties"] == 9 and report["rows read"] == 10 and report["too long"] == 0
    assert [row[:3] for row in report.table()] == [("ties", "note", 9), ("rows read", "count", 10)]
    assert report.table()[0][4] == "rows 0, 1, 2, 3, 4, ...; ben; anna"
    assert json.loads(json.dumps(report.to_json()))["ties"]["rows"] == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError):
        report["tie"]
    with pytest.raises(KeyError):
        report.add("tie")


def test_merged_adds_and_leaves_its_parts_alone():
    one, two = Report(), Report()
    one.add("ties", 1)
    two.add("ties", 2)
    two.add("too long", 3)
    both = one.merged(two)
    assert (both["ties"], both["too long"], one["ties"]) == (2, 1, 1)
    assert both.events["ties"].rows == [1, 2]


def test_the_docs_list_every_event():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    for name, (kind, sentence) in SENTENCES.items():
        assert f"| {name} | {kind} | {sentence} |" in page
