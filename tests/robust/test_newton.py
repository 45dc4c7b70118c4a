"""Newton steps: the dense solve and the conjugate gradients give the step of a plain linear solver."""

from __future__ import annotations

import pytest
import torch

from assent.robust import newton
from assent.robust.likelihood import Point, prepare
from assent.robust.newton import Newton
from assent.scores import Labels


def model_of(per_pair, soft=False, shuffled=False):
    g = torch.Generator().manual_seed(per_pair)
    n = 300 * per_pair
    pair = torch.arange(300).repeat_interleave(per_pair)
    who = torch.rand(300, 4, generator=g).argsort(1)[:, :per_pair].reshape(-1)
    logit = 2 * torch.randn(300, generator=g, dtype=torch.float64)
    p = (torch.rand(n, generator=g, dtype=torch.float64) < torch.sigmoid(logit)[pair]).double()
    if soft:
        p = 0.1 + 0.8 * p
    gold = torch.arange(n) < 8
    order = torch.randperm(n, generator=g) if shuffled else torch.arange(n)
    labels = Labels(pair[order], who[order], p[order], gold=gold[order])
    return prepare(logit, labels, 4, 300, fit_temperature=True)


@pytest.mark.parametrize("per_pair", [1, 2, 3])
@pytest.mark.parametrize("soft", [False, True])
def test_the_step_solves_the_system(monkeypatch, per_pair, soft):
    model = model_of(per_pair, soft)
    point = Point(torch.full((4,), 1.2, dtype=torch.float64), torch.zeros((), dtype=torch.float64))
    for _ in range(4):
        point = model.em_step(point, model.at(point))
    local = model.at(point)
    matrix = torch.stack([model.information_times(local, e) for e in torch.eye(5, dtype=torch.float64)])
    assert torch.allclose(matrix, matrix.T, atol=1e-9)
    expected = torch.linalg.solve(matrix, local.gradient)
    dense = next(Newton.of(model).steps(point, local))
    monkeypatch.setattr(newton, "DENSE", 0)
    sparse = next(Newton.of(model).steps(point, local))
    for found in (dense, sparse):
        step = torch.cat([found.phi - point.phi, (found.tau - point.tau)[None]])
        assert torch.allclose(step, expected, rtol=2e-2, atol=1e-3)
    if per_pair > 1:
        assert torch.allclose(dense.phi - point.phi, expected[:-1], atol=1e-9)


def test_the_order_of_labels_does_not_matter():
    point = Point(torch.full((4,), 1.2, dtype=torch.float64), torch.zeros((), dtype=torch.float64))
    steps = []
    for shuffled in (False, True):
        model = model_of(3, shuffled=shuffled)
        steps.append(next(Newton.of(model).steps(point, model.at(point))).phi)
    assert torch.allclose(*steps, atol=1e-10)


def test_an_annotator_at_the_edge_stays_there():
    model = model_of(2)
    point = Point(torch.tensor([13.815509557963773, 1.0, 1.0, 1.0], dtype=torch.float64), torch.zeros(()).double())
    local = model.at(point)
    local.gradient[0] = 1.0  # pushes outward
    step = next(Newton.of(model).steps(point, local))
    assert float(step.phi[0]) == pytest.approx(13.815509557963773)
    assert (step.phi[1:] - 1.0).abs().max() > 1e-6
