"""``assent report``: a page and, on request, one line of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assent.cli import main
from reporting import samples


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["report", *map(str, arguments)])
    return stopped.value.code


def test_a_page_and_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = samples.run_folder(tmp_path / "run")
    assert _run(run, "--out", tmp_path / "page.html", "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[0])
    assert len(lines) == 1 and found["schema"] == 1
    assert found["runs"][0]["steps"] == 200 and round(found["runs"][0]["eval_loss"], 9) == 0.5
    assert Path(found["page"]).read_text().startswith("<!doctype html>")


def test_without_json_nothing_is_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = samples.run_folder(tmp_path / "run")
    assert _run(run, "--out", tmp_path / "page.html") == 0
    printed = capsys.readouterr()
    assert printed.out == "" and "page.html" in printed.err


def test_what_is_no_run_costs_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, "--out", tmp_path / "page.html") == 2
    printed = capsys.readouterr()
    assert "holds no trainer_state.json" in printed.err and printed.err.count("\n") == 1
    assert not (tmp_path / "page.html").exists()
