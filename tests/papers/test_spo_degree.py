"""Small versions of the statements on SPO with preference degrees; the complete run is slow."""

from __future__ import annotations

import pytest
import torch

from assent.papers import spo_degree
from assent.papers.registry import reproduce
from assent.worlds import degraded


def test_gain():
    accuracy, graded = spo_degree.runs((0,), 60, ("base", "gamma 1", "degrees shuffled"), steps=150)
    assert accuracy["gamma 1"] > accuracy["base"] + 0.02 > accuracy["degrees shuffled"] + 0.02
    assert graded["base"] == 0 and graded["gamma 1"] > 0.45 and abs(graded["degrees shuffled"] - 0.25) < 0.15


def test_the_world():
    world = degraded.draw((0, 1), 50, draws=2, fresh=200)
    assert world.words.shape == (4, 2, 50, 12) and world.held_out.shape == (4, 2, 200, 12)
    worth = (world.held_out < 20).sum(3)
    assert (worth[:, 0] > worth[:, 1]).all()
    share = (degraded.draw((0,), 4000, fresh=1).words < 20).double().mean()
    assert abs(share - 0.3) < 0.01


def test_bags():
    words = torch.tensor([[3, 3, 5]])
    assert degraded.bags(words)[0, [3, 5]].tolist() == [2 / 3, 1 / 3]
    assert degraded.bags(words, torch.tensor([[True, False, True]]))[0, [3, 5]].tolist() == [1 / 2, 1 / 2]
    assert degraded.bags(words, torch.zeros(1, 3)).abs().sum() == 0


def test_runs_do_not_depend_on_their_neighbours():
    alone = spo_degree.arm(degraded.draw((7,), 20, draws=1, fresh=10), "gamma 1", steps=5)
    both = spo_degree.arm(degraded.draw((3, 7), 20, draws=1, fresh=10), "gamma 1", steps=5)
    assert (alone.embedding[0] - both.embedding[1]).abs().max() < 1e-12


@pytest.mark.slow
def test_all_statements():
    """The gain, and what it rests on, hold on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("spo-degree", seed=0)["claims"]}
    kept = ("gain", "gain_of_two_points", "degrees_matter", "wrong_extractor_hurts", "little_data", "accuracy")
    assert {claims[name]["outcome"] for name in kept} == {"supported"}
