"""Intervals against closed forms, an autograd oracle, and simulated worlds."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import brentq

from assent.errors import AssentError
from assent.robust.estimation import estimate
from assent.robust.information import covariance, scores_at
from assent.robust.intervals import intervals
from assent.robust.likelihood import Point, prepare
from assent.scores import Labels

SIX = [0.95, 0.90, 0.85, 0.70, 0.60, 0.30]
FIFTY = [0.6 + 0.35 * k / 49 for k in range(50)]


def world(g, pairs, etas, per_pair=1):
    """(logit, labels, eta): calibrated logits N(0, 4), labels by ``per_pair`` of the annotators, in turn where one."""
    etas = torch.tensor(etas, dtype=torch.float64)
    logit = 2 * torch.randn(pairs, generator=g, dtype=torch.float64)
    z = torch.rand(pairs, generator=g, dtype=torch.float64) < torch.sigmoid(logit)
    if per_pair == 1:
        who = torch.arange(pairs) % len(etas)
    else:
        who = torch.rand(pairs, len(etas), generator=g).argsort(1)[:, :per_pair].reshape(-1)
    pair = torch.arange(pairs).repeat_interleave(per_pair)
    right = torch.rand(len(pair), generator=g, dtype=torch.float64) < etas[who]
    return logit, Labels(pair, who, torch.where(right, z[pair], ~z[pair]).double()), etas


def certain(right: int, wrong: int):
    """Margins so large that every label is known to be right or wrong: the likelihood is the binomial's."""
    n = right + wrong
    labels = Labels(torch.arange(n), torch.zeros(n, dtype=torch.long), torch.ones(n, dtype=torch.float64))
    logit = torch.full((n,), 60.0, dtype=torch.float64)
    logit[:wrong] = -60.0
    return logit, labels


@pytest.mark.parametrize(("right", "wrong"), [(80, 20), (19, 1), (3, 7), (499, 1)])
def test_the_binomial_profile_interval(right, wrong):
    logit, labels = certain(right, wrong)
    reach = intervals(estimate(logit, labels, 1, temperature=1.0), logit, labels)
    n, best = right + wrong, right / (right + wrong)

    def fallen(eta):
        value = right * math.log(eta / best) + wrong * math.log((1 - eta) / (1 - best))
        return -2 * value - 3.841458820694124

    assert float(reach.low) == pytest.approx(brentq(fallen, 1e-9, best), abs=1e-5)
    assert float(reach.high) == pytest.approx(brentq(fallen, best, 1 - 1e-9), abs=1e-5)
    assert reach.noise_rate_low == pytest.approx(1 - float(reach.high), abs=1e-6)
    assert reach.noise_rate_high == pytest.approx(1 - float(reach.low), abs=1e-6)
    assert n == len(labels)


def test_at_the_edge_the_interval_has_one_side():
    logit, labels = certain(30, 0)
    found = estimate(logit, labels, 1, temperature=1.0)
    reach = intervals(found, logit, labels)
    assert float(found.eta) > 0.99999
    assert float(reach.low) == pytest.approx(math.exp(-3.841458820694124 / 60), abs=1e-4)  # 30 ln eta = -1.92
    assert float(reach.high) == pytest.approx(1 - 1e-6, abs=1e-9)


def enumerated(logit, labels, eta, tau):
    """Marginal log-likelihood in (eta, tau), differentiable, straight from the definition."""
    says = labels.p * eta[labels.annotator] + (1 - labels.p) * (1 - eta[labels.annotator])
    against = 1 - says
    prior = torch.sigmoid(torch.exp(tau) * logit)
    total = 0.0
    for i in range(len(logit)):
        mine = labels.pair == i
        total = total + (prior[i] * says[mine].prod() + (1 - prior[i]) * against[mine].prod()).log()
    return total


@pytest.mark.parametrize("per_pair", [1, 2, 3])
def test_the_covariance_inverts_the_hessian(per_pair):
    g = torch.Generator().manual_seed(per_pair)
    logit, labels, _ = world(g, 240, [0.85, 0.7, 0.6], per_pair)
    found = estimate(logit, labels, 3)
    x = torch.cat([found.eta, torch.tensor([found.temperature]).double().log()])
    hessian = torch.autograd.functional.hessian(lambda y: enumerated(logit, labels, y[:3], y[3]), x)
    expected = torch.linalg.inv(-hessian)
    model = prepare(logit, labels, 3, 240, fit_temperature=True)
    point = Point(torch.logit(found.eta), x[3])
    known = covariance(model, point, scores_at(model, point))
    assert torch.allclose(known.variance(), expected.diagonal(), rtol=1e-4)
    v = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    assert known.quadratic(v) == pytest.approx(float(v @ expected[:3, :3] @ v), rel=1e-4)
    rows = torch.randn(5, 4, generator=g, dtype=torch.float64)
    assert torch.allclose(known.times(rows), rows @ expected, rtol=1e-3, atol=1e-7)


def test_repeated_pairs_in_one_cluster_add_nothing():
    g = torch.Generator().manual_seed(0)
    logit, labels, _ = world(g, 1200, SIX)
    alone = intervals(estimate(logit, labels, 6), logit, labels, clusters=torch.arange(1200))
    times = 3
    more = Labels(torch.arange(1200 * times), labels.annotator.repeat(times), labels.p.repeat(times))
    found = estimate(logit.repeat(times), more, 6)
    clusters = torch.arange(1200).repeat(times)
    reach = intervals(found, logit.repeat(times), more, clusters=clusters)
    careless = intervals(found, logit.repeat(times), more)
    assert torch.allclose(reach.low, alone.low, atol=2e-3)
    assert torch.allclose(reach.high, alone.high, atol=2e-3)
    assert reach.noise_rate_high == pytest.approx(alone.noise_rate_high, abs=2e-3)
    width = (careless.high - careless.low) / (reach.high - reach.low)
    assert torch.allclose(width, torch.full((6,), 3**-0.5, dtype=torch.float64), atol=0.1)


def test_two_annotators_and_labels_alone_tell_nothing_of_either():
    g = torch.Generator().manual_seed(1)
    _, labels, _ = world(g, 400, [0.9, 0.7], per_pair=2)
    reach = intervals(estimate(None, labels, 2), None, labels)
    assert (reach.high - reach.low).min() > 0.25  # only the product (2 eta_1 - 1)(2 eta_2 - 1) is known


def test_a_prior_moves_the_estimate_and_not_the_interval():
    g = torch.Generator().manual_seed(2)
    logit, labels, eta = world(g, 1500, FIFTY)
    plain = estimate(logit, labels, 50, temperature=1.0)
    shrunk = estimate(logit, labels, 50, temperature=1.0, prior="fit")
    assert (shrunk.eta - eta).abs().mean() < 0.9 * (plain.eta - eta).abs().mean()
    one, other = (intervals(found, logit, labels) for found in (plain, shrunk))
    assert torch.allclose(one.low, other.low, atol=1e-4)
    assert torch.allclose(one.high, other.high, atol=1e-4)


def test_a_given_temperature_has_no_interval_and_levels_are_checked():
    logit, labels = certain(8, 2)
    found = estimate(logit, labels, 1, temperature=1.0)
    reach = intervals(found, logit, labels, level=0.5)
    wide = intervals(found, logit, labels)
    assert (reach.temperature_low, reach.temperature_high) == (1.0, 1.0)
    assert float(wide.low) < float(reach.low) < 0.8 < float(reach.high) < float(wide.high)
    with pytest.raises(AssentError, match="between 0 and 1"):
        intervals(found, logit, labels, level=95)
    with pytest.raises(AssentError, match="one per pair"):
        intervals(found, logit, labels, clusters=torch.zeros(3))


WORLDS = {
    "one annotator of .75": {"pairs": 2000, "etas": [0.75]},
    "one annotator of .95": {"pairs": 500, "etas": [0.95]},
    "one of .95, temperature to fit": {"pairs": 4000, "etas": [0.95], "temperature": "fit"},
    "six": {"pairs": 3000, "etas": SIX},
    "six, temperature to fit": {"pairs": 3000, "etas": SIX, "temperature": "fit"},
    "six, labels alone": {"pairs": 1000, "etas": SIX, "per_pair": 3, "alone": True},
    "six, two labels a pair, temperature to fit": {"pairs": 1500, "etas": SIX, "per_pair": 2, "temperature": "fit"},
    "fifty with 30 labels each": {"pairs": 1500, "etas": FIFTY},
}


def coverage(repetitions, pairs, etas, per_pair=1, temperature=1.0, alone=False):
    """Shares of the intervals that hold the truth: over all reliabilities, and of the noise rate."""
    g = torch.Generator().manual_seed(0)
    held, noise_held = 0.0, 0
    for _ in range(repetitions):
        logit, labels, eta = world(g, pairs, etas, per_pair)
        given = None if alone else logit
        found = estimate(given, labels, len(etas), temperature=temperature)
        reach = intervals(found, given, labels)
        held += float(((reach.low <= eta) & (eta <= reach.high)).double().mean())
        true = 1 - float(eta[labels.annotator].mean())
        noise_held += reach.noise_rate_low <= true <= reach.noise_rate_high
    return held / repetitions, noise_held / repetitions


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_intervals_cover(name):
    reliabilities, noise = coverage(200, **WORLDS[name])
    assert 0.92 <= reliabilities <= 0.98
    assert 0.92 <= noise <= 0.98


def test_intervals_cover_in_short():
    # 40 repetitions of six annotators: 240 intervals, standard error .014; of the noise rate .034
    reliabilities, noise = coverage(40, **WORLDS["six, temperature to fit"])
    assert 0.91 <= reliabilities <= 0.99
    assert noise >= 0.85


def test_margins_that_say_nothing_leave_the_noise_rate_open():
    draw = torch.Generator().manual_seed(0)
    logit = torch.randn(2000, generator=draw, dtype=torch.float64)
    answers = (torch.rand(2000, generator=draw, dtype=torch.float64) < 0.6).double()
    labels = Labels(torch.arange(2000), torch.arange(2000) % 2, answers)
    found = estimate(logit, labels, 2)
    limits = intervals(found, logit, labels)
    assert limits.noise_rate_low < 0.05 and limits.noise_rate_high > 0.95
