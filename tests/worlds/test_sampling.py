"""Samples and divergences of a policy small enough to enumerate."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from assent.worlds import models, sampling

LONGEST = 3
PROMPT = torch.tensor([[1, 4, 5]])


@pytest.fixture(scope="module")
def policies():
    made = [models.tiny_llama(6, width=8, layers=1, seed=seed).double().requires_grad_(False) for seed in (1, 2)]
    for model in made:  # sharper than a fresh model, so that the divergence is not near 0
        model.model.norm.weight *= 6
    return made


def _all_completions() -> torch.Tensor:
    """Every completion over tokens 4 and 5 and the end, of at most three tokens; padded."""
    rows = []
    for length in range(LONGEST + 1):
        for words in product((4, 5), repeat=length):
            row = [*words, 2][:LONGEST]
            rows.append(row + [0] * (LONGEST - len(row)))
    return torch.tensor(rows)


def _logps(model, completions):
    """Sequence log-probabilities over the tokens that can be sampled, by a loop over tokens."""
    result = []
    for row in completions.tolist():
        total, ids = 0.0, PROMPT[0].tolist()
        for token in row:
            if token == 0:
                break
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            allowed = logits[[2, 4, 5]]
            total += float(logits[token] - torch.logsumexp(allowed, 0))
            ids.append(token)
        result.append(total)
    return torch.tensor(result, dtype=torch.float64)


def test_prefix_kl_weighted_by_the_policy_is_the_sequence_kl(policies):
    policy, reference = policies
    completions = _all_completions()
    logp, ref = _logps(policy, completions), _logps(reference, completions)
    assert float(logp.exp().sum()) == pytest.approx(1, abs=1e-9)
    exact = float((logp.exp() * (logp - ref)).sum())
    prompts = PROMPT.expand(len(completions), -1)
    estimate = float((logp.exp() * sampling.prefix_kl(policy, reference, prompts, completions)).sum())
    assert exact > 0.02
    assert estimate == pytest.approx(exact, rel=1e-5)  # log-softmax in float32
    assert sampling.prefix_kl(policy, policy, prompts, completions).abs().max() == 0


def test_sampled_kl_is_near_the_exact_one(policies):
    policy, reference = policies
    completions = _all_completions()
    logp, ref = _logps(policy, completions), _logps(reference, completions)
    exact = float((logp.exp() * (logp - ref)).sum())
    prompts = PROMPT.expand(4000, -1)
    drawn = sampling.sample(policy, prompts, sampling.gumbel(4000, LONGEST, 6, seed=0))
    kl = sampling.prefix_kl(policy, reference, prompts, drawn)
    assert abs(kl.mean() - exact) < 4 * kl.std() / 4000**0.5


def test_samples_follow_the_policy(policies):
    policy = policies[0]
    completions = _all_completions()
    expected = _logps(policy, completions).exp()
    drawn = sampling.sample(policy, PROMPT.expand(20_000, -1), sampling.gumbel(20_000, LONGEST, 6, seed=3))
    share = torch.stack([(drawn == row).all(1).double().mean() for row in completions])
    assert share.sum() == 1
    assert ((share - expected).abs() < 4 * (expected * (1 - expected) / 20_000).sqrt() + 1e-9).all()


def test_the_same_noise_gives_the_same_sample(policies):
    noise = sampling.gumbel(50, LONGEST, 6, seed=1)
    prompts = PROMPT.expand(50, -1)
    first = sampling.sample(policies[0], prompts, noise)
    assert torch.equal(first, sampling.sample(policies[0], prompts, sampling.gumbel(50, LONGEST, 6, seed=1)))
    assert not torch.equal(noise, sampling.gumbel(50, LONGEST, 6, seed=2))
