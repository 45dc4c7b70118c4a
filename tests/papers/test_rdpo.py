"""Small versions of the statements on rDPO; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import rdpo
from assent.papers.registry import reproduce


def test_regret():
    claims = {claim.name: claim for claim in rdpo.regret((0,), rates=(0.0, 0.2), steps=30)}
    found = claims["regret"].measured
    assert found["rdpo at 0.2"] * 3 < found["dpo at 0.2"] < found["cdpo at 0.2"]
    assert claims["less_regret"].measured["dpo at 0.2"] > 0.2 and claims["three_times"].measured["at 0.2"] > 3
    assert claims["equal_without_noise"].measured == {"cdpo": 0.0, "rdpo": 0.0}


def test_scaled_error():
    order, levels = rdpo.scaled_error((0,), grid=((0.1, 1000), (0.2, 4000)))
    assert order.measured["smallest over largest mean"] > 0.5
    assert all(5 < levels.measured[cell] < 20 for cell in levels.predicted)


def test_ranking():
    same, levels = rdpo.ranking((0,), rows=1000)
    assert abs(same.measured["rdpo less dpo"]) < 0.02 and levels.measured["dpo"] > 0.85


def test_too_little_data():
    (claim,) = rdpo.too_little_data((0,), rows=200)
    assert claim.measured["flips 0.4"] > 4


@pytest.mark.slow
def test_all_statements():
    """The paper's claims hold on the development seeds, and so does the sheet's factor of 3."""
    claims = {claim["name"]: claim for claim in reproduce("rdpo", seed=0)["claims"]}
    assert {claims[n]["outcome"] for n in ("less_regret", "three_times", "equal_without_noise")} == {"supported"}
