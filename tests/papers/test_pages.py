"""The generated pages."""

from __future__ import annotations

from pathlib import Path

from assent.papers import pages, results

ROOT = Path(__file__).resolve().parents[2]

CLAIM = {
    "name": "n", "statement": "A is 2.", "source": "paper", "predicted": {"a": 2.0}, "measured": {"a": 1.98763, "b": 2e-9},
    "tolerance": 0.02, "seeds": [100, 101], "outcome": "supported",
}  # fmt: skip


def test_numbers_for_people():
    shown = [pages.number(x) for x in (None, 0.0, 0.8133881, 12345.6, 2e-9)]
    assert shown == ["", "0", "0.81339", "12346", "2.0e-09"]


def test_a_claim_on_the_page():
    page = pages.claims_page({"lcpo": {"seed": 100, "seconds": 61.2, "claims": [CLAIM]}})
    assert "`assent reproduce lcpo --seed 100`, 61 s." in page
    assert "- paper: 1 supported, 0 refuted, 0 unclear" in page
    assert "| a | 2 | 1.9876 |" in page and "| b |  | 2.0e-09 |" in page
    assert "Source: paper; within 0.02; seeds 100 to 101." in page


def test_committed_pages_are_what_the_stored_results_give():
    assert (ROOT / "docs/claims.md").read_text(encoding="utf-8") == pages.claims_page(results.stored())
    assert (ROOT / "docs/papers.md").read_text(encoding="utf-8") == pages.papers_page(results.listing())
