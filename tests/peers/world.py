"""One small batch for both sides: four pairs of token logits in float32 under a policy and a reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.scores import PairScores, Scores, Tokens

PROMPT, COMPLETION = (2, 3, 2, 3) * 2, (5, 3, 4, 6, 4, 6, 2, 5)
"""Tokens of each row; rows 0 to 3 are the chosen completions, 4 to 7 the rejected ones."""
LIKED = torch.arange(8) < 6
"""Labels of the rows where they are read as single completions."""
VOCABULARY, WIDTH = 7, max(p + c for p, c in zip(PROMPT, COMPLETION, strict=True))


def _waves(shift: float) -> Tensor:
    """Numbers between -1 and 1 without a pattern that matters, [8, WIDTH, VOCABULARY]; the same on every machine."""
    row, place, word = (torch.arange(n, dtype=torch.float64) for n in (8, WIDTH, VOCABULARY))
    angle = 1.7 * row[:, None, None] + 2.3 * place[:, None] + 3.1 * word + 0.37 * row[:, None, None] * word
    return torch.sin(angle + 0.9 * place[:, None] * word + shift)


@dataclass(frozen=True)
class Batch:
    """Right-padded sequences [8, WIDTH]; logits [8, WIDTH, VOCABULARY] at a token say what comes after it."""

    ids: Tensor
    attention: Tensor
    completion: Tensor
    policy: Tensor
    reference: Tensor

    @property
    def labels(self) -> Tensor:
        return self.ids.masked_fill(self.completion == 0, -100)

    def token_logps(self, logits: Tensor) -> Tensor:
        """log p of the next token where it is a counted one, else 0 [8, WIDTH - 1], nats."""
        found = logits[:, :-1].log_softmax(-1).gather(-1, self.ids[:, 1:, None]).squeeze(-1)
        return found * self.completion[:, 1:]

    def log_sum_sq(self) -> Tensor:
        """log of the sum of squared probabilities of the policy [8, WIDTH - 1]."""
        return (2 * self.policy[:, :-1].log_softmax(-1)).logsumexp(-1)


def batch() -> Batch:
    """The batch: ranks differ between policy and reference, WPO's weights lie on both sides of 1, KTO's z0 is above 0."""
    start, length = torch.tensor(PROMPT)[:, None], torch.tensor(COMPLETION)[:, None]
    place = torch.arange(WIDTH)[None]
    attention = (place < start + length).long()
    ids = (3 * torch.arange(8)[:, None] + 5 * place + place * place) % VOCABULARY
    likely = torch.nn.functional.one_hot(ids.roll(-1, 1), VOCABULARY) * (torch.arange(8) % 4 % 3 == 0)[:, None, None]
    reference = 2 * _waves(0.0) + 3 * likely  # half of the pairs are what the models would say themselves
    policy = reference + 1.4 * _waves(2.6)
    return Batch(ids, attention, attention * (place >= start), policy.float(), reference.float())


def mismatched(seen: Batch) -> Batch:
    """The completions put to another row's prompt, as KTO's common point wants them: other logits at the same tokens."""
    policy = (1.2 * _waves(2.1)).float()
    return Batch(seen.ids, seen.attention, seen.completion, policy, policy - 0.3 * _waves(0.0).float())


def _scores(seen: Batch, rows: Tensor, columns: dict[str, Tensor]) -> Scores:
    counted = seen.completion[rows, 1:].bool()
    row, place = counted.nonzero(as_tuple=True)
    policy, reference = (seen.token_logps(logits)[rows] for logits in (seen.policy, seen.reference))
    tokens = Tokens(
        row=row,
        index=place + 1 - torch.tensor(PROMPT)[rows][row],
        logp=policy[counted],
        ref_logp=reference[counted],
        sum_sq=seen.log_sum_sq()[rows][counted].exp(),
    )
    return Scores(policy.sum(1), reference.sum(1), counted.sum(1), tokens, columns)


def pair_scores(seen: Batch) -> PairScores:
    """The batch as four pairs."""
    return PairScores(_scores(seen, torch.arange(4), {}), _scores(seen, torch.arange(4, 8), {}))


def labelled_scores(seen: Batch) -> Scores:
    """The batch as eight completions with the labels LIKED."""
    other = mismatched(seen)
    ratio = (other.token_logps(other.policy) - other.token_logps(other.reference)).sum(1)
    return _scores(seen, torch.arange(8), {"label": LIKED.float(), "mismatched": ratio})
