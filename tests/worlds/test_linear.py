"""The linear worlds: what is drawn, and the exact figures read off them."""

from __future__ import annotations

import math

import torch

from assent.worlds import linear


def world(seeds=(0, 1), reliability=(0.9, 0.6), pairs=4000):
    return linear.draw(seeds, reliability, pairs=pairs, features=4, norm=3.0)


def test_sizes_and_shares():
    w = world()
    assert w.x.shape == (2, 4000, 4) and w.truth.shape == (2, 4)
    torch.testing.assert_close(w.truth.norm(dim=1), torch.full((2,), 3.0, dtype=torch.float64))
    assert torch.bincount(w.annotator[0]).tolist() == [2000, 2000]
    assert abs(float(w.x.var()) - 1) < 0.05


def test_labels_are_right_at_the_annotators_rate():
    w = world(pairs=20_000)
    for k, eta in enumerate((0.9, 0.6)):
        share = w.right[:, w.annotator[0] == k].double().mean(1)
        assert (share - eta).abs().max() < 4 * math.sqrt(eta * (1 - eta) / 10_000)


def test_clean_order_is_drawn_from_bradley_terry():
    w = world(pairs=20_000)
    s = torch.einsum("mnd,md->mn", w.clean().x, w.truth)  # the latent order is stored: P(s > 0 | |s|) = sigmoid(|s|)
    expected = torch.sigmoid(s.abs()).mean(1)
    assert ((s > 0).double().mean(1) - expected).abs().max() < 4 * 0.5 / math.sqrt(20_000)
    assert w.clean().right.all() and (w.clean().reliability == 1).all()
    flipped = ~w.right
    assert torch.equal(w.clean().x[flipped], -w.x[flipped]) and torch.equal(w.clean().x[w.right], w.x[w.right])


def test_a_run_does_not_depend_on_its_neighbours():
    alone, beside = world(seeds=(1,)), world(seeds=(0, 1))
    assert torch.equal(alone.x[0], beside.x[1]) and torch.equal(alone.right[0], beside.right[1])
    both = linear.stack([world(seeds=(0,)), alone])
    assert both.seeds == (0, 1) and torch.equal(both.x, beside.x)


def test_hidden_names_are_one_annotator_of_mean_reliability():
    hidden = world().anonymous()
    assert hidden.annotator.max() == 0
    torch.testing.assert_close(hidden.reliability, torch.full((2, 1), 0.75, dtype=torch.float64))


def test_margin_is_theta_dot_x():
    w, rows = world(), torch.tensor([[3, 0], [7, 9]])
    chosen, rejected, reference = w.logp(w.truth, rows)
    for m in range(2):
        for b in range(2):
            expected = float(w.x[m, rows[m, b]] @ w.truth[m])
            assert abs(float(chosen[m, b] - rejected[m, b]) - expected) < 1e-12
    assert reference == 0.0


def test_sign_accuracy_by_hand_and_by_sampling():
    truth = torch.tensor([[1.0, 0.0]] * 5, dtype=torch.float64)
    theta = torch.tensor([[2.0, 0], [0, 1], [-1, 0], [1, 1], [0, 0]], dtype=torch.float64)
    expected = torch.tensor([1, 0.5, 0, 0.75, 0.5], dtype=torch.float64)
    torch.testing.assert_close(linear.sign_accuracy(theta, truth), expected)
    x = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sampled = ((x @ theta[3] > 0) == (x @ truth[3] > 0)).double().mean()
    assert abs(float(sampled) - 0.75) < 0.005


def test_auc_by_hand():
    score = torch.tensor([[0.9, 0.8, 0.3, 0.1]], dtype=torch.float64)
    positive = torch.tensor([[True, False, True, False]])
    assert float(linear.auc(score, positive)) == 0.75  # three of the four (right, wrong) couples in order
    assert float(linear.auc(score, ~positive)) == 0.25
