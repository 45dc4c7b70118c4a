"""The page about training runs: one or several, as far as their directories go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import assent
from assent.errors import AssentError
from assent.reporting import run_page, runs
from reporting import samples
from reporting.html_check import Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    samples.run_folder(path / "first" / "out")
    samples.run_folder(path / "second" / "out", seed=1, objective="dpo(beta=0.1)", steps=160)
    samples.run_folder(path / "hostile", hostile=True)
    return path


def test_one_run(folder: Path) -> None:
    page = Page(assent.report(folder / "first" / "out", folder / "one.html"))
    page.assert_harmless()
    for words in ("Objective lcpo(dpo(beta=0.1))", "optimiser steps 200 2.00 epochs", "70.0 % held out, train 90.0 %",
                  "noise rate, as the run sees it 25.0 % share of labels held to be wrong",
                  "12 min 34 s", "step 150: chosen log-probability falls",
                  "anna 40 95.0 %", "ben 40 60.0 %", "held out", "epoch 1", "epoch 2", "# A model card"):  # fmt: skip
        assert words in page.text, words
    assert len(page.source.encode()) < 250_000


def test_runs_of_the_same_name_are_told_apart(folder: Path) -> None:
    page = Page(run_page.write([folder / "first" / "out", folder / "second" / "out"], folder / "two.html"))
    page.assert_harmless()
    assert "2 runs compared" in page.text
    assert "first/out" in page.text and "second/out" in page.text and "dpo(beta=0.1)" in page.text


def test_hostile_logs_alarms_and_cards_are_text(folder: Path) -> None:
    page = Page(run_page.write([folder / "hostile"], folder / "hostile.html"))
    page.assert_harmless()
    assert "⟦U+202E⟧" in page.source and "onerror=" in page.text


def test_the_figures_of_a_run(folder: Path) -> None:
    run = runs.read(folder / "first" / "out")
    found = run_page.summary(run)
    assert (found["steps"], found["epochs"], found["alarms"]) == (200, 2.0, 1)
    assert found["accuracy"] == pytest.approx(0.9)
    assert found["noise_rate"] == pytest.approx(0.25)
    assert found["seconds"] == 754.0
    assert list(run.posteriors) == ["epoch 1", "epoch 2"] and len(run.posteriors["epoch 1"]) == 500
    assert run.curve("train_loss") == ([], []), "NaN is no point of a curve"


def test_a_cross_fitted_run_shows_held_out_estimates_with_intervals(tmp_path: Path) -> None:
    run = samples.run_folder(tmp_path / "run")
    anna = {"reliability": 0.91, "low": 0.88, "high": 0.94, "labels": 300}
    found = {"schema": 1, "annotators": {"anna": anna}, "noise_rate": 0.123, "noise_rate_low": 0.1}
    (run / "crossfit").mkdir()
    (run / "crossfit" / "reliabilities.json").write_text(
        json.dumps(found | {"noise_rate_high": 0.15, "rests_on": "agreement"})
    )
    page = Page(run_page.write([run], tmp_path / "page.html"))
    page.assert_harmless()
    assert "anna 300 91.0 % 88.0 % – 94.0 %" in page.text
    assert "noise rate 12.3 %, 95 % interval 10.0 % to 15.0 %; rests on agreement" in page.text


def test_a_run_cut_short_is_read_from_its_last_checkpoint(tmp_path: Path) -> None:
    for step in (9, 10):
        state = {"global_step": step, "log_history": [{"step": step, "loss": 0.5}]}
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state))
    assert runs.read(tmp_path).steps == 10
    page = Page(run_page.write([tmp_path], tmp_path / "page.html"))
    assert "nothing to draw" in page.text
    page.assert_harmless()


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "holds no trainer_state.json"), ("{", "cannot read"), ("[]", "has no log_history"), ("{}", "has no log")],
)
def test_what_is_no_run_is_refused_in_words(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "trainer_state.json").write_text(content)
    with pytest.raises(AssentError, match=words):
        runs.read(tmp_path)


def test_an_audits_folder_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text("{}")
    with pytest.raises(AssentError, match="an audit's folder"):
        runs.read(tmp_path)


def test_no_run_twice_and_none_at_all(folder: Path) -> None:
    with pytest.raises(AssentError, match="twice"):
        runs.read_all([folder / "hostile", folder / "hostile"])
    with pytest.raises(AssentError, match="at least one"):
        runs.read_all([])
    with pytest.raises(AssentError, match="there is no directory"):
        runs.read_all([folder / "nowhere"])
