"""Pairs given token by token, for values that are worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from assent.scores import PairScores, Scores, Tokens

F64 = torch.float64


Values = Sequence[Sequence[float]]


def side(*completions: Sequence[float], ref: Values | None = None, **more: Values) -> Scores:
    """Completions given by the log-probabilities of their tokens; ``more``: mask, kl_ref, sum_sq or token columns.

    The tokens' log-probabilities are leaves; where no reference is given it is 0 at every token.
    """
    flat = lambda rows: torch.tensor([x for row in rows for x in row], dtype=F64)  # noqa: E731
    row = torch.tensor([i for i, c in enumerate(completions) for _ in c])
    index = torch.tensor([j for c in completions for j in range(len(c))])
    logp = flat(completions).requires_grad_()
    ref_logp = torch.zeros_like(logp) if ref is None else flat(ref)
    known = {name: flat(values) for name, values in more.items() if name in ("mask", "kl_ref", "sum_sq", "entropy")}
    for value in known.values():
        value.requires_grad_()
    columns = {name: flat(values) for name, values in more.items() if name not in known}
    tokens = Tokens(row, index, logp, ref_logp.detach(), columns=columns, **known)
    count = len(completions)
    length = torch.tensor([float(len(c)) for c in completions], dtype=F64)
    return Scores(tokens.sum_rows(logp, count), tokens.sum_rows(tokens.ref_logp, count), length, tokens)


def token_pair(chosen: Scores, rejected: Scores) -> PairScores:
    """Pairs of the completions of two sides."""
    return PairScores(chosen, rejected)


def token_slopes(scores: PairScores, loss: torch.Tensor) -> tuple[list[float], list[float]]:
    """d loss / d log-probability of every token of the chosen and of the rejected side."""
    leaves = (scores.chosen.tokens.logp, scores.rejected.tokens.logp)
    chosen, rejected = torch.autograd.grad(
        loss.sum(), leaves, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return chosen.tolist(), rejected.tolist()
