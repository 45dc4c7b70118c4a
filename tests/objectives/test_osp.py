"""The soft-preference cross-entropy of OSP, with the identities of its sheet."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, log1p

import pytest
import torch

from assent import parse
from hand import pair, slopes, value


def soft(margin: float, p: float) -> tuple:
    """A pair at this margin (beta 1) with the label p, its loss and d loss / d margin."""
    scores = replace(pair(margin, 0.0), target=torch.tensor([p], dtype=torch.float64))
    loss = parse("osp_reconstructed(beta=1.0)")(scores)
    return value(loss), slopes(scores, loss)[0]


def test_golden_values() -> None:
    # margin ln 3: sigmoid = 3/4; p = .6: -.6 ln .75 - .4 ln .25; gradient .75 - .6
    loss, slope = soft(log(3), 0.6)
    assert loss == pytest.approx(-0.6 * log(0.75) - 0.4 * log(0.25), abs=1e-12)
    assert slope == pytest.approx(0.15, abs=1e-12)


def test_the_minimum_is_the_judges_own_entropy() -> None:
    for p in (0.1, 0.5, 0.8):
        loss, slope = soft(log(p / (1 - p)), p)
        assert slope == pytest.approx(0.0, abs=1e-12)
        assert loss == pytest.approx(-p * log(p) - (1 - p) * log(1 - p), abs=1e-12)


def test_identities() -> None:
    for s, p in ((0.7, 0.9), (-1.2, 0.3)):
        assert soft(s, p)[0] == pytest.approx(soft(-s, 1 - p)[0], abs=1e-12)
        assert soft(s, p)[0] == pytest.approx(log1p(exp(-s)) + (1 - p) * s, abs=1e-12)
        assert soft(0.0, p)[0] == pytest.approx(log(2), abs=1e-12)
        assert soft(s, 1.0)[0] == pytest.approx(log1p(exp(-s)), abs=1e-12)
        # a label drawn with probability p has the same mean gradient
        drawn = p * soft(s, 1.0)[1] + (1 - p) * soft(s, 0.0)[1]
        assert soft(s, p)[1] == pytest.approx(drawn, abs=1e-12)
