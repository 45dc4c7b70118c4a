"""How well a model has forgotten, and what it still knows: the measures of TOFU, arXiv:2401.06121, as plain functions.

Each takes what a scorer gave (log-probabilities in nats per sequence, counted tokens) and returns numbers.  Their
definitions are TOFU's from memory, written out here so that they can be checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.stats import ks_2samp
from torch import Tensor

from assent.errors import AssentError


def answer_probability(logp: Tensor, length: Tensor) -> Tensor:
    """exp(logp / length): the geometric mean of the token probabilities, in the shape of ``logp``, in (0, 1]."""
    return (logp / length).exp()


def choice_probability(logp: Tensor, length: Tensor) -> Tensor:
    """[n]: the first answer's length-normalised probability over the sum of all k answers' of a question, [n, k] each."""
    each = answer_probability(logp, length)
    return each[:, 0] / each.sum(1)


def truth_ratio(logp: Tensor, length: Tensor, false_logp: Tensor, false_length: Tensor) -> Tensor:
    """[n]: mean length-normalised probability of k false answers [n, k] over that of the true, paraphrased one [n].

    Near 0 where the model knows the truth, near 1 where it cannot tell it from what is false.
    """
    return answer_probability(false_logp, false_length).mean(1) / answer_probability(logp, length)


def forget_quality(ratios: Tensor, retrained: Tensor) -> float:
    """p-value of the two-sample Kolmogorov-Smirnov test between truth ratios on what was to be forgotten.

    retrained: those of a model that never saw it.  1 means that the two cannot be told apart; below .05 the forgetting shows.
    Raises AssentError where either has no value.
    """
    if len(ratios) == 0 or len(retrained) == 0:
        raise AssentError(
            f"forget_quality was given {len(ratios)} and {len(retrained)} truth ratios; expected some of both"
        )
    return float(ks_2samp(ratios.double().numpy(), retrained.double().numpy()).pvalue)


def rouge_l_recall(answer: str, generated: str) -> float:
    """Share of the answer's words that its longest common subsequence with the generated text holds; case does not count."""
    words, other = answer.lower().split(), generated.lower().split()
    if not words:
        raise AssentError("rouge_l_recall was given an empty answer; expected at least one word")
    row = [0] * (len(other) + 1)
    for word in words:
        before = row
        row = [0]
        for place, candidate in enumerate(other):
            row.append(before[place] + 1 if word == candidate else max(before[place + 1], row[place]))
    return row[-1] / len(words)


def model_utility(values: Sequence[float]) -> float:
    """Harmonic mean of measures in [0, 1]: probability, ROUGE-L and max(0, 1 - truth ratio) on each set to be kept.

    0 as soon as one of them is 0.  Raises AssentError where there is none, or one is outside [0, 1].
    """
    wrong = [v for v in values if not 0 <= v <= 1]
    if not values or wrong:
        raise AssentError(f"model_utility was given {wrong or 'nothing'}; expected at least one measure, all in [0, 1]")
    return 0.0 if min(values) == 0 else len(values) / sum(1 / v for v in values)


def divergence(retrained: Tensor, current: Tensor) -> Tensor:
    """[n] nats: KL(retrained || current) of next-token log-probabilities [n, V]; 0 where forgetting was exact."""
    log_one, log_other = retrained.log_softmax(-1), current.log_softmax(-1)
    return (log_one.exp() * torch.where(log_one.isinf(), 0.0, log_one - log_other)).sum(-1)
