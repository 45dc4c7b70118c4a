"""What a model said of a batch: scores of completions, of pairs and of single tokens.  Contract, part 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from jaxtyping import Shaped
from torch import Tensor

from assent.errors import AssentError
from assent.shapes import GoldLabel, PairOfLabel, PerCompletion, PerLabel, PerPair, PerToken, RowOfToken

Swap = Literal["keep", "negate", "complement", "refuse"]


def _widen(scores: object, names: tuple[str, ...]) -> None:
    """Put float32 in place of half precision in the fields of a frozen dataclass."""
    for name in names:
        value = getattr(scores, name)
        if value is not None and value.dtype in (torch.float16, torch.bfloat16):
            object.__setattr__(scores, name, value.float())


@dataclass(frozen=True)
class Tokens:
    """Per-token values, flat and never padded; T counted tokens of C completions.

    row [T]: completion of each token.  index [T]: its place within the completion, from 0.
    logp, ref_logp [T]: nats per token.  On need: entropy, sum_sq (sum of squared probabilities), kl_ref [T] in nats,
    mask [T] in [0, 1], columns[name] [T].
    """

    row: RowOfToken
    index: RowOfToken
    logp: PerToken
    ref_logp: PerToken | None = None
    entropy: PerToken | None = None
    sum_sq: PerToken | None = None
    kl_ref: PerToken | None = None
    mask: PerToken | None = None
    columns: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _widen(self, ("logp", "ref_logp", "entropy", "sum_sq", "kl_ref"))

    def sum_rows(self, values: Tensor, completions: int) -> Tensor:
        """Sum of ``values`` [T] over the tokens of each completion -> [C]."""
        return values.new_zeros(completions).index_add(0, self.row, values)


@dataclass(frozen=True)
class Scores:
    """C completions; a field is None where nobody needs it.

    logp [C]: nats per sequence, summed over the counted completion tokens, carries grad.
    ref_logp [C]: the same under the reference, no grad.  length [C]: counted completion tokens.
    columns: per completion, such as reward, old_logp, value or label.
    Log-probabilities in half precision become float32 here, so that no loss is computed in less.
    """

    logp: PerCompletion
    ref_logp: PerCompletion | None = None
    length: Shaped[Tensor, C] | None = None
    tokens: Tokens | None = None
    columns: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _widen(self, ("logp", "ref_logp"))

    def __len__(self) -> int:
        return self.logp.shape[0]

    @property
    def log_ratio(self) -> PerCompletion:
        """log policy minus log reference [C], nats per sequence."""
        if self.ref_logp is None:
            raise AssentError(
                "the scores carry no ref_logp; score with a reference or choose a reference-free objective"
            )
        return self.logp - self.ref_logp

    def per_token(self, values: PerCompletion) -> PerCompletion:
        """``values`` [C] divided by the number of counted tokens: nats per token."""
        if self.length is None:
            raise AssentError("the scores carry no length; score with lengths or choose a sequence-level objective")
        return values / self.length

    def column(self, name: str) -> Tensor:
        """The values [C] of a column; an error that names the known ones when it is missing."""
        if name not in self.columns:
            raise _missing(name, self.columns)
        return self.columns[name]


@dataclass(frozen=True)
class Labels:
    """J labels of P pairs: who judged which pair, and how.

    pair [J] int: index of the pair.  annotator [J] int: index in the run's vocabulary.
    p [J]: the annotator's probability that the stored order is right.
    weight [J]: row weights, None for ones.  gold [J] bool: known to be true, None for none.
    """

    pair: PairOfLabel
    annotator: PairOfLabel
    p: PerLabel
    weight: PerLabel | None = None
    gold: GoldLabel | None = None

    def __len__(self) -> int:
        return self.pair.shape[0]

    def swapped(self) -> Labels:
        """The same judgements of the pairs stored the other way round."""
        return replace(self, p=1 - self.p)

    def per_pair(self, values: Tensor, pairs: int) -> Tensor:
        """Sum of ``values`` [J] over the labels of each pair -> [P]."""
        return values.new_zeros(pairs).index_add(0, self.pair, values)


@dataclass(frozen=True)
class Column:
    """A side column of pairs [P] with its rule under a swap: keep, negate, complement, refuse or exchange."""

    value: Tensor
    swap: Swap = "keep"
    exchange: str | None = None


@dataclass(frozen=True)
class PairScores:
    """P pairs; row i of both sides is pair i.

    weight [P]: row weight.  target [P]: P(stored order is right) as the data say.
    logit [P]: antisymmetric score of the pair in nats where there is no per-side score.
    views: scores of further sequences by name; names that carry a side ("chosen@x", "rejected|chosen") swap sides.
    """

    chosen: Scores
    rejected: Scores
    weight: PerPair | None = None
    target: PerPair | None = None
    labels: Labels | None = None
    logit: PerPair | None = None
    views: Mapping[str, Scores] = field(default_factory=dict)
    columns: Mapping[str, Column] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.chosen) != len(self.rejected):
            raise AssentError(
                f"PairScores got {len(self.chosen)} chosen and {len(self.rejected)} rejected scores; expected as many"
            )

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def log_ratio_gap(self) -> PerPair:
        """Chosen minus rejected log-ratio to the reference [P], nats per sequence."""
        return self.chosen.log_ratio - self.rejected.log_ratio

    def ones(self) -> PerPair:
        """[P] ones in the scores' dtype and device."""
        return torch.ones_like(self.chosen.logp)

    def column(self, name: str) -> Tensor:
        """The values of a side column; an error that names the known ones when it is missing."""
        if name not in self.columns:
            raise _missing(name, self.columns)
        return self.columns[name].value

    def swapped(self) -> PairScores:
        """The same pairs stored the other way round; applied twice it gives the scores back."""
        return PairScores(
            chosen=self.rejected,
            rejected=self.chosen,
            weight=self.weight,
            target=None if self.target is None else 1 - self.target,
            labels=None if self.labels is None else self.labels.swapped(),
            logit=None if self.logit is None else -self.logit,
            views={_other_side(name): scores for name, scores in self.views.items()},
            columns={_exchanged(name, c): _swap_column(name, c) for name, c in self.columns.items()},
        )


@dataclass(frozen=True)
class GroupScores:
    """G groups, each some completions of one prompt; C completions in all, those of a group side by side.

    completions: their scores.  group [C] int: the group of each, from 0, increasing.
    score [C]: the data's score of each, higher is better.  weight [G]: row weight.
    """

    completions: Scores
    group: RowOfToken
    score: PerCompletion
    weight: Tensor | None = None

    def __post_init__(self) -> None:
        if not len(self.completions) == len(self.group) == len(self.score):
            raise AssentError(
                f"GroupScores got {len(self.completions)} completions, {len(self.group)} groups and {len(self.score)} scores; "
                "expected as many"
            )

    def __len__(self) -> int:
        return int(self.group[-1]) + 1 if len(self.group) else 0

    def ones(self) -> Tensor:
        """[G] ones in the scores' dtype and device."""
        return self.completions.logp.new_ones(len(self))

    def sum_groups(self, values: Tensor) -> Tensor:
        """Sum of ``values`` [C] over the completions of each group -> [G]."""
        return values.new_zeros(len(self)).index_add(0, self.group, values)

    def log_sum_exp(self, values: Tensor) -> Tensor:
        """log of the sum of exp(values) [C] over each group -> [G]; stable for any size."""
        top, _, total = self._centred(values)
        return top + total

    def log_softmax(self, values: Tensor) -> Tensor:
        """``values`` [C] less the log of the sum of their exponentials in the group -> [C], nats; exact for any size."""
        _, centred, total = self._centred(values)
        return centred - total[self.group]

    def softmax(self, values: Tensor) -> Tensor:
        """exp(values) [C] over its sum in the group -> [C]."""
        return self.log_softmax(values).exp()

    def _centred(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The largest value of each group [G], ``values`` less it [C], and the log of the sum of their exponentials [G]."""
        top = values.new_full((len(self),), float("-inf")).scatter_reduce(0, self.group, values.detach(), "amax")
        top = torch.where(top.isfinite(), top, 0.0)
        centred = values - top[self.group]  # large values would leave no digits for the logarithm of their sum
        return top, centred, self.sum_groups(centred.exp()).log()


def _missing(name: str, there: Mapping[str, object]) -> AssentError:
    known = ", ".join(sorted(there)) or "none"
    return AssentError(f"column {name!r} is not in the data (there: {known}); add it or map it with --columns")


def _other_side(name: str) -> str:
    """The name of a view after a swap: chosen and rejected change places."""
    return name.replace("chosen", "\0").replace("rejected", "chosen").replace("\0", "rejected")


def _exchanged(name: str, column: Column) -> str:
    return name if column.exchange is None else column.exchange


def _swap_column(name: str, column: Column) -> Column:
    if column.exchange is not None:
        return Column(column.value, column.swap, exchange=name)
    if column.swap == "negate":
        return Column(-column.value, "negate")
    if column.swap == "complement":
        return Column(1 - column.value, "complement")
    if column.swap == "refuse":
        raise AssentError(f"column {name!r} has no meaning for the swapped order; this objective cannot be symmetrised")
    return column


def select(scores: Scores, rows: Tensor) -> Scores:
    """The completions at ``rows`` (int [N]) in that order, tokens included."""
    picked = {
        f.name: getattr(scores, f.name)[rows] for f in fields(scores) if isinstance(getattr(scores, f.name), Tensor)
    }
    columns = {name: value[rows] for name, value in scores.columns.items()}
    return Scores(**picked, tokens=_select_tokens(scores.tokens, rows), columns=columns)


def _select_tokens(tokens: Tokens | None, rows: Tensor) -> Tokens | None:
    if tokens is None:
        return None
    order = torch.cat([torch.nonzero(tokens.row == row).flatten() for row in rows])
    counts = torch.stack([(tokens.row == row).sum() for row in rows])
    picked = {
        f.name: getattr(tokens, f.name)[order]
        for f in fields(tokens)
        if isinstance(getattr(tokens, f.name), Tensor) and f.name != "row"
    }
    row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), counts)
    return Tokens(row=row, **picked, columns={k: v[order] for k, v in tokens.columns.items()})
