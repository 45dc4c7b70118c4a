"""The measures of unlearning by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from assent import AssentError
from assent.evaluation.unlearning import (
    answer_probability,
    choice_probability,
    divergence,
    forget_quality,
    model_utility,
    rouge_l_recall,
    truth_ratio,
)


def number(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_probabilities() -> None:
    # two tokens of .25 and .5 each: the length does not matter
    logp, length = number([[2 * log(0.25), 3 * log(0.5)]]), number([[2.0, 3.0]])
    assert answer_probability(logp, length).tolist()[0] == pytest.approx([0.25, 0.5])
    assert choice_probability(logp, length).tolist() == pytest.approx([1 / 3])
    # false answers at .1 and .3, the truth at .4: .2 / .4
    found = truth_ratio(number([log(0.4)]), number([1.0]), number([[2 * log(0.1), log(0.3)]]), number([[2.0, 1.0]]))
    assert found.tolist() == pytest.approx([0.5])


def test_forget_quality() -> None:
    same = number([0.1, 0.4, 0.7, 0.9])
    assert forget_quality(same, same) == pytest.approx(1.0)
    # 4 against 4 without overlap: the two extreme orders of 8 over 4 = 70
    assert forget_quality(same, same + 1) == pytest.approx(2 / 70)
    # 3 against 3 that lie in each other: the largest gap of the two distributions is 1/3, which is never surprising
    assert forget_quality(number([0.1, 0.3, 0.5]), number([0.2, 0.4, 0.6])) == pytest.approx(1.0)
    with pytest.raises(AssentError, match="expected some of both"):
        forget_quality(same, number([]))


def test_rouge_l_recall() -> None:
    # "the cat ... mat": the, cat, on, mat of the, cat, sat, on, the, mat
    assert rouge_l_recall("the cat sat on the mat", "The cat lay on a mat") == pytest.approx(4 / 6)
    assert rouge_l_recall("a b c", "c b a") == pytest.approx(1 / 3)
    assert rouge_l_recall("a b", "") == 0.0 and rouge_l_recall("a b", "x a y b z") == 1.0
    with pytest.raises(AssentError, match="empty answer"):
        rouge_l_recall(" ", "a")


def test_utility_is_a_harmonic_mean() -> None:
    assert model_utility([0.5, 1.0]) == pytest.approx(2 / 3)
    assert model_utility([0.9, 0.0, 1.0]) == 0.0
    for wrong in ([], [1.5]):
        with pytest.raises(AssentError, match="model_utility"):
            model_utility(wrong)


def test_divergence() -> None:
    one, other = number([[0.5, 0.5, 0.0]]).log(), number([[0.25, 0.5, 0.25]]).log()
    assert divergence(one, other).tolist() == pytest.approx([0.5 * log(2)])
    assert divergence(other, other).tolist() == [0.0]
