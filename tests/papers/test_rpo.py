"""A small version of the statements on RPO; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import rpo
from assent.papers.registry import reproduce


def test_overoptimisation():
    claims = {claim.name: claim for claim in rpo.overoptimisation((0,), steps=(100, 300), repeats=5)}
    found = claims["figures"].measured
    assert found["eta 0.05, 300 steps"] > found["eta 0.005, 300 steps"] > found["eta 0, 300 steps"] + 0.2
    assert claims["dpo_overoptimises"].measured["100 less 300 steps"] > 0
    assert claims["large_eta_imitates"].measured["eta 0.05 less 1"] > 0.2


def test_world():
    chosen, rejected = rpo.draw((0,), repeats=20)
    assert chosen.shape == (20, 300) and abs(float((chosen >= rpo.GOOD).double().mean()) - 0.01) < 0.02
    assert float(rpo.truth()[chosen].mean()) > float(rpo.truth()[rejected].mean()) + 0.2


@pytest.mark.slow
def test_all_statements():
    """What the paper claims of DPO and of the term holds on the development seeds."""
    claims = {claim["name"]: claim["outcome"] for claim in reproduce("rpo", seed=0)["claims"]}
    assert {claims[name] for name in ("dpo_overoptimises", "regulariser_helps")} == {"supported"}
