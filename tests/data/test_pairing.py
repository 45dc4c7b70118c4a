"""Groups to pairs by four rules, and what becomes of groups that tell nothing."""

from __future__ import annotations

import pytest

from assent import AssentError
from assent.data import read
from assent.data.pairing import PAIRINGS, paired
from assent.records import Group

GROUP = Group("p", ("aa", "b", "cccc", "dd"), (1.0, 0.0, 0.0, 0.5), weight=2.0, row=7)


def sides(rule: str, group: Group = GROUP) -> list[tuple[str, str]]:
    return [(pair.chosen, pair.rejected) for pair in PAIRINGS[rule](group)]


def test_rules_by_hand() -> None:
    assert sides("best_worst") == [("aa", "b")]
    assert sides("ranked") == [("aa", "dd"), ("aa", "b"), ("aa", "cccc"), ("dd", "b"), ("dd", "cccc")]
    assert sides("success_length") == [("aa", "cccc")], "shortest success, longest failure; .5 does not succeed"
    fails = Group("p", ("aa", "b"), (0.0, 0.0))
    assert sides("success_length", fails) == [("b", "aa")] and sides("success_length_hard", fails) == []
    assert sides("best_worst", fails) == sides("ranked", fails) == []
    (pair,) = PAIRINGS["best_worst"](GROUP)
    assert (pair.margin, pair.score_chosen, pair.weight, pair.labels[0].rows) == (1.0, 1.0, 2.0, (7,))


def test_groups_without_a_pair_are_counted() -> None:
    rows = [{"prompt": "p", "completions": ["a", "b"], "scores": [1, s]} for s in (0, 1, 0)]
    found = paired(read(rows), "best_worst")
    assert (found.kind, len(found.rows), found.annotators) == ("pairs", 2, ("*",))
    assert found.report["groups paired"] == 2 and found.report["groups without a pair"] == 1
    with pytest.raises(AssentError, match="no group has two completions"):
        paired(read(rows[1:2]), "ranked")
    with pytest.raises(AssentError, match="pairing is 'best'"):
        paired(read(rows), "best")
    with pytest.raises(AssentError, match="holds pairs rows; it makes pairs of groups"):
        paired(read([{"prompt": "p", "chosen": "a", "rejected": "b"}]), "ranked")
