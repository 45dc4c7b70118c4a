"""The worlds of small contexts: probabilities add up, outcomes are those of all texts, training goes downhill."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from assent.objectives import parse
from assent.worlds import contexts


def table(rows: int, vocabulary: int) -> torch.Tensor:
    return torch.randn(2, rows, vocabulary, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("rule", "rows"), [(contexts.places, 4), (contexts.neighbours(3), 4)])
def test_outcome_is_the_sum_over_all_texts(rule, rows):
    # four places of 3 tokens; or three tokens and the start as contexts, for texts of 5
    length = 4 if rule is contexts.places else 5
    theta, gain = table(rows, 3), table(rows, 3)[0]
    texts = torch.tensor(list(itertools.product(range(3), repeat=length)))
    reward, kl = contexts.outcome(theta, gain, length)
    for run in range(2):
        logp = theta[run].log_softmax(1)[rule(texts), texts].sum(1)
        assert abs(float(logp.exp().sum()) - 1) < 1e-12
        assert abs(float((logp.exp() * gain[rule(texts), texts].sum(1)).sum() - reward[run])) < 1e-12
        assert abs(float((logp.exp() * (logp + length * math.log(3))).sum() - kl[run])) < 1e-12


def test_scores_by_hand():
    gain = torch.zeros(4, 3, dtype=torch.float64)
    world = contexts.draw((0, 1), gain, contexts.neighbours(3), pairs=5, length=6, salt=1)
    theta = table(4, 3)
    logp = theta.log_softmax(2)
    found = contexts.scores(theta, world, mask=theta[..., :1])
    side = found.rejected
    text = world.token[1][1, 2].tolist()  # run 1, pair 2: completion 7
    before = [3, *text[:-1]]
    rows = side.tokens.row == 7
    assert torch.equal(side.tokens.logp[rows], torch.stack([logp[1, c, t] for c, t in zip(before, text, strict=True)]))
    assert torch.equal(side.tokens.mask[rows], theta[1, before, 0])
    kl = [float((1 / 3 * (math.log(1 / 3) - logp[1, c])).sum()) for c in before]
    assert torch.allclose(side.tokens.kl_ref[rows], torch.tensor(kl, dtype=torch.float64))
    assert abs(float(side.logp[7] - side.tokens.logp[rows].sum())) < 1e-12
    assert side.length[7] == 6 and abs(float(side.ref_logp[7]) + 6 * math.log(3)) < 1e-12


def test_labels_follow_the_reward_and_training_the_labels():
    gain = torch.zeros(2, 2, dtype=torch.float64)
    gain[0, 0] = 3.0
    world = contexts.draw((0,), gain, contexts.places, pairs=4000, length=2, salt=2)
    first = [side[0, :, 0] == 0 for side in world.token]
    differ = first[0] != first[1]
    assert abs(float(first[0][differ].double().mean()) - float(torch.tensor(3.0).sigmoid())) < 0.015
    loss = parse("dpo(beta=1.0)")
    step = lambda theta: contexts.mean_loss(loss, contexts.scores(theta, world), 1)  # noqa: E731
    (theta,), path = contexts.train(step, [world.start()], steps=60, lr=0.1)
    assert abs(float(path[0]) - math.log(2)) < 1e-12 and path[-1] < 0.5
    assert 2.0 < float(theta[0, 0, 0] - theta[0, 0, 1]) < 4.0
