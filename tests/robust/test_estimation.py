"""Maximum likelihood of reliabilities and temperature, against an independent oracle and the sheet's identities."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from assent.errors import AssentError
from assent.robust.estimation import estimate
from assent.robust.likelihood import Point, prepare
from assent.scores import Labels


def oracle(logit, pairs, labels, eta, temperature):
    """Marginal log-likelihood by enumerating the latent order of every pair; labels = [(pair, annotator, p)]."""
    total = 0.0
    for i in range(pairs):
        prior = 0.5 if logit is None else 1 / (1 + math.exp(-temperature * logit[i]))
        both = 0.0
        for z in (1, 0):
            term = prior if z else 1 - prior
            for pair, k, p in labels:
                if pair == i:
                    says = p if z else 1 - p
                    term *= eta[k] * says + (1 - eta[k]) * (1 - says)
            both += term
        total += math.log(both)
    return total


def as_labels(labels, **more) -> Labels:
    pair, annotator, p = zip(*labels, strict=True)
    return Labels(torch.tensor(pair), torch.tensor(annotator), torch.tensor(p, dtype=torch.float64), **more)


def world(seed, pairs, etas, *, per_pair=1, spread=2.0):
    """Calibrated logits N(0, spread^2), latent orders, labels by ``per_pair`` annotators, independent flips."""
    g = torch.Generator().manual_seed(seed)
    etas = torch.tensor(etas, dtype=torch.float64)
    logit = spread * torch.randn(pairs, generator=g, dtype=torch.float64)
    z = torch.rand(pairs, generator=g, dtype=torch.float64) < torch.sigmoid(logit)
    who = torch.rand(pairs, len(etas), generator=g).argsort(dim=1)[:, :per_pair].reshape(-1)
    pair = torch.arange(pairs).repeat_interleave(per_pair)
    right = torch.rand(len(pair), generator=g, dtype=torch.float64) < etas[who]
    p = torch.where(right, z[pair], ~z[pair]).double()
    return logit, Labels(pair, who, p), right


TINY = [(0, 0, 1.0), (0, 1, 1.0), (1, 0, 0.0), (1, 1, 1.0), (2, 0, 0.8), (3, 1, 0.0)]
TINY += [(4, 0, 1.0), (4, 2, 0.5), (5, 2, 1.0), (6, 2, 0.0), (6, 0, 0.0), (7, 1, 1.0)]
TINY_LOGIT = [1.0, -0.5, 0.3, -2.0, 1.5, -1.2, 0.4, 0.7]


def test_the_likelihood_is_the_enumeration():
    eta, temperature = [0.8, 0.7, 0.35], 1.3
    model = prepare(torch.tensor(TINY_LOGIT), as_labels(TINY), 3, 8, fit_temperature=True)
    there = model.at(Point(torch.logit(torch.tensor(eta, dtype=torch.float64)), torch.tensor(1.3).double().log()))
    assert there.log_likelihood == pytest.approx(oracle(TINY_LOGIT, 8, TINY, eta, temperature), abs=1e-6)


def test_hand_values_of_one_pair():
    # one label, s = 1, eta = .8: D = .8 sigmoid(1) + .2 sigmoid(-1) = .638635..., w = .8 * .731059 / D
    model = prepare(torch.tensor([1.0]), as_labels([(0, 0, 1.0)]), 1, 1, fit_temperature=False)
    there = model.at(Point(torch.logit(torch.tensor([0.8], dtype=torch.float64)), torch.tensor(0.0).double()))
    assert there.log_likelihood == pytest.approx(math.log(0.8 * 0.7310585786 + 0.2 * 0.2689414214), abs=1e-9)
    assert float(there.posterior) == pytest.approx(1 / (1 + math.exp(-1 - math.log(4))), abs=1e-7)
    # pooled: two labels against each other of equal reliability cancel
    model = prepare(torch.tensor([0.5]), as_labels([(0, 0, 1.0), (0, 1, 0.0)]), 2, 1, fit_temperature=False)
    there = model.at(Point(torch.logit(torch.tensor([0.9, 0.9], dtype=torch.float64)), torch.tensor(0.0).double()))
    assert float(there.posterior) == pytest.approx(1 / (1 + math.exp(-0.5)), abs=1e-12)


def test_gradient_and_information_are_the_derivatives():
    model = prepare(torch.tensor(TINY_LOGIT), as_labels(TINY), 3, 8, fit_temperature=True, prior=(1.5, 0.5))
    x = torch.tensor([0.9, 0.4, -0.8, 0.2], dtype=torch.float64)

    def value(y):
        eta = torch.sigmoid(y[:-1]).tolist()
        prior = sum(1.5 * math.log(e) + 0.5 * math.log(1 - e) for e in eta)
        return oracle(TINY_LOGIT, 8, TINY, eta, math.exp(float(y[-1]))) + prior

    there = model.at(Point(x[:-1], x[-1]))
    steps = torch.eye(4, dtype=torch.float64) * 1e-4
    gradient = torch.tensor([(value(x + d) - value(x - d)) / 2e-4 for d in steps])
    assert torch.allclose(there.gradient, gradient.double(), atol=1e-6)
    hessian = torch.tensor(
        [
            [(value(x + a + b) - value(x + a - b) - value(x - a + b) + value(x - a - b)) / 4e-8 for a in steps]
            for b in steps
        ]
    ).double()
    information = torch.stack([model.information_times(there, e) for e in torch.eye(4, dtype=torch.float64)])
    assert torch.allclose(information, -hessian, atol=2e-5)
    assert torch.allclose(model.information_diagonal(there), -hessian.diagonal(), atol=2e-5)


def test_the_optimum_is_that_of_a_general_optimiser():
    # labels with one annotator missing nowhere; the oracle enumerates, scipy searches (phi, tau) without gradients
    logit, labels, _ = world(3, 60, [0.9, 0.75, 0.6], per_pair=2, spread=1.5)
    rows = list(zip(labels.pair.tolist(), labels.annotator.tolist(), labels.p.tolist(), strict=True))
    values = logit.tolist()

    def loss(y):
        eta = [1 / (1 + math.exp(-v)) for v in y[:3]]
        return -oracle(values, 60, rows, eta, math.exp(y[3]))

    best = minimize(loss, [1.5, 1.5, 1.5, 0.0], method="BFGS", options={"gtol": 1e-7})
    found = estimate(logit, labels, 3)
    assert found.converged
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-7)
    assert found.eta.tolist() == pytest.approx([1 / (1 + math.exp(-v)) for v in best.x[:3]], abs=2e-4)
    assert found.temperature == pytest.approx(math.exp(best.x[3]), rel=1e-3)


def test_labels_alone_are_dawid_and_skene():
    # all sign patterns of three annotators with their exact probabilities: the maximum is at the truth
    truth = [0.9, 0.8, 0.65]
    rows, weights = [], []
    for i, says in enumerate(itertools.product((1.0, 0.0), repeat=3)):
        agree = math.prod(e if s else 1 - e for e, s in zip(truth, says, strict=True))
        against = math.prod(1 - e if s else e for e, s in zip(truth, says, strict=True))
        rows += [(i, k, s) for k, s in enumerate(says)]
        weights += [1000 * (agree + against) / 2] * 3
    found = estimate(None, as_labels(rows, weight=torch.tensor(weights, dtype=torch.float64)), 3)
    assert found.eta.tolist() == pytest.approx(truth, abs=1e-6)
    mirror = estimate(None, as_labels(rows, weight=torch.tensor(weights, dtype=torch.float64)), 3, start=0.2)
    assert mirror.eta.tolist() == pytest.approx([1 - e for e in truth], abs=1e-6)
    assert mirror.log_likelihood == pytest.approx(found.log_likelihood, abs=1e-7)
    assert found.rests_on == "agreement"
    assert found.mirror_log_likelihood == pytest.approx(found.log_likelihood, abs=1e-7)


def test_theorem_world_a_of_the_sheet():
    # section 6 A: s ~ N(0, 4), 8,000 pairs, one annotator; the estimate is within .02 of the share of right labels
    for seed, eta in enumerate((0.935, 0.761, 0.587, 0.413, 0.239)):
        logit, labels, right = world(seed, 8000, [eta])
        found = estimate(logit, labels, 1, temperature=1.0)
        assert float(found.eta) == pytest.approx(float(right.double().mean()), abs=0.02)
        assert found.noise_rate == pytest.approx(1 - float(found.eta), abs=1e-7)
        assert found.rests_on == "model"
        assert found.temperature == 1.0


def test_the_exact_linear_rate_of_em():
    # item 7 with an exact population: s on a grid, labels of both orders weighted by their probability
    s = torch.linspace(-5, 5, 201, dtype=torch.float64).repeat_interleave(2)
    density = torch.exp(-(s**2) / 8)
    eta = 0.95
    says = torch.tensor([1.0, 0.0], dtype=torch.float64).repeat(201)
    d = eta * torch.sigmoid(s) + (1 - eta) * torch.sigmoid(-s)
    weight = density * torch.where(says > 0.5, d, 1 - d)
    n = len(s)
    labels = Labels(torch.arange(n), torch.zeros(n, dtype=torch.long), says, weight=weight)
    model = prepare(s, labels, 1, n, fit_temperature=False)

    def em(value):
        point = Point(torch.logit(torch.tensor([value], dtype=torch.float64)), torch.zeros((), dtype=torch.float64))
        return float(model.em_step(point, model.at(point)).eta)

    p = torch.sigmoid(s)
    rate = 1 - eta * (1 - eta) * float((density * (2 * p - 1) ** 2 / (d * (1 - d))).sum() / density.sum())
    assert em(eta) == pytest.approx(eta, abs=1e-12)
    assert (em(eta + 1e-5) - em(eta - 1e-5)) / 2e-5 == pytest.approx(rate, abs=1e-6)
    value = 0.05
    for _ in range(400):
        value = em(value)
    assert value == pytest.approx(eta, abs=1e-12)
    assert em(1e-6) == pytest.approx(1e-6, rel=10)  # 0 and 1 are fixed points but for the clamp


def test_em_never_lowers_the_likelihood_and_keeps_the_mass():
    logit, labels, _ = world(1, 300, [0.9, 0.6, 0.3], per_pair=2)
    model = prepare(logit, labels, 3, 300, fit_temperature=False)
    point = Point(torch.tensor([-1.0, 2.0, 1.0], dtype=torch.float64), torch.zeros((), dtype=torch.float64))
    values = []
    for _ in range(60):
        local = model.at(point)
        values.append(local.log_likelihood)
        after = model.em_step(point, local)
        # item 8: sum of the expected right labels = sum_k N_k eta_k
        agreed = local.gradient[:-1] + model.counts * point.eta
        assert float(agreed.sum()) == pytest.approx(float((model.counts * after.eta).sum()), abs=1e-9)
        point = after
    assert all(later >= earlier - 1e-10 for earlier, later in itertools.pairwise(values))
    found = estimate(logit, labels, 3, temperature=1.0)
    assert found.log_likelihood >= values[-1] - 1e-9
    assert (found.eta - point.eta).abs().max() < 1e-3


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_symmetries(seed, per_pair):
    logit, labels, _ = world(seed, 120, [0.9, 0.7, 0.4], per_pair=per_pair)
    found = estimate(logit, labels, 3, temperature=1.0)
    g = torch.Generator().manual_seed(seed)
    # the order of labels does not matter
    order = torch.randperm(len(labels), generator=g)
    shuffled = Labels(labels.pair[order], labels.annotator[order], labels.p[order])
    again = estimate(logit, shuffled, 3, temperature=1.0)
    assert torch.allclose(again.eta, found.eta, atol=1e-7)
    assert torch.allclose(again.correct, found.correct[order], atol=1e-7)
    # a pair stored the other way round has the mirrored posterior
    flip = torch.rand(120, generator=g) < 0.5
    p = torch.where(flip[labels.pair], 1 - labels.p, labels.p)
    other = estimate(torch.where(flip, -logit, logit), Labels(labels.pair, labels.annotator, p), 3, temperature=1.0)
    assert torch.allclose(other.posterior, torch.where(flip, 1 - found.posterior, found.posterior), atol=1e-7)
    # item 10: (s, eta) -> (-s, 1 - eta) leaves the likelihood as it is
    mirror = estimate(-logit, labels, 3, temperature=1.0, start=0.1)
    assert mirror.log_likelihood == pytest.approx(found.log_likelihood, abs=1e-6)
    assert torch.allclose(mirror.eta, 1 - found.eta, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_a_weight_counts_rows(seed):
    logit, labels, _ = world(seed, 100, [0.9, 0.6])
    times = torch.randint(1, 4, (100,), generator=torch.Generator().manual_seed(seed))
    weighted = estimate(logit, Labels(labels.pair, labels.annotator, labels.p, weight=times.double()), 2)
    # rows repeated as pairs of their own: the same counts, the same evidence
    index = torch.arange(100).repeat_interleave(times)
    rows = Labels(torch.arange(len(index)), labels.annotator[index], labels.p[index])
    repeated = estimate(logit[index], rows, 2)
    assert torch.allclose(weighted.eta, repeated.eta, atol=1e-6)
    assert torch.allclose(weighted.posterior[index], repeated.posterior, atol=1e-6)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, abs=1e-6)


def test_weights_that_differ_within_a_pair_count_labels_not_evidence():
    logit, labels, _ = world(5, 400, [0.9, 0.6, 0.75], per_pair=2)
    weight = torch.where(labels.annotator == 0, 3.0, 1.0).double() * (1 + labels.pair % 2)
    found = estimate(logit, Labels(labels.pair, labels.annotator, labels.p, weight=weight), 3, temperature=1.0)
    assert found.converged
    evidence = torch.where(labels.p > 0.5, 1.0, -1.0) * torch.logit(found.eta)[labels.annotator]
    posterior = torch.sigmoid(logit + labels.per_pair(evidence, 400))
    assert torch.allclose(found.posterior, posterior, atol=1e-9)
    w = posterior[labels.pair]
    right = torch.where(labels.p > 0.5, w, 1 - w)
    for k in range(3):
        mine = labels.annotator == k
        assert float(found.eta[k]) == pytest.approx(float((weight * right)[mine].sum() / weight[mine].sum()), abs=1e-7)


def test_gold_labels_break_the_mirror_and_do_not_move_their_annotator():
    # three annotators of which two are mostly wrong: labels alone land on the mirror, gold on 60 pairs does not
    truth = [0.25, 0.3, 0.85]
    _, labels, right = world(2, 3000, truth, per_pair=3, spread=0.0)
    alone = estimate(None, labels, 3)
    assert (alone.eta - (1 - torch.tensor(truth))).abs().max() < 0.04
    order = ((labels.p > 0.5) == right).double()  # the latent order, as each label's own outcome tells it
    every = Labels(
        torch.cat([labels.pair, torch.arange(60)]),
        torch.cat([labels.annotator, torch.full((60,), 2)]),
        torch.cat([labels.p, order[0:180:3]]),
        gold=torch.cat([torch.zeros(len(labels), dtype=torch.bool), torch.ones(60, dtype=torch.bool)]),
    )
    found = estimate(None, every, 3)
    assert found.log_likelihood > found.mirror_log_likelihood + 10
    assert found.rests_on == "gold"
    assert (found.eta - torch.tensor(truth)).abs().max() < 0.04
    assert found.correct[-60:].min() > 0.99


def test_ties_and_silent_annotators():
    logit = torch.tensor([1.0, -1.0, 0.5, 2.0])
    labels = as_labels([(0, 0, 1.0), (1, 0, 1.0), (2, 0, 0.5), (3, 1, 0.5)])
    found = estimate(logit, labels, 3, temperature=1.0)
    assert found.correct.isnan().tolist() == [False, False, True, True]
    assert found.eta[1:].tolist() == pytest.approx([0.9, 0.9])  # nothing was learned of them: where they started
    assert float(found.eta[0]) == pytest.approx(0.5, abs=1e-6)  # (1 and -1 cancel by symmetry)
    only = estimate(logit, as_labels([(0, 0, 1.0), (1, 0, 1.0)]), 3, temperature=1.0)
    assert float(only.eta[0]) == pytest.approx(float(found.eta[0]), abs=1e-7)  # a tie says nothing


def test_what_has_no_meaning_is_refused():
    good = as_labels([(0, 0, 1.0)])
    logit = torch.tensor([0.3])
    cases = [
        ({"temperature": True}, "pass 'fit' or a number"),
        ({"temperature": -1.0}, ">= 0"),
        ({"start": 1.0}, "between 0 and 1"),
        ({"start": [0.5, 0.5]}, "one per annotator"),
    ]
    for options, message in cases:
        with pytest.raises(AssentError, match=message):
            estimate(logit, good, 1, **options)
    with pytest.raises(AssentError, match="not finite"):
        estimate(torch.tensor([math.nan]), good, 1)
    with pytest.raises(AssentError, match="outside"):
        estimate(logit, as_labels([(0, 0, 1.5)]), 1)
    with pytest.raises(AssentError, match="from 0 to 0"):
        estimate(logit, as_labels([(0, 1, 1.0)]), 1)
    with pytest.raises(AssentError, match="no labels"):
        estimate(logit, Labels(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0)), 1)
