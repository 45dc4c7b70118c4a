"""assent papers."""

from __future__ import annotations

import json

import pytest

from assent.cli import main


def call(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_papers_as_json(capsys):
    code, out, _ = call(["papers", "--json"], capsys)
    found = json.loads(out)
    assert code == 0 and out.count("\n") == 1 and found["schema"] == 1
    (row,) = [p for p in found["papers"] if p["slug"] == "lcpo"]
    assert row["arxiv"] == "2509.24159" and "Latent Collective" in row["title"]
    assert set(row["marks"]) == {"formula", "mechanism", "real_architecture", "paper_setting"}
    assert row["marks"]["paper_setting"] == "not claimed"


def test_papers_as_a_table(capsys):
    code, out, _ = call(["papers"], capsys)
    assert code == 0 and "mechanism" in out and "…" not in out  # nothing is cut at 80 columns
    assert "lcpo  arXiv 2509.24159" in out and "Optimization" in out and "not claimed" in out
