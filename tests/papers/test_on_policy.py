"""Small versions of the statements on on-policy data; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import on_policy, on_policy_versions
from assent.papers.registry import reproduce


def named(claims):
    return {claim.name: claim for claim in claims}


def test_exact_and_lemma():
    found = named([*on_policy.exact((0, 1), cases=500), *on_policy.lemma((0, 1), cases=200)])
    assert len(found) == 7 and {claim.outcome for claim in found.values()} == {"supported"}


def test_sampling_and_filter():
    found = named(on_policy.sampling((0,), scale=5))
    assert found["on_policy_wins_far_away"].measured["Best-of-N"] > 0.3
    assert found["table"].measured["Best-of-N, R2 online"] > 0.95
    filtered = named(on_policy.negative((0,), steps=60))["filter_table"].measured
    assert filtered["Best-of-N, filtered"] > filtered["Best-of-N, all"] + 0.1


def test_freshness():
    found = named(on_policy.freshness((0,), scale=5))
    assert found["mildly_near_the_mode"].measured["gain"] > 0.1 and found["reuse"].measured["8 - 1"] > 0.1


def test_the_network():
    wins, near = on_policy_versions.network((0,), scale=20)
    ends = wins.measured
    assert ends["Best-of-N, R2 online"] > 0.8 and ends["IPO, R1 offline"] > 0.1
    for name in ("Best-of-N", "IPO", "DPO"):
        assert abs(ends[name] - ends[f"{name}, R1 online"] + ends[f"{name}, R1 offline"]) < 1e-12
        gain = ends[f"{name}, R2 online"] - ends[f"{name}, R2 offline"]
        assert abs(near.measured[name] - 0.1 + gain) < 1e-12


def test_sequences():
    found = named(on_policy_versions.sequences((0,), contexts=10, rounds=3, offline=10, online=10))
    assert found["sequences_win_far_away"].measured["Best-of-N"] > 0
    assert found["sequences_ppo"].measured["gain"] > 0 and 0.03 < found["sequences_ppo"].measured["start"] < 0.05


def test_continuous():
    found = named(on_policy_versions.continuous((0,), scale=10))
    assert found["continuous_wins_far_away"].measured["Best-of-N"] > 0.01
    assert abs(found["continuous_less_near_the_mode"].measured["IPO"]) < 1


@pytest.mark.slow
def test_reproduce():
    found = {c["name"]: c["outcome"] for c in reproduce("on-policy", 0)["claims"]}
    kept = ("reference", "logarithmic_mean", "negative_gradient", "near_the_mode_less", "filter_table", "reuse")
    kept += ("network_less_near_the_mode", "sequences_win_far_away", "sequences_less_near_the_mode", "sequences_ppo")
    assert {found[name] for name in kept} == {"supported"}
