"""A language model whose every completion can be listed: 3 tokens from 4 words.

What a source draws and an objective makes of it is compared with the expectation over all 64 completions, within 3 standard
errors.  The samples, judgements, pairs and groups are those of runs; the exact side sums tabular probabilities.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from assent import parse
from assent.judges import ScalarJudge
from assent.objectives.kinds import GroupObjective
from assent.sampling import ModelGenerator, SamplingSettings
from assent.sampling.judged import Counts, PairingRule, draft, judged
from assent.sampling.logged import compared, set_against
from assent.sampling.rejection import Rejection, reject
from assent.scores import GroupScores, PairScores, Scores, Tokens

WORDS, LENGTH, SIZE, DRAWS, LOGGED = 4, 3, 64, 12_000, 27
ALL = np.array(list(itertools.product(range(WORDS), repeat=LENGTH)))
TEXTS = [" ".join(map(str, row)) for row in ALL]
PROMPT = np.array([1, 2], np.int32)
JUDGE_HEAT, REJECTION = 0.7, Rejection(2, 0.8)


def model(seed: int) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=16, initializer_range=0.5, bos_token_id=None, eos_token_id=None,
        tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).double().eval()


def token_logp(net: torch.nn.Module) -> Tensor:
    """[64, 3], nats."""
    ids = torch.tensor(np.concatenate([np.tile(PROMPT, (SIZE, 1)), ALL], 1), dtype=torch.long)
    logp = net(input_ids=ids).logits[:, len(PROMPT) - 1 : -1].log_softmax(-1)
    return logp.gather(-1, ids[:, len(PROMPT) :, None]).squeeze(-1)


@dataclass(frozen=True)
class Small:
    """tokens [64, 3] and ref [64] in nats; chain [64, 3, D]: slope of each in D directions of the last layer; reward [64];
    drawn [N] int: samples of the model, by number."""

    tokens: Tensor
    ref: Tensor
    chain: Tensor
    reward: Tensor
    drawn: np.ndarray

    @property
    def pi(self) -> Tensor:
        return self.tokens.sum(1).exp()


@pytest.fixture(scope="module")
def small() -> Small:
    net, other = model(0), model(1)
    g = torch.Generator().manual_seed(3)
    head = net.lm_head.weight
    directions = torch.randn(3, *head.shape, generator=g, dtype=torch.float64)
    tokens = token_logp(net)
    chain = torch.stack([torch.autograd.grad(x, head, retain_graph=True)[0] for x in tokens.flatten()])
    chain = torch.einsum("nvh,dvh->nd", chain, directions).reshape(SIZE, LENGTH, 3)
    settings = SamplingSettings(max_new_tokens=LENGTH, seed=5, batch_size=2000)
    made = ModelGenerator(net, frozenset()).generate([PROMPT], DRAWS, settings)
    drawn = np.stack([m.ids for m in made]) @ np.array([16, 4, 1])
    stored = np.stack([m.logp for m in made])
    np.testing.assert_allclose(stored, tokens.detach().numpy()[drawn], atol=1e-6)
    with torch.no_grad():
        ref = token_logp(other).sum(1)
    return Small(tokens.detach(), ref, chain, torch.randn(SIZE, generator=g, dtype=torch.float64), drawn)


def test_completions_are_all_there_is(small: Small) -> None:
    assert float(small.pi.sum()) == pytest.approx(1.0, abs=1e-6)
    counts = torch.from_numpy(np.bincount(small.drawn, minlength=SIZE)).double()
    expected = DRAWS * small.pi
    assert float(((counts - expected) ** 2 / expected).sum()) < 63 + 4 * math.sqrt(2 * 63)


def judge_of(small: Small) -> ScalarJudge:
    number = {text: i for i, text in enumerate(TEXTS)}
    return ScalarJudge(lambda prompts, texts: [float(small.reward[number[t]]) for t in texts], temperature=JUDGE_HEAT)


def texts_of(small: Small, samples: int, logged: bool) -> list[list[str]]:
    tail = [TEXTS[LOGGED]] if logged else []
    return [[TEXTS[k] for k in own] + tail for own in small.drawn[: DRAWS // samples * samples].reshape(-1, samples)]


# ---- pairs --------------------------------------------------------------------------------------------------


def drawn_pairs(small: Small, method: str) -> tuple[Tensor, int]:
    """Pairs (chosen, rejected) [N, 2] as a run makes them, and the number of prompts that they come from."""
    judge, counts = judge_of(small), Counts()
    texts = texts_of(small, {"rso": 3, "drift": 1, "spin": 1}.get(method, 2), method in ("drift", "spin"))
    prompts = [f"prompt {i}" for i in range(len(texts))]
    if method in ("drift", "spin"):
        groups = set_against("rejected" if method == "drift" else "chosen", prompts, texts, counts)
    else:
        groups = judged(judge, prompts, texts)
        if method == "rso":
            reject(groups, REJECTION, 7, counts)
        rule = PairingRule("random", labels="drawn") if method == "drawn" else PairingRule()
        draft(judge, groups, rule, 11, counts)
    number = {text: i for i, text in enumerate(TEXTS)}
    pairs = []
    for group in groups:
        for pair in group.pairs:
            a, b = number[group.texts[pair.chosen]], number[group.texts[pair.rejected]]
            pairs.append((a, b) if pair.labels[0].p == 1.0 else (b, a))
    return torch.tensor(pairs), len(groups)


def exact_law(small: Small, method: str) -> Tensor:
    """Probability [64, 64] that a prompt gives the pair (chosen, rejected)."""
    pi, r = small.pi, small.reward
    law, better = torch.zeros(SIZE, SIZE, dtype=torch.float64), (r[:, None] > r).double()
    if method in ("drift", "spin"):
        law[:, LOGGED] = pi
        law[LOGGED, LOGGED] = 0.0
        return law if method == "drift" else law.T
    two = 2 * pi[:, None] * pi
    if method == "best":
        return two * better
    if method == "drawn":
        return two * torch.sigmoid((r[:, None] - r) / JUDGE_HEAT) * (1 - torch.eye(SIZE))
    # three candidates a > b > c of different scores, two are kept; where one repeats, the two that differ are
    heat = REJECTION.temperature
    order = r.argsort(descending=True)
    p, s, found = pi[order].tolist(), r[order].tolist(), np.zeros((SIZE, SIZE))
    for i, j, k in itertools.combinations(range(SIZE), 3):
        chance = 6 * p[i] * p[j] * p[k]
        cj, ck, d = (math.exp(x / heat) for x in (s[j] - s[i], s[k] - s[i], s[k] - s[j]))
        none = (1 - cj) * (1 - ck)
        found[i, j] += chance * (cj * (1 - ck) + cj * ck / 3 + none * (1 - d / 2))
        found[i, k] += chance * (ck * (1 - cj) + cj * ck / 3 + none * d / 2)
        found[j, k] += chance * cj * ck / 3
    for i, j in itertools.combinations(range(SIZE), 2):
        found[i, j] += 3 * (p[i] ** 2 * p[j] + p[i] * p[j] ** 2)
    law[order[:, None], order] = torch.from_numpy(found)
    return law


def pair_slopes(text: str, small: Small, first: Tensor, second: Tensor) -> Tensor:
    """The gradient of each pair's loss [N, D]."""
    logp = small.tokens.sum(1)
    sides = [logp[side].requires_grad_() for side in (first, second)]
    length = torch.full_like(first, LENGTH)
    scores = [Scores(x, small.ref[i], length) for x, i in zip(sides, (first, second), strict=True)]
    slopes = torch.autograd.grad(parse(text)(PairScores(*scores)).sum(), sides)
    chain = small.chain.sum(1)
    return slopes[0][:, None] * chain[first] + slopes[1][:, None] * chain[second]


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("best", "dpo(beta=0.5)"),
        ("drawn", "dpo(beta=0.5)"),
        ("drawn", "ipo(tau=0.5)"),
        ("drawn", "irepo_reconstructed(beta=0.5, eps=0.2)"),
        ("rso", "dpo(beta=0.5)"),
        ("rso", "hinge(beta=0.3)"),
        ("drift", "dpo(beta=0.5)"),
        ("spin", "dpo(beta=0.5)"),
    ],
)
def test_pairs(method: str, text: str, small: Small) -> None:
    pairs, prompts = drawn_pairs(small, method)
    each = pair_slopes(text, small, *pairs.T)
    each = torch.cat([each, each.new_zeros(prompts - len(each), each.shape[1])])  # prompts without a pair
    first, second = torch.cartesian_prod(torch.arange(SIZE), torch.arange(SIZE)).T
    exact = (exact_law(small, method).flatten()[:, None] * pair_slopes(text, small, first, second)).sum(0)
    assert_within_three_errors(each, exact)


# ---- groups -------------------------------------------------------------------------------------------------


def group_slopes(text: str, small: Small, rows: Tensor, score: Tensor) -> Tensor:
    """The gradient of each group's loss [N, D]; rows, score [N, S]: completions and what they are worth."""
    loss = parse(text)
    assert isinstance(loss, GroupObjective)
    flat = rows.flatten()
    leaf = small.tokens[flat].flatten().requires_grad_()
    row, old = torch.arange(len(flat)).repeat_interleave(LENGTH), leaf.detach()
    ref = (small.ref[flat] / LENGTH).repeat_interleave(LENGTH)
    tokens = Tokens(
        row,
        torch.arange(LENGTH).repeat(len(flat)),
        leaf,
        ref,
        columns={"old_logp": old, "half": old.new_full(old.shape, 0.5)},
    )
    length = torch.full_like(flat, LENGTH)
    side = Scores(leaf.reshape(-1, LENGTH).sum(1), small.ref[flat], length, tokens)
    group = torch.arange(len(rows)).repeat_interleave(rows.shape[1])
    (slope,) = torch.autograd.grad(loss(GroupScores(side, group, score.flatten())).sum(), leaf)
    return torch.einsum("nst,nstd->nd", slope.reshape(*rows.shape, LENGTH), small.chain[rows])


PPO = "ppo(beta=0.05, whiten=False, value='half', old_value='half')"


@pytest.mark.parametrize("text", ["grpo(beta=0.04)", "rloo(beta=0.05)", PPO, "grao(beta=0.5, lam=0.6)"])
def test_groups(text: str, small: Small) -> None:
    answered = text.startswith("grao")
    texts = texts_of(small, 2, answered)
    prompts = [f"prompt {i}" for i in range(len(texts))]
    if answered:
        groups = compared(judge_of(small), prompts, texts, "hard", 0)
    else:
        groups = judged(judge_of(small), prompts, texts)
    number = {text: i for i, text in enumerate(TEXTS)}
    rows = torch.tensor([[number[t] for t in g.texts] for g in groups])
    score = torch.tensor(np.stack([g.score for g in groups]))
    pairs = torch.cartesian_prod(torch.arange(SIZE), torch.arange(SIZE))
    worth = small.reward[pairs]
    if answered:
        pairs = torch.cat([pairs, torch.full((len(pairs), 1), LOGGED)], 1)
        worth = (small.reward[pairs] - small.reward[LOGGED]).sign()
    law = small.pi[pairs[:, 0]] * small.pi[pairs[:, 1]]
    exact = (law[:, None] * group_slopes(text, small, pairs, worth)).sum(0)
    assert_within_three_errors(group_slopes(text, small, rows, score), exact)


@pytest.mark.parametrize(("text", "size"), [(PPO.replace("beta=0.05", "beta=0.0, lam=1.0"), 1), ("rloo(beta=0.0)", 2)])
def test_policy_gradients_climb_the_expected_reward(text: str, size: int, small: Small) -> None:
    """The expected slope is exactly that of -E[reward]: a value or the others' mean takes nothing away."""
    rows = torch.cartesian_prod(*[torch.arange(SIZE)] * size).reshape(-1, size)
    law = small.pi[rows].prod(1)
    found = (law[:, None] * group_slopes(text, small, rows, small.reward[rows])).sum(0)
    expected = -((small.pi * small.reward)[:, None] * small.chain.sum(1)).sum(0)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def assert_within_three_errors(each: Tensor, exact: Tensor) -> None:
    error = each.std(0) / len(each) ** 0.5
    assert ((each.mean(0) - exact).abs() < 3 * error).all(), ((each.mean(0) - exact) / error).tolist()
    assert float((exact / error).abs().max()) > 10, "the sample could have told otherwise"
