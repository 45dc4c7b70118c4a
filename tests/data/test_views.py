"""Which transform makes which view, and what is drawn for it."""

from __future__ import annotations

import pytest

from assent import AssentError
from assent.data.views import FAMILIES, Given, check, of_row, other_prompts
from assent.objectives import objectives
from assent.objectives.base import Need
from assent.records import Example, Pair
from assent.reporting.objective_facts import example

PAIR = Pair(
    "Name a colour.", " The sky is blue because of the air.", " Grass, often green, is green.", rationale="It fits."
)


def test_every_view_of_every_objective_has_a_transform() -> None:
    asked = {need for name in objectives() for need in example(name).needs if need.kind == "view"}
    assert asked, "objectives with views are registered"
    check(asked)
    made = of_row(Given(PAIR, 0, "Another?", 4), asked - {Need("view", "mismatched")})
    assert {need.name for need in asked} - {"mismatched"} <= made.keys()


def test_the_draws_of_a_row_do_not_depend_on_its_place() -> None:
    wanted = [Need("view", name) for names in FAMILIES.values() for name in names if "degraded" not in name]
    first, again = (of_row(Given(PAIR, 7, "Another?", 0), wanted) for _ in range(2))
    assert first == again
    other = of_row(Given(PAIR, 8, "Another?", 0), wanted)
    assert first != other, "another seed draws other instructions"


def test_prompts_of_other_rows_always_differ() -> None:
    rows = [Example(f"p{min(i, 5)}", "c") for i in range(40)]  # most rows share one prompt
    found = other_prompts(rows, 0)
    assert all(other != row.prompt for other, row in zip(found, rows, strict=True))
    assert other_prompts(rows, 0) == found != other_prompts(rows, 1)
    assert other_prompts([Example("p", "a"), Example("p", "b")], 0) == ["p", "p"]


def test_unknown_views_and_two_sizes_are_refused() -> None:
    with pytest.raises(AssentError, match="no data transform makes the view 'rational'; did you mean 'rationale'"):
        check([Need("view", "rational")])
    with pytest.raises(AssentError, match="asked for with 3 and 4 levels"):
        check([Need("view", "chosen@degraded", 3), Need("view", "rejected@degraded", 4)])
