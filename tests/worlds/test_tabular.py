"""The tabular world: what is drawn, and the exact regret."""

from __future__ import annotations

import math

import torch

from assent.worlds import tabular


def test_value_and_regret_by_hand():
    reward = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    uniform = torch.zeros_like(reward)
    best = math.log((math.e + 1) / 2)  # log mean exp(r): the optimum of E[r] - KL
    torch.testing.assert_close(tabular.value(uniform, reward), torch.tensor([0.5], dtype=torch.float64))
    torch.testing.assert_close(tabular.value(reward, reward), torch.tensor([best], dtype=torch.float64))
    torch.testing.assert_close(tabular.regret(uniform, reward), torch.tensor([best - 0.5], dtype=torch.float64))
    assert float(tabular.regret(reward, reward)) == 0.0


def test_regret_is_the_kl_to_the_best_policy():
    g = torch.Generator().manual_seed(0)
    reward, theta = torch.randn(2, 3, 4, 5, generator=g, dtype=torch.float64)
    p, q = theta.softmax(2), reward.softmax(2)
    kl = (p * (p.log() - q.log())).sum(2).mean(1)
    torch.testing.assert_close(tabular.regret(theta, reward), kl)
    shifted = theta + torch.randn(3, 4, 1, generator=g, dtype=torch.float64)
    torch.testing.assert_close(tabular.regret(shifted, reward), kl)


def test_rows_are_distinct_pairs_with_bradley_terry_orders():
    w = tabular.draw((0, 1), [0.95] * 5 + [0.25] * 3, rows=24_000)
    assert w.reward.shape == (2, 20, 5) and w.prompt.shape == (2, 24_000)
    assert (w.chosen != w.rejected).all()
    assert w.prompt.max() == 19 and w.chosen.max() == 4 and w.rejected.min() == 0
    clean = w.clean()
    flat = w.reward.flatten(1)
    gap = flat.gather(1, clean.prompt * 5 + clean.chosen) - flat.gather(1, clean.prompt * 5 + clean.rejected)
    expected = torch.sigmoid(gap.abs()).mean(1)
    assert ((gap > 0).double().mean(1) - expected).abs().max() < 4 * 0.5 / math.sqrt(24_000)
    share = torch.stack([w.right[:, w.annotator[0] == k].double().mean(1) for k in range(8)], 1)
    assert (share - w.reliability).abs().max() < 4 * 0.5 / math.sqrt(3000)
    assert abs(float(w.reward.std()) - 1.5) < 0.3
    torch.testing.assert_close(w.anonymous().reliability, torch.full((2, 1), 0.6875, dtype=torch.float64))


def test_log_probabilities_of_rows():
    w = tabular.draw((3,), [0.9], rows=50)
    theta = torch.randn(1, 20, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = torch.tensor([[4, 11]])
    chosen, rejected, reference = w.logp(theta, rows)
    for b, row in enumerate((4, 11)):
        table = theta[0, w.prompt[0, row]].log_softmax(0)
        assert abs(float(chosen[0, b] - table[w.chosen[0, row]])) < 1e-12
        assert abs(float(rejected[0, b] - table[w.rejected[0, row]])) < 1e-12
    assert reference == -math.log(5)
