"""Retain terms of unlearning: rows labelled 1 keep their likelihood, or the reference's distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from assent.errors import AssentError
from assent.objectives.kinds import LabelledObjective
from assent.objectives.parts import LENGTH, TOKENS, Need, State
from assent.objectives.registry import register
from assent.objectives.sft import Likelihood
from assent.scores import Scores
from assent.shapes import PerCompletion


class Retaining(LabelledObjective):
    """A loss of the rows to retain, averaged over them alone; rows to forget give 0 and do not count."""

    reads = (True,)

    def keep(self, scores: Scores) -> PerCompletion:
        """The loss [C] of each completion if it is to be retained."""
        raise TypeError(f"{type(self).__name__} defines no loss of a completion to retain")

    def sided(self, scores: Scores, state: State) -> tuple[PerCompletion, PerCompletion]:
        loss = self.keep(scores)
        return loss, torch.zeros_like(loss)

    def counts(self, scores: Scores) -> PerCompletion:
        weights = self.weights(scores)
        weights = weights * scores.column("label").to(weights)
        return weights * scores.length.to(weights) if self.mean_over == "token" else weights


@register
@dataclass(frozen=True)
class Retain(Likelihood, Retaining):
    """NLL of the rows labelled 1, in nats: the retain term of unlearning, added as ``npo() + retain()``.

    per: "batch_token" is the mean over all tokens of the step's rows to retain (the authors' language-model loss); "token"
    the mean over rows of their token means; "sequence" the mean over rows of their sums.
    """

    per: str = "batch_token"
    name = "retain"
    paper, equation = "2404.05868", "the retain term RT"

    def keep(self, scores: Scores) -> PerCompletion:
        return self.nll(scores)


@register
@dataclass(frozen=True)
class RetainKL(Retaining):
    """KL(reference || policy) of the next token on the rows labelled 1, mean over their completion tokens, in nats.

    0 at policy = reference.  The authors' code also divides by prompt and padding positions; here neither counts.
    """

    name = "retain_kl"
    paper, equation = "2404.05868", "the retain term KL"

    @property
    def mean_over(self) -> Literal["row", "token"]:
        return "token"

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({LENGTH, TOKENS, Need("kl_ref")})

    def keep(self, scores: Scores) -> PerCompletion:
        if scores.tokens is None or scores.tokens.kl_ref is None:
            raise AssentError("the scores carry no kl_ref; score with tokens and kl_ref under a live reference")
        return scores.tokens.sum_rows(scores.tokens.kl_ref, len(scores))
