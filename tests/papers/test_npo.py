"""Small versions of the statements on NPO; the complete run is slow."""

from __future__ import annotations

import math

import pytest
import torch

from assent.papers import npo
from assent.papers.registry import reproduce
from assent.worlds import unlearning


def test_flow():
    ascent, slow = (npo.flow(text, times=(10,))[0] for text in ("gradient_ascent()", "npo(beta=1.0)"))
    assert abs(ascent + 0.98) < 0.005 and abs(slow + 0.31) < 0.005
    # beta = 1 solved for t: dt = -(s + s0) / (2 s (1 - s)) dz with s = sigmoid(z)
    part = lambda z: (z + math.exp(z) + (2 * z + math.exp(z) - math.exp(-z)) / (1 + math.exp(-2))) / 2  # noqa: E731
    assert abs(part(2.0) - part(slow) - 10) < 0.02


def test_descent_of_one_vector_is_that_of_a_head_of_two_columns():
    world = unlearning.draw((0,), 1.0, counts=(30, 10))
    u = unlearning.fitted(world, steps=5)[0]
    features, kind = world.features[0], (world.target[0] > 0).long()
    for column, rows in enumerate((slice(None), world.retain)):
        head = torch.zeros(128, 2, dtype=torch.float64)
        for _ in range(5):
            head.requires_grad_(True)
            loss = torch.nn.functional.cross_entropy((features @ head)[rows], kind[rows])
            head = head.detach() - 0.05 * torch.autograd.grad(loss, head)[0]
        assert torch.allclose(head[:, 1] - head[:, 0], u[column], atol=1e-14, rtol=0)


def test_forgetting_is_descent_of_a_head_of_two_columns():
    world = unlearning.draw((0,), 1.0, counts=(30, 10))
    start = unlearning.fitted(world, steps=50)
    found = unlearning.forgotten(world, start, npo.METHODS, steps=5)
    features, kind = world.features[0], (world.target[0] > 0).long()
    before = torch.stack([-start[0, 0], start[0, 0]], 1) / 2
    for method, (_, lr) in npo.METHODS.items():
        head = before
        for _ in range(5):
            head = head.detach().requires_grad_(True)
            logp, ref = ((features @ h).log_softmax(1).gather(1, kind[:, None])[:, 0] for h in (head, before))
            forget = (logp - ref.detach())[~world.retain]
            loss = forget.mean() if "GA" in method else 2 * torch.log1p(forget.exp()).mean()
            loss = loss - logp[world.retain].mean() if "retain" in method else loss
            head = head - lr * torch.autograd.grad(loss, head)[0]
        assert abs(float(found[method].distance[0]) - float((head - before).norm().detach())) < 1e-12


def test_a_run_does_not_depend_on_its_neighbours():
    alone, beside = (unlearning.draw(seeds, 1.0, counts=(30, 10)) for seeds in ((1,), (0, 1)))
    kl = [
        unlearning.forgotten(world, unlearning.fitted(world, steps=20), npo.METHODS, steps=20)
        for world in (alone, beside)
    ]
    for method in npo.METHODS:
        assert torch.allclose(kl[0][method].forget[:, 0], kl[1][method].forget[:, 1], atol=1e-12, rtol=0)
        assert torch.allclose(kl[0][method].distance[0], kl[1][method].distance[1], atol=1e-12, rtol=0)


def test_two_sets():
    claims = {claim.name: claim for claim in npo.two_sets((0,), fit_steps=300, steps=300)}
    found = claims["courses"].measured
    assert found["final retain, GA"] > 2 * found["final retain, GA + retain"]
    assert found["final retain, NPO"] > 10 * found["final retain, NPO + retain"]
    assert found["best forget, NPO"] < 0.2 * found["start, forget"]
    assert claims["retain_holds"].measured["rise"] < 0.01


@pytest.mark.slow
def test_all_statements():
    """What the paper says holds, and so does the order of the methods in the sheet's world, on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("npo", seed=0)["claims"]}
    assert {claims[n]["outcome"] for n in ("linear_collapse", "log_rate", "npo_stays")} == {"supported"}
