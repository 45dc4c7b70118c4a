"""The sequence version of the didactic bandit of arXiv:2404.14367: a start token, nine more, 100 tokens, a small GPT-2.

The reward is the mean of the table's bump over all ten tokens (`bandit`).  Under the reference every token has the table's
masses, the start token too, which the policy reads and does not choose.  The project's sheet says no more of the policy than
"nano GPT": transformers' GPT-2 of 2 layers x 32 here, without dropout, brought near the reference by 100 steps of Adam, rate
.01, on KL(policy || reference) at the prefixes of 32 sequences of the reference; the rate of all runs is .001.  Losses and
`learn` are those of the table; a token is a token of the objective, so ratios are clipped one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from assent.worlds.bandit import ACTIONS, DRAWS, Loss, drawn_from, learn, reference
from assent.worlds.stacked import generators

LENGTH, WIDTH, LAYERS, HEADS = 10, 32, 2, 2
WARM_UP, WARM_UP_RATE, WARM_UP_ROWS, RATE, HELD_OUT = 100, 0.01, 32, 1e-3, 256


def log_policy(model: Any, tokens: Tensor) -> Tensor:
    """Next-token log-probabilities [N, T - 1, 100] of sequences [N, T], double precision."""
    return model(input_ids=tokens[:, :-1], use_cache=False).logits.double().log_softmax(-1)


@cache
def start(seed: int) -> Any:
    """The GPT-2 of a seed near the reference."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=ACTIONS, n_positions=LENGTH, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config)
    (g,) = generators((seed,), 80)
    optimiser = torch.optim.Adam(model.parameters(), lr=WARM_UP_RATE, fused=True)
    for _ in range(WARM_UP):
        logp = log_policy(model, from_reference((WARM_UP_ROWS, LENGTH), g))
        optimiser.zero_grad()
        (logp.exp() * (logp - reference().log())).sum(-1).mean().backward()
        optimiser.step()
    return model


def from_reference(shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Tokens of the reference."""
    return drawn_from(reference(), torch.rand(shape, generator=g, dtype=torch.float64))


class Sequences:
    """One GPT-2 of one run; draws are tokens [1, C, 10, 10], start token first, the same in each context's ten draws."""

    def __init__(self, reward: Tensor, seed: int, contexts: int) -> None:
        self.model, self.bump, self.ref = copy.deepcopy(start(seed)), reward, reference().log()
        (self.g,) = generators((seed,), 81)
        self.first = from_reference((contexts, 1), self.g)
        self.weights = list(self.model.parameters())

    def sample(self, first: bool) -> Tensor:
        contexts = len(self.first)
        if first:
            rest = from_reference((contexts * DRAWS, LENGTH - 1), self.g)
            tokens = torch.cat([self.first.repeat_interleave(DRAWS, 0), rest], 1)
        else:
            tokens = self._continued(self.first.repeat_interleave(DRAWS, 0))
        return tokens.view(1, contexts, DRAWS, LENGTH)

    def _continued(self, tokens: Tensor) -> Tensor:
        while tokens.shape[1] < LENGTH:
            logp = (
                self.model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[:, -1].double().log_softmax(-1)
            )
            noise = torch.rand(len(tokens), 1, generator=self.g, dtype=torch.float64)
            tokens = torch.cat([tokens, drawn_from(logp.exp(), noise)], 1)
        return tokens

    def logp(self, drawn: Tensor) -> Tensor:
        tokens = drawn.view(-1, LENGTH)
        logp = log_policy(self.model, tokens).gather(-1, tokens[:, 1:, None])
        return logp.view(*drawn.shape[:3], LENGTH - 1)

    def ref_logp(self, drawn: Tensor) -> Tensor:
        return self.ref[drawn[..., 1:]]

    def reward(self, drawn: Tensor) -> Tensor:
        return self.bump[drawn].mean(-1)

    @torch.no_grad()
    def expected(self) -> float:
        """E[r]: that of the start token, and of the next one at the prefixes of 256 sequences of the policy."""
        tokens = self._continued(from_reference((HELD_OUT, 1), self.g))
        later = (log_policy(self.model, tokens).exp() @ self.bump).mean(0).sum()
        return float((self.ref.exp() @ self.bump + later) / LENGTH)


def fit(
    loss: Loss, reward: Tensor, seeds: Sequence[int], *, contexts: int, rounds: int = 1, steps: int = 200
) -> Tensor:
    """Expected rewards [seeds] after ``rounds`` of ``contexts`` x 10 draws and ``steps`` each."""
    found = []
    for seed in seeds:
        policy = Sequences(reward, seed, contexts)
        learn(policy, loss, rounds=rounds, steps=steps, rate=RATE)
        found.append(policy.expected())
    return torch.tensor(found, dtype=torch.float64)
