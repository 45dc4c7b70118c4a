"""Preference matrices by hand, and what is refused."""

from __future__ import annotations

import pytest
import torch

from assent.errors import AssentError
from assent.games import matrices
from assent.judges.scalar import ScalarJudge
from assent.worlds.stacked import generators


def test_random_matrices_are_preferences():
    for kind in ("uniform", "tournament"):
        p = matrices.random(generators((0, 1), 1), 6, kind)
        assert p.shape == (2, 6, 6) and float((p + p.mT - 1).abs().max()) == 0.0
        assert torch.equal(matrices.random(generators((1,), 1), 6, kind)[0], p[1])
    assert set(p.flatten().tolist()) == {0.0, 0.5, 1.0}
    assert matrices.checked(p) is p


def test_cyclic_and_bradley_terry_by_hand():
    p = matrices.cyclic(3, 0.8)
    expected = [[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]]
    assert torch.allclose(p, torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(matrices.cyclic(5).sum(1), torch.full((5,), 2.5, dtype=torch.float64))
    bt = matrices.bradley_terry(torch.tensor([0.0, 1.0]))
    assert float(bt[1, 0]) == pytest.approx(0.7310585786300049, abs=1e-12)


def test_of_a_function_and_of_a_judge():
    p = matrices.of(lambda a, b: 0.6 + 0.1 * a, 3)
    assert float(p[0, 1]) == 0.6 and float(p[1, 2]) == pytest.approx(0.7) and float(p[2, 0]) == pytest.approx(0.4)

    class Longest:
        def prefer(self, prompts, a, b):
            assert set(prompts) == {"q"}
            return [0.9 if len(x) > len(y) else 0.1 for x, y in zip(a, b, strict=True)]

    p = matrices.from_judge(Longest(), "q", ["a", "aaa", "aa"])
    assert p.tolist() == [[0.5, 0.1, 0.1], [0.9, 0.5, 0.9], [0.9, pytest.approx(0.1), 0.5]]

    class Silent:
        def prefer(self, prompts, a, b):
            return [float("nan")] * len(a)

    with pytest.raises(AssentError, match="no answer to 1 of 1"):
        matrices.from_judge(Silent(), "q", ["a", "b"])


def test_a_judge_of_the_package_by_scores_is_bradley_terry():
    judge = ScalarJudge(lambda prompts, completions: [float(len(text)) for text in completions])
    p = matrices.from_judge(judge, "q", ["a", "aaa", "aa"])
    assert torch.allclose(p, matrices.bradley_terry(torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)), atol=1e-12)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: matrices.checked(torch.zeros(2, 3)), r"shape \[2, 3\]"),
        (lambda: matrices.checked(torch.tensor([[0.5, 1.5], [-0.5, 0.5]])), "outside"),
        (lambda: matrices.checked(torch.tensor([[0.5, 0.7], [0.4, 0.5]])), r"P\[0, 1\] \+ P\[1, 0\] is off 1 by 0.1"),
        (lambda: matrices.cyclic(4), "odd"),
        (lambda: matrices.random([], 1), "2 or more"),
        (lambda: matrices.of(lambda a, b: 0.5, 0), "1 or more"),
    ],
)
def test_refusals(made, message):
    with pytest.raises(AssentError, match=message):
        made()
