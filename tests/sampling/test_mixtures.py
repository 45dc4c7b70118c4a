"""Whole completions of one of two models, and the best of several."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assent import AssentError
from assent.sampling import Alternating, Completion, ModelGenerator, SamplingSettings, SequenceMixture, best_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scoring"))
from families import model_of

END = frozenset({1})
PROMPT = np.array([3, 9, 4], np.int32)


def test_a_share_of_whole_completions_is_the_other_models() -> None:
    own, other = (ModelGenerator(model_of("LlamaConfig", seed=seed), END) for seed in (0, 5))
    settings, n = SamplingSettings(max_new_tokens=4, batch_size=400), 400
    made = SequenceMixture(own, other, 0.25).generate([PROMPT], n, settings)
    a, b = (g.generate([PROMPT], n, settings) for g in (own, other))
    from_other = [
        m.ids.tolist() == y.ids.tolist() and m.logp.tolist() == y.logp.tolist() for m, y in zip(made, b, strict=True)
    ]
    assert all(o or m.ids.tolist() == x.ids.tolist() for o, m, x in zip(from_other, made, a, strict=True))
    assert abs(np.mean(from_other) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / n)
    for share, expected in ((0.0, a), (1.0, b)):
        whole = SequenceMixture(own, other, share).generate([PROMPT], n, settings)
        assert [m.ids.tolist() for m in whole] == [m.ids.tolist() for m in expected]
    with pytest.raises(AssentError, match="share of a mixture is -1"):
        SequenceMixture(own, other, -1)


def test_two_models_take_turns() -> None:
    own, other = (ModelGenerator(model_of("LlamaConfig", seed=seed), END) for seed in (0, 5))
    settings = SamplingSettings(max_new_tokens=4)
    found = Alternating(own, other).generate([PROMPT, PROMPT[:2]], 3, settings)
    assert [(m.prompt, m.sample) for m in found] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    first, second = own.generate([PROMPT], 2, settings), other.generate([PROMPT], 1, replace(settings, seed=1))
    expected = [first[0], second[0], first[1]]
    assert [m.ids.tolist() for m in found[:3]] == [m.ids.tolist() for m in expected]


def made(prompt: int, sample: int) -> Completion:
    return Completion(prompt, sample, np.array([prompt, sample], np.int32), np.zeros(2), np.zeros(2), True)


def test_the_best_of_several_by_hand() -> None:
    nan = float("nan")
    completions = [made(i, j) for i in range(3) for j in range(3)]
    found = best_of(completions, [0.1, 0.5, 0.5, nan, -1.0, nan, nan, nan, nan])
    assert [(m.prompt, m.sample, m.ids.tolist()) for m in found] == [(0, 0, [0, 1]), (1, 0, [1, 1])]
    with pytest.raises(AssentError, match="9 completions and 2 scores"):
        best_of(completions, [0.0, 1.0])
