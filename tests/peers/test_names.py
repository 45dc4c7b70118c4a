"""docs/names.md has the rows of the list, and our side of it is what the code computes; no other tool is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from peers.cases import CASES, Case
from peers.table import our_loss, page, recorded

PAGE = Path(__file__).parents[2] / "docs" / "names.md"


def test_the_page_is_generated_from_the_list() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    assert sorted(recorded()) == sorted(case.key for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.trainer}-{c.expression}")
def test_our_loss_is_the_one_of_the_page(case: Case) -> None:
    theirs, mine = recorded()[case.key]
    assert our_loss(case) == (None if mine is None else pytest.approx(mine, rel=1e-5, abs=1e-5))
    if case.same:
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    else:
        assert mine is None or abs(mine - theirs) > 1e-3
