"""The panel: Bradley-Terry law of the latent order, equal shares, overlap, independent flips."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from assent.errors import AssentError
from assent.worlds import annotators


def test_latent_orders_follow_bradley_terry():
    gap = torch.tensor([-2.0, -0.5, 0.0, 1.0, 3.0], dtype=torch.float64).repeat_interleave(20_000)
    share = annotators.latent_orders(gap, seed=1).double().view(5, -1).mean(1)
    expected = torch.tensor([0.119203, 0.377541, 0.5, 0.731059, 0.952574], dtype=torch.float64)
    bound = 4 * (expected * (1 - expected) / 20_000).sqrt()  # 4 standard errors
    assert ((share - expected).abs() < bound).all(), share


def test_shifts_give_equal_shares_and_nobody_judges_a_pair_twice():
    who = annotators.shifts(1000, 6, 0.15, seed=0)
    counts = Counter(len(judges) for judges in who)
    assert counts == {1: 850, 2: 75, 3: 75}
    assert all(len(set(judges)) == len(judges) for judges in who)
    given = Counter(k for judges in who for k in judges)
    assert sum(given.values()) == 850 + 150 + 225 == 1225
    assert max(given.values()) - min(given.values()) <= 1


def test_a_panel_of_two_is_refused():
    with pytest.raises(AssentError, match="at least 3"):
        annotators.shifts(10, 2, 0.15, seed=0)


def _pairs(count: int):
    sides = [(f"p{i}", f"a{i}", f"b{i}") for i in range(count)]
    first = [i % 3 != 0 for i in range(count)]
    return sides, first, annotators.judge(sides, first, annotators.PANEL, 0.15, seed=5)


def test_labels_err_at_each_annotators_rate_and_independently():
    sides, first, pairs = _pairs(24_000)
    right: dict[str, list[bool]] = {name: [] for name in annotators.PANEL}
    both = []
    for (_, a, _), latent, pair in zip(sides, first, pairs, strict=True):
        stored_first = pair.chosen == a
        verdicts = [((label.p == 1.0) == stored_first) == latent for label in pair.labels]
        for label, verdict in zip(pair.labels, verdicts, strict=True):
            right[label.annotator].append(verdict)
        if len(verdicts) == 2:
            both.append([v - annotators.PANEL[x.annotator] for v, x in zip(verdicts, pair.labels, strict=True)])
    for name, verdicts in right.items():
        true, n = annotators.PANEL[name], len(verdicts)
        assert abs(sum(verdicts) / n - true) < 4 * (true * (1 - true) / n) ** 0.5, name
    residual = torch.tensor(both)
    covariance = (residual[:, 0] * residual[:, 1]).mean()
    assert abs(covariance) < 4 * 0.25 / len(both) ** 0.5  # independent given the latent order
    noise = 1 - sum(map(sum, right.values())) / sum(map(len, right.values()))
    assert noise == pytest.approx(1 - sum(annotators.PANEL.values()) / 6, abs=0.012)


def test_stored_order_is_the_majoritys_and_rows_count_through():
    _, _, pairs = _pairs(600)
    rows = [row for pair in pairs for label in pair.labels for row in label.rows]
    assert rows == list(range(len(rows)))
    for pair in pairs:
        assert pair.target > 0.5 or (pair.target == 0.5 and pair.labels[0].p == 1.0)


def test_hidden_names_average_the_labels_and_clean_rows_name_the_truth():
    sides, first, pairs = _pairs(600)
    hidden = annotators.anonymous(pairs)
    assert [(p.target, p.weight, len(p.labels)) for p in hidden] == [(p.target, p.weight, 1) for p in pairs]
    right = [(pair.chosen == a) == latent for (_, a, _), latent, pair in zip(sides, first, pairs, strict=True)]
    clean = annotators.corrected(pairs, right)
    for (_, a, b), latent, pair, noisy in zip(sides, first, clean, pairs, strict=True):
        assert (pair.chosen, pair.rejected) == ((a, b) if latent else (b, a))
        assert pair.target == 1.0 and pair.weight == noisy.weight
