"""The likelihood's two ways of computing, by table for hard labels and label by label for soft ones, agree."""

from __future__ import annotations

import pytest
import torch

from assent.robust.likelihood import Point, prepare
from assent.scores import Labels


def labels_of(p, gold):
    g = torch.Generator().manual_seed(0)
    pair = torch.arange(40).repeat_interleave(2)
    who = torch.randint(3, (80,), generator=g)
    weight = torch.rand(40, generator=g, dtype=torch.float64).repeat_interleave(2)
    return Labels(pair, who, p, weight=weight, gold=gold)


@pytest.mark.parametrize("margins", [True, False])
def test_hard_labels_by_table_are_soft_labels_in_the_limit(margins):
    g = torch.Generator().manual_seed(1)
    p = torch.randint(2, (80,), generator=g).double()
    gold = torch.arange(80) < 6
    logit = torch.randn(40, generator=g, dtype=torch.float64) if margins else None
    point = Point(torch.tensor([1.5, 0.2, -0.7], dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64))
    there = []
    for says in (p, p.clamp(1e-13, 1 - 1e-13)):
        model = prepare(logit, labels_of(says, gold), 3, 40, fit_temperature=margins, prior=(1.0, 0.5))
        local = model.at(point)
        vector = torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=torch.float64)
        times = model.information_times(local, vector)
        there.append((model, local, times, model.information_diagonal(local), model.em_step(point, local).eta))
    assert there[0][0].hard
    assert not there[1][0].hard
    (_, one, times, diagonal, em), (_, other, times2, diagonal2, em2) = there
    # gold evidence is 13.8 nats, so that 1e-13 in p moves it by 1e-7
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-5)
    assert torch.allclose(one.posterior, other.posterior, atol=1e-6)
    assert torch.allclose(one.gradient, other.gradient, atol=1e-6)
    assert torch.allclose(times, times2, atol=1e-6)
    assert torch.allclose(diagonal, diagonal2, atol=1e-6)
    assert torch.allclose(em, em2, atol=1e-6)


def test_what_a_gold_label_adds():
    # one gold label for the stored order: evidence logit(1 - 1e-6) = 13.8155, nothing for its annotator to learn from
    labels = Labels(torch.tensor([0]), torch.tensor([0]), torch.tensor([1.0]), gold=torch.tensor([True]))
    model = prepare(torch.tensor([-1.0]), labels, 1, 1, fit_temperature=False)
    local = model.at(Point(torch.zeros(1, dtype=torch.float64), torch.zeros((), dtype=torch.float64)))
    assert float(torch.logit(local.posterior)) == pytest.approx(13.815509557963773 - 1, abs=1e-6)
    assert local.gradient.tolist() == [0.0, 0.0]
    assert model.counts.tolist() == [0.0]
