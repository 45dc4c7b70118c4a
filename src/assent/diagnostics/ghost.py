"""Inner products of single gradients from what a layer read and what came back to it, often without the gradients.

A weight's gradient for one sequence is sum_t b_t a_t^T over its tokens, a the layer's input and b the gradient of its output;
an embedding's is the same with b_t the one-hot id and a_t the gradient of the output.  So <G, G'> = sum_tu (a_t . a'_u)
(b_t . b'_u), as in the ghost norm of private training (Li et al., 2110.05679).  Where tokens are many beside the
weight, making G is the cheaper way; the cheaper of the two is taken.

Letters: P pairs, 2 P sequences in the order chosen then rejected of each pair, T tokens, o x i the weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ELEMENTS = 1 << 24
"""Most numbers of single gradients, or of products of tokens, that are held at a time."""


BLOCK = 2048
"""Most numbers whose products are summed in the gradients' own precision."""


@dataclass(frozen=True)
class Tokens:
    """One use of a weight [o, i].  a [P, 2, T, i]; b [P, 2, T, o], or ids [P, 2, T] of an embedding, whose b is one-hot."""

    a: Tensor
    b: Tensor

    @property
    def one_hot(self) -> bool:
        return not self.b.is_floating_point()

    @property
    def tokens(self) -> int:
        return self.a.shape[2]

    def at(self, pairs: slice) -> Tokens:
        return Tokens(self.a[pairs], self.b[pairs])

    def dense(self, rows: int) -> Tensor:
        """The gradients [P, 2, o, i]."""
        if not self.one_hot:
            return self.b.mT @ self.a
        found = self.a.new_zeros(*self.a.shape[:2], rows, self.a.shape[3])
        return found.scatter_add_(2, self.b[..., None].expand_as(self.a), self.a)

    def along(self, direction: Tensor) -> Tensor:
        """<G, direction> [P, 2], direction [o, i]."""
        towards = direction[self.b] if self.one_hot else self.b @ direction
        return (towards * self.a).sum((2, 3), dtype=torch.float64)


@dataclass(frozen=True)
class Whole:
    """Gradients [P, 2, ...] of a parameter that are known as they are, such as those of a norm or a bias."""

    gradient: Tensor

    def at(self, pairs: slice) -> Whole:
        return Whole(self.gradient[pairs])


Use = Tokens | Whole


def gram(
    uses: Sequence[Use], shape: torch.Size, factor: Tensor | None = None, direction: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """(gram [P, 2, 2], along [P, 2] or None) of a parameter of this shape that was used once or several times, float64.

    factor: scales the gradients and the direction.
    """
    pairs = len(uses[0].a if isinstance(uses[0], Tokens) else uses[0].gradient)
    by_tokens = factor is None and all(isinstance(use, Tokens) for use in uses) and _fewer_by_tokens(uses, shape)
    size = 4 * sum(use.tokens for use in uses) ** 2 if by_tokens else 2 * shape.numel()
    step = max(1, ELEMENTS // size)
    found = [
        (_by_tokens if by_tokens else _by_gradients)(
            [use.at(slice(i, i + step)) for use in uses], shape, factor, direction
        )
        for i in range(0, pairs, step)
    ]
    grams, alongs = zip(*found, strict=True)
    return torch.cat(grams).cpu(), None if direction is None else torch.cat(alongs).cpu()


def _fewer_by_tokens(uses: Sequence[Tokens], shape: torch.Size) -> bool:
    """Whether products of tokens cost less than the gradients, in multiplications; an embedding's are all but zeros."""
    out, width = shape
    tokens = sum(use.tokens for use in uses)
    return all(use.one_hot for use in uses) or 2 * tokens * (out + width) < out * width


def _by_gradients(
    uses: Sequence[Use], shape: torch.Size, factor: Tensor | None, direction: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    total = sum(use.dense(shape[0]) if isinstance(use, Tokens) else use.gradient for use in uses).flatten(2)
    if factor is not None:
        total = total * factor.to(total).flatten()
    along = None
    if direction is not None:
        towards = direction.to(total) if factor is None else direction.to(total) * factor.to(total)
        along = torch.stack([inner(pair, towards.reshape(1, -1))[:, 0] for pair in total])
    return torch.stack([inner(pair, pair) for pair in total]), along


def inner(x: Tensor, y: Tensor) -> Tensor:
    """Inner products [S, S'] of the rows of x [S, N] and y [S', N], float64.

    Float32 is summed over BLOCK numbers at most: over a whole weight at once it would lose four digits.
    """
    whole = x.shape[1] // BLOCK * BLOCK
    blocks = [part[:, :whole].unflatten(1, (-1, BLOCK)).transpose(0, 1) for part in (x, y)]
    rest = x[:, whole:] @ y[:, whole:].mT
    return torch.bmm(blocks[0], blocks[1].mT).sum(0, dtype=torch.float64) + rest.double()


def _by_tokens(
    uses: Sequence[Tokens], shape: torch.Size, factor: Tensor | None, direction: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    total = 0.0
    for i, one in enumerate(uses):
        for other in uses[i:]:
            part = products(one, other)
            total = total + (part if other is one else part + part.mT)
    if direction is None:
        return total, None
    return total, sum(use.along(direction.to(use.a)) for use in uses)


def products(one: Tokens, other: Tokens) -> Tensor:
    """<G, G'> [P, S, S'] of two uses of one weight, sides of the first by sides of the second, float64."""
    both = token_products(one, other)
    return both.unflatten(2, (other.a.shape[1], -1)).unflatten(1, (one.a.shape[1], -1)).sum((2, 4), dtype=torch.float64)


def token_products(one: Tokens, other: Tokens) -> Tensor:
    """(a_t . a'_u) (b_t . b'_u) [P, S T, S' T']: the share of <G, G'> that two tokens have."""
    a, a2 = one.a.flatten(1, 2), other.a.flatten(1, 2)
    b, b2 = one.b.flatten(1, 2), other.b.flatten(1, 2)
    if one.one_hot and other.one_hot:
        same = (b[:, :, None] == b2[:, None, :]).to(a)
    elif other.one_hot:
        same = b.gather(2, b2[:, None, :].expand(-1, b.shape[1], -1))
    elif one.one_hot:
        same = b2.gather(2, b[:, None, :].expand(-1, b2.shape[1], -1)).mT
    else:
        same = b @ b2.mT
    return same * (a @ a2.mT)
