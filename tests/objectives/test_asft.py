"""ASFT by hand, and the identities of its sheet."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch
from torch.testing import assert_close

from assent import ASFT, AssentError
from hand import pair, slopes, value
from random_scores import pair_scores


def test_golden_values() -> None:
    # p = 1/2 on both sides: (1 + 2 lam) ln 2
    half = pair(2 * log(0.5), 3 * log(0.5), length=(2.0, 3.0))
    assert value(ASFT(lam=0.7)(half)) == pytest.approx(2.4 * log(2), abs=1e-12)
    # p(w) = 1/4, p(l) = 1/3: 2 ln 4 - ln(2/3)
    assert value(ASFT()(pair(log(0.25), log(1 / 3)))) == pytest.approx(2 * log(4) - log(2 / 3), abs=1e-12)
    # tempered, beta 2: odds 1/3 and 1/2, squared 1/9 and 1/4: .5 ln 4 + ln 10 + ln 1.25
    found = ASFT(nll=0.5, beta=2.0)(pair(log(0.25), log(1 / 3)))
    assert value(found) == pytest.approx(0.5 * log(4) + log(10) + log(1.25), abs=1e-12)


def test_each_side_moves_by_itself() -> None:
    """Sheet, identity 5: -(1 + lam) on the chosen, lam p / (1 - p) on the rejected, whatever the other side is."""
    for rejected in (0.1, 0.9):
        scores = pair(log(0.3), log(rejected))
        assert slopes(scores, ASFT(lam=0.5)(scores)) == pytest.approx(
            (-1.5, 0.5 * rejected / (1 - rejected)), abs=1e-12
        )


def test_rejected_completions_may_change_partners() -> None:
    """Sheet, identity 7."""
    scores = pair_scores(6, reference=False)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    rejected = replace(scores.rejected, logp=scores.rejected.logp[order], length=scores.rejected.length[order])
    for objective in (ASFT(lam=0.3), ASFT(lam=0.3, beta=0.5)):
        assert_close(objective(replace(scores, rejected=rejected)).sum(), objective(scores).sum())


def test_temper_one_is_the_closed_form_and_a_small_temper_ranks_pairs() -> None:
    scores = pair_scores(6, reference=False)
    assert_close(ASFT(beta=1 + 1e-12)(scores), ASFT()(scores), rtol=1e-9, atol=1e-9)
    # identity 6: the gradient tends to -(b/2)(grad r_w - grad r_l), grad r = 1 / (1 - p) per nat
    one = pair(log(0.25), log(0.5))
    loss = ASFT(nll=0.0, beta=1e-6)(one)
    assert slopes(one, loss) == pytest.approx((-0.5e-6 / 0.75, 0.5e-6 / 0.5), rel=1e-5)


def test_a_memorised_rejected_completion_is_pushed_down_with_a_finite_force() -> None:
    for beta in (1.0, 2.0):
        scores = pair(-1.0, 0.0)
        loss = ASFT(beta=beta)(scores)
        down = slopes(scores, loss)[1]
        assert 1e5 < down < 1e7 and value(loss) < 100


def test_ranges() -> None:
    for field, wrong in (("lam", -1.0), ("nll", -0.1), ("beta", 0.0)):
        with pytest.raises(AssentError, match=field):
            ASFT(**{field: wrong})
