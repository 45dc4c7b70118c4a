"""A small version of the statements on MADPO; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import madpo
from assent.papers.registry import reproduce


def test_rewards():
    cells = ("dpo", "c 2", "c 4", "c 4, amplifying alone", "c 4, dampening alone", "dpo, beta / 4")
    found = madpo.runs((0,), cells, prompts=8)
    value = {cell: float(pair[0]) for cell, pair in found.items()}
    assert value["dpo"] + 0.2 < value["c 2"] < value["c 4"]
    assert abs(value["c 4, dampening alone"] - value["dpo"]) < 1e-6  # no margin of the world reaches tau
    assert abs(value["c 4, amplifying alone"] - value["c 4"]) < 1e-6
    assert abs(value["dpo, beta / 4"] - value["c 4"]) < 0.02
    assert abs(float(found["dpo, beta / 4"][1] - found["c 4"][1])) < 0.03


def test_dpo_ends_at_the_best_policy():
    reward = madpo.draw((0,), prompts=4)
    expected = (reward.softmax(2) * reward).sum(2).mean(1)
    assert abs(float(madpo.best(reward, "dpo(beta=1.0)")[0] - expected)) < 1e-7
    assert reward.abs().max() < 3


@pytest.mark.slow
def test_all_statements():
    """The paper's order of settings holds on the development seeds, and so does the sheet's temperature in its place."""
    claims = {claim["name"]: claim for claim in reproduce("madpo", seed=0)["claims"]}
    kept = ("more_reward", "rises_with_c", "rises_with_tau", "lower_beta")
    assert {claims[name]["outcome"] for name in kept} == {"supported"}
