"""Small versions of the statements on BCO; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import bco
from assent.papers.registry import reproduce


def test_unpaired():
    claims = {claim.name: claim for claim in bco.unpaired((0,), shifts=(0, 2))}
    found = claims["unpaired_regret"].measured
    assert found["bco, shift 0"] < found["bce, shift 0"] / 2
    assert found["udm, shift 2"] * 5 < found["bce, shift 2"] < found["bco, shift 2"] < found["udm clamped, shift 2"]
    assert claims["matching_fivefold"].measured["bco over udm, shift 2"] > 5


def test_paired():
    helps, halves, delta = bco.paired((0,), spreads=(1.0,))
    assert helps.measured["spread 1"] > 0 and 1.7 < halves.measured["spread 1"] < 2.3
    assert -0.35 < delta.measured["spread 1"] < -0.1


@pytest.mark.slow
def test_all_statements():
    """What the paper claims of shift and matching holds on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("bco", seed=0)["claims"]}
    kept = ("shift_helps", "matching_repairs", "matching_fivefold", "paired_shift_helps")
    assert {claims[name]["outcome"] for name in kept} == {"supported"}
