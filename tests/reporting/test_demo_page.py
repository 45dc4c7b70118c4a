"""The demo's page: figures of the run, a verdict that follows them, hostile text shown as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from assent.reporting import demo_page
from reporting import samples
from reporting.html_check import Page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(demo_page.write(samples.demo(), tmp_path_factory.mktemp("demo") / "demo.html"))


def test_methods_and_figures_are_there(page: Page) -> None:
    assert "LCPO, cross-fitted who gave each label 3.80 3.50 81.7 % 85.3 % 3.80 7.00" in page.text
    assert "DPO, clean labels clean labels: the ceiling 4.40 4.10" in page.text
    assert "at a KL of 6.00 nats from the reference" in page.text
    assert "Cross-fitted LCPO recovers 95 %" in page.text
    assert "6 simulated annotators got about 28 % of the labels wrong" in page.text
    assert "28.1 % 26.2 % to 30.1 %" in page.text
    assert "true mean reliability 71.7 % estimated by LCPO, cross-fitted 73.1 %" in page.text
    assert "is a quiet harbour with a warm light" in page.text and "2.31" in page.text


def test_every_plot_is_there_and_labels_its_axes(page: Page) -> None:
    for words in ("KL from the reference (nats per sequence)", "true reward (nats)", "true reliability", "anna",
                  "P(the label is right)", "right labels", "wrong labels", "compared here"):  # fmt: skip
        assert words in page.text
    page.assert_harmless()


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    hostile = Page(demo_page.write(samples.demo(hostile=True), tmp_path / "demo.html"))
    hostile.assert_harmless()
    assert "onerror=" in hostile.text and "⟦U+202E⟧" in hostile.source


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.931, "recovers 93 % of what knowing"),
        (1.04, "does as well as being told"),
        (-0.2, "recovered nothing"),
        (None, "What noisy labels cost"),
    ],
)
def test_the_verdict_follows_the_figures(share: float | None, words: str) -> None:
    result = {"oracle_gap_recovered": {"lcpo_crossfit": share}}
    assert words in demo_page.verdict(result).replace("\u202f", " ")


def test_the_comparison_is_at_the_smallest_of_the_largest_kls() -> None:
    result = samples.demo()
    del result["equal_kl"]
    assert demo_page._equal_kl(result) == 6.0


def test_only_the_json_keys_make_a_page_too(tmp_path: Path) -> None:
    full = samples.demo()
    keys = ("schema", "methods", "single_annotator", "oracle_gap_recovered", "reliability", "seconds")
    bare = {k: full[k] for k in keys}
    bare["oracle_gap_recovered"] = {"lcpo_online": None, "lcpo_crossfit": None}
    page = Page(demo_page.write(bare, tmp_path / "demo.html"))
    assert "not measurable" in page.text
    page.assert_harmless()


def test_a_page_stays_small(page: Page) -> None:
    assert len(page.source.encode()) < 150_000
