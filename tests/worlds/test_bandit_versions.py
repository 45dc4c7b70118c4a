"""The bandit with a network, with sequences and with continuous actions: references, policies and draws by other means."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from assent.worlds import bandit, bandit_continuous, bandit_network, bandit_sequence
from assent.worlds.bandit import best_of_n, bump
from assent.worlds.stacked import generators

F64 = torch.float64


def test_stacked_networks_are_the_modules_they_stand_for() -> None:
    weights = bandit_network.initial(generators((0, 1), 78))
    layers = [nn.Linear(*size) for size in bandit_network.SIZES]
    norm = nn.LayerNorm(50)
    net = nn.Sequential(
        layers[0], norm, nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.ReLU(), layers[3], nn.LogSoftmax(-1)
    )
    gain = [float(w.abs().max()) for w in weights[:8:2]]
    bounds = [0.01 * math.sqrt(6 / sum(size)) for size in bandit_network.SIZES]  # Xavier, uniform
    assert all(0.98 * b < g <= b for g, b in zip(gain, bounds, strict=True))
    with torch.no_grad():
        for k, layer in enumerate(layers):
            layer.weight.copy_(weights[2 * k][1].T)
            layer.bias.copy_(weights[2 * k + 1][1, 0])
        norm.weight.copy_(weights[8][1, 0])
        contexts = torch.rand(2, 7, 100, generator=torch.Generator().manual_seed(3))
        assert_close(bandit_network.log_policy(weights, contexts)[1], net(contexts[1]).double(), rtol=0, atol=1e-6)


def test_a_network_starts_near_the_reference_and_learns_for_itself() -> None:
    rewards, how = [bump(70), bump(20)], {"contexts": 10, "rounds": 4, "steps": 15, "rate": 0.001}
    start = bandit_network.Network(rewards, (3, 4), 10).expected().view(2, 2)
    assert_close(start, torch.tensor([[0.0390], [0.3772]], dtype=F64).expand(2, 2), rtol=0, atol=2e-3)
    both = bandit_network.fit(best_of_n(), rewards, (3, 4), **how)
    alone = bandit_network.fit(best_of_n(), rewards[1:], (4,), **how)
    assert abs(float(both[1, 1] - alone[0, 0])) < 1e-3  # single precision, in stacks of other sizes
    assert (both[1] > 0.9).all() and (both[0] > 3 * start[0]).all()


def test_sequences_start_near_the_reference_and_climb() -> None:
    policy = bandit_sequence.Sequences(bump(20), 0, contexts=200)
    with torch.no_grad():
        drawn = policy.sample(first=False)
        assert drawn.shape == (1, 200, 10, 10) and (drawn[..., :1] == drawn[:, :, :1, :1]).all()
        kl = (policy.logp(drawn) - policy.ref_logp(drawn)).sum(-1).mean()  # an estimate of KL(policy || reference)
    assert abs(float(policy.reward(drawn).mean()) - 0.3772) < 0.02 and abs(policy.expected() - 0.3772) < 0.01
    assert abs(float(kl)) < 0.05
    assert_close(policy.reward(drawn)[0, 3, 4], bump(20)[drawn[0, 3, 4]].sum() / 10)
    assert float(bandit_sequence.fit(best_of_n(), bump(20), (0,), contexts=4, rounds=4, steps=10)) > 0.5


def test_squashed_cauchy_by_quadrature() -> None:
    v = torch.linspace(-1, 1, 400_001, dtype=F64)[1:-1]
    p = bandit_continuous.log_density(v.atanh(), -0.7, math.log(0.4)).exp()
    inside = (v > -0.999) & (v < 0.999)  # thin tails in z are steep ends in v
    mass = lambda at: 0.5 + math.atan((math.atanh(at) + 0.7) / 0.4) / math.pi  # noqa: E731
    assert abs(float(p[inside].sum() * (v[1] - v[0])) - mass(0.999) + mass(-0.999)) < 1e-4
    policy = bandit_continuous.Squashed((70, 20), (0,), contexts=400)
    assert_close(policy.expected(), torch.tensor([0.0390, 0.3772], dtype=F64), rtol=0, atol=1e-3)
    with torch.no_grad():
        drawn = policy.sample(first=True)
    assert_close(policy.reward(drawn).mean((1, 2)), policy.expected(), rtol=0, atol=0.01)
    assert_close(policy.logp(drawn), policy.ref_logp(drawn))
    counted = torch.histc(drawn[0].tanh(), 100, -1, 1) / drawn[0].numel()
    assert (counted - bandit.reference()).abs().max() < 6e-3


@pytest.mark.parametrize("peak", [70, 20])
def test_continuous_policies_find_the_peak(peak: int) -> None:
    """Best-of-N on its own samples moves the locations to the bump's middle."""
    policy = bandit_continuous.Squashed((peak,), (0,), contexts=10)
    bandit.learn(policy, best_of_n(), rounds=60, steps=15, rate=bandit.RATE)
    middle = (policy.location.detach().tanh() + 1) * 50 - 0.5
    assert float((middle - peak).abs().mean()) < 5 and float(policy.expected()) > 0.8
