"""LD-DPO by hand."""

from __future__ import annotations

from math import exp, log1p

import pytest

from assent import LDDPO
from assent.objectives.ld_dpo import within_shorter
from hand import value
from hand_tokens import side, token_pair, token_slopes


def _pair() -> object:
    # 4 chosen tokens with log-ratios 1 2 3 4 (reference .5 each), 2 rejected with -1 -2
    chosen = side([1.5, 2.5, 3.5, 4.5], ref=[[0.5] * 4])
    return token_pair(chosen, side([-1.0, -2.0]))


def test_golden_values() -> None:
    # (1 + 2) + .5 (3 + 4) - (-3) = 9.5; log(1 + e^-.95) at beta .1
    assert value(LDDPO(0.1, 0.5)(_pair())) == pytest.approx(log1p(exp(-0.95)), abs=1e-12)
    # the reference whole: policy 1.5 + 2.5 + .5 (3.5 + 4.5) = 8, reference 2: 6 - (-3) = 9
    assert value(LDDPO(0.1, 0.5, reference="whole")(_pair())) == pytest.approx(log1p(exp(-0.9)), abs=1e-12)


def test_the_tail_counts_alpha_and_the_shorter_side_fully() -> None:
    scores = _pair()
    assert [x.tolist() for x in within_shorter(scores)] == [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0]]
    chosen, rejected = token_slopes(scores, LDDPO(0.1, 0.25)(scores))
    # margin 3 + .25 * 7 + 3 = 7.75: d loss / d margin = -.1 sigmoid(-.775)
    s = 0.1 / (1 + exp(0.775))
    assert chosen == pytest.approx([-s, -s, -s / 4, -s / 4], abs=1e-12)
    assert rejected == pytest.approx([s, s], abs=1e-12)


def test_alpha_zero_ignores_the_tail() -> None:
    chosen, _ = token_slopes(scores := _pair(), LDDPO(0.1, 0.0)(scores))
    assert chosen[2:] == [0.0, 0.0]
    assert value(LDDPO(0.1, 0.0)(scores)) == pytest.approx(log1p(exp(-0.6)), abs=1e-12)


def test_places_are_those_of_counted_tokens_whatever_lies_between() -> None:
    from dataclasses import replace

    scores = _pair()
    gaps = replace(scores.chosen.tokens, index=scores.chosen.tokens.index * 3 + 5)
    moved = replace(scores, chosen=replace(scores.chosen, tokens=gaps))
    assert value(LDDPO()(moved)) == value(LDDPO()(scores))
