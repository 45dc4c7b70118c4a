"""Small versions of the 3D properties; the complete run is slow."""

from __future__ import annotations

import importlib

import pytest

from assent.papers.registry import reproduce

paper = importlib.import_module("assent.papers.3d_properties")


def test_corollaries():
    (claim,) = paper.corollaries()
    assert claim.measured["relative imbalance"] < 1e-12 and abs(claim.measured["exponent"] + 0.9) < 1e-9


def test_exact_geometry():
    dpo, flex, limits, sft = paper.exact_geometry(last=120)
    found = dpo.measured
    assert abs(found["p+ at 21"] - 0.109) < 1e-3 and abs(found["p- at 100"] - 0.0026) < 1e-4
    assert abs(found["unseen at 100"] - 0.913) < 1e-3 and abs(sft.measured["p+ at 100"] - 0.056) < 1e-3
    assert limits.predicted["p+, 0.05"] == 7 / 13 and limits.predicted["p+, 0.01"] == 37 / 39
    assert flex.measured["p+ at 1000, 0.08"] < 0.1 < 0.2 < flex.measured["p+ at 1000, 0.01"]


def test_toy():
    claims = {claim.name: claim for claim in paper.toy((0,), steps=(0, 60, 100), fitting=400)}
    found = claims["toy_dpo"].measured
    assert abs(found["S1 at 0"] - 0.3) < 0.02 and abs(found["S4 at 0"] - 0.02) < 0.01
    assert found["S1 at 100"] > 0.75 and found["S3 at 100"] < 0.3
    assert claims["three_properties"].measured["drop: fall of log p-, S1"] > 5
    assert claims["on_policy"].measured["lead"] > 0.3


@pytest.mark.slow
def test_all_statements():
    """The paper's statements and the exact geometry hold on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("3d-properties")["claims"]}
    assert {c["outcome"] for c in claims.values() if c["source"] == "paper"} == {"supported"}
    assert {c["outcome"] for name, c in claims.items() if name.startswith("geometry")} == {"supported"}
