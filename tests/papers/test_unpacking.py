"""Small versions of the statements on DPO, PPO and the four levers; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import unpacking
from assent.papers.registry import reproduce


def named(claims):
    return {claim.name: claim for claim in claims}


def test_levers():
    found = named(unpacking.factors((0,), steps=15))
    assert found["effect_of_data"].measured["data, DPO"] > 0.05
    assert abs(found["other_levers"].measured["reward model"]) < 0.1
    assert found["reversed_labels"].measured["reference - DPO"] > 0.3


def test_exact_and_sorting():
    found = named([*unpacking.exact((0, 1)), *unpacking.sorting((0, 1))])
    assert {found[n].outcome for n in ("recomputed", "stored", "optima_agree", "reward_shift")} == {"supported"}
    assert found["reversed_sorting"].measured["gap"] > 0.8 and found["sum_of_k1"].measured["KL"] > 0


@pytest.mark.slow
def test_reproduce():
    found = {c["name"]: c["outcome"] for c in reproduce("unpacking", 0)["claims"]}
    kept = (
        "data_first",
        "effect_of_data",
        "other_levers",
        "reversed_labels",
        "recomputed",
        "optima_agree",
        "reward_shift",
    )
    assert {found[name] for name in kept} == {"supported"}
