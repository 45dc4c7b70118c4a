"""Verdicts, with numbers on either side of each border."""

from __future__ import annotations

import torch

from assent.papers.claims import above, counts, mean_and_error, near

VALUES = torch.tensor([1.0, 2.0, 3.0, 4.0])  # mean 2.5, standard error .6455


def test_mean_and_standard_error():
    mean, error = mean_and_error(VALUES)
    assert mean == 2.5 and abs(error - (5 / 3) ** 0.5 / 2) < 1e-12
    assert mean_and_error(0.7) == (0.7, 0.0)


def test_near():
    def outcome(predicted, tolerance):
        return near("n", "s", "sheet", {"a": predicted}, {"a": VALUES}, tolerance, (0, 1, 2, 3)).outcome

    assert outcome(2.6, 0.2) == "supported"
    assert outcome(3.6, 0.2) == "unclear"  # 0.9 too far, two standard errors are 1.29
    assert outcome(4.1, 0.2) == "refuted"


def test_above():
    def outcome(bound):
        return above("n", "s", "paper", {}, {"a": VALUES}, bound, (0, 1, 2, 3)).outcome

    assert above("n", "s", "paper", {}, {"a": VALUES}, 1.2, (0,)).predicted == {"a": "above 1.2"}
    assert outcome(1.2) == "supported"
    assert outcome(1.3) == outcome(3.7) == "unclear"
    assert outcome(3.8) == "refuted"


def test_the_worst_cell_decides_and_json_has_the_contracts_keys():
    claim = near("n", "s", "paper", {"a": 2.5, "b": 9.0}, {"a": VALUES, "b": VALUES}, 0.1, (4,), shown={"c": 7.0})
    assert claim.outcome == "refuted" and claim.measured == {"a": 2.5, "b": 2.5, "c": 7.0}
    keys = ["name", "statement", "source", "predicted", "measured", "tolerance", "seeds", "outcome"]
    assert list(claim.as_json()) == keys and claim.as_json()["seeds"] == [4]
    other = above("m", "s", "sheet", {"a": 2.0}, {"a": VALUES}, 0.0, (4,))
    assert other.tolerance == "above 0" and abs(other.measured["standard error, a"] - 0.6455) < 1e-4
    found = counts([claim.as_json(), other.as_json()])
    assert found["paper"] == {"supported": 0, "refuted": 1, "unclear": 0} and found["sheet"]["supported"] == 1
