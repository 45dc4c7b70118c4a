"""The figure of win rates over rounds: what is read from a run's directory, and what is drawn of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from assent.errors import AssentError
from assent.reporting import run_page, runs
from assent.reporting.win_rate_plots import win_rates
from reporting import samples
from reporting.html_check import Page


def record(rate: float, judge: str = "reward:rm", **more: object) -> dict:
    """A win rate as a run or the command keeps it."""
    told = {"schema": 1, "judge": judge, "prompts": 40, "win_rate": rate, "interval": [rate - 0.1, rate + 0.08]}
    return told | {"length_controlled": rate - 0.05, "length_controlled_interval": [rate - 0.2, rate]} | more


def keep(folder: Path, *rates: float, judge: str = "reward:rm") -> None:
    for number, rate in enumerate(rates):
        place = folder / "rounds" / f"round-{number:03d}"
        place.mkdir(parents=True)
        (place / "win_rate.json").write_text(json.dumps(record(rate, judge, round=number + 1)))


def points(drawn: str, colour: str) -> list[list[tuple[float, float]]]:
    """The corners of the unfilled paths of a colour, in the drawing's pixels."""
    paths = re.findall(rf'<path d="([^"]+)"[^>]*style="fill: none;[^"]*stroke: var\(--{colour}\)', drawn)
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)] for path in paths]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, seed in (("one", 0), ("two", 1), ("none", 2)):
        samples.run_folder(tmp_path / name, seed=seed)
    keep(tmp_path / "one", 0.5, 0.6, 0.8)
    keep(tmp_path / "two", 0.55)
    return tmp_path


def test_the_line_of_a_run_is_its_rates(folder: Path) -> None:
    found = win_rates([runs.read(folder / "one")])
    assert re.sub(r"\s", " ", found.title) == "Win rate over rounds: 80 % after round 3"
    assert "Judge: reward:rm; prompts: 40." in found.caption and "at equal length" in found.svg
    rate, controlled = points(found.svg, "blue"), points(found.svg, "orange")
    (x0, y0), (x1, y1), (x2, y2) = max(rate, key=len)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.01) and (y1 - y2) == pytest.approx(2 * (y0 - y1), abs=0.05), (
        "0.1, 0.2"
    )
    unit = (y0 - y1) / 0.1
    lower = [y for _, y in max(controlled, key=len)]
    assert [(b - a) / unit for a, b in zip((y0, y1, y2), lower, strict=True)] == pytest.approx([0.05] * 3, abs=1e-3)


def test_several_runs_share_a_figure_and_other_judges_are_told(folder: Path) -> None:
    read = runs.read_all([folder / "none", folder / "one", folder / "two"])
    found = win_rates(read)
    assert found.title == "Win rate over rounds" and "one" in found.svg and "two" in found.svg
    assert "var(--blue)" not in found.svg, "the colour of the run that has none"
    assert "Judge: reward:rm" in found.caption and win_rates([read[0]]) is None
    keep(folder / "none", 0.4, judge="another")
    assert "Judges or prompts differ" in win_rates(runs.read_all([folder / "none", folder / "one"])).caption


def test_the_fuller_record_is_read_and_the_later_one_where_both_are_full(folder: Path) -> None:
    command = folder / "one" / "win_rates.json"
    command.write_text(json.dumps({"schema": 1, "rounds": [record(0.9, round=3)]}))
    assert {n: r["win_rate"] for n, r in runs.read(folder / "one").win_rates.items()} == {1: 0.5, 2: 0.6, 3: 0.8}
    command.write_text(json.dumps({"schema": 1, "rounds": [record(0.7, round=n) for n in (1, 2, 3)]}))
    assert {r["win_rate"] for r in runs.read(folder / "one").win_rates.values()} == {0.7}
    command.write_text(json.dumps({"rounds": [record(float("nan"), round=1), record(2.0, round=2), {"round": 3}, 4]}))
    assert len(runs.read(folder / "one").win_rates) == 3, "what is no win rate is passed over"
    command.write_text("{")
    with pytest.raises(AssentError, match=r"win_rates\.json"):
        runs.read(folder / "one")


def test_the_page_shows_it_and_hostile_judges_are_text(folder: Path) -> None:
    keep(folder / "none", 0.5, 0.7, judge=samples.HOSTILE)
    page = Page(run_page.write([folder / "none"], folder / "page.html"))
    page.assert_harmless()
    assert "Win rate over rounds" in page.text and "share of comparisons won" in page.text
