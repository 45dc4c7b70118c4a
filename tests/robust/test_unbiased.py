"""The unbiased correction by hand; over DPO it is rDPO."""

from __future__ import annotations

from math import exp, log

import pytest
from torch.testing import assert_close

from assent import DPO, AssentError, Unbiased, parse
from hand import pair, slopes, value
from random_scores import pair_scores


def test_golden_values() -> None:
    # margin 1, eps .2: (.8 x .3132616875 - .2 x 1.3132616875) / .6 = -.0200716458
    expected = (0.8 * 0.31326168751822286 - 0.2 * 1.3132616875182228) / 0.6
    assert value(Unbiased(DPO(0.5), 0.2)(pair(1.0, -1.0))) == pytest.approx(expected, abs=1e-15)
    assert expected == pytest.approx(-0.0200716458, abs=1e-9)
    # closed form: DPO less s eps / (1 - 2 eps)
    assert value(parse("rdpo(beta=0.5, eps=0.2)")(pair(1.0, -1.0))) == pytest.approx(
        0.31326168751822286 - 0.2 / 0.6, abs=1e-15
    )


@pytest.mark.parametrize("base", ["dpo()", "ipo()", "simpo()", "cpo()", "dpo() + 0.5*sft()"])
@pytest.mark.parametrize("eps", [0.1, 0.3, 0.49])
def test_the_mean_over_flips_is_the_loss_of_the_clean_label(base: str, eps: float) -> None:
    scores, clean = pair_scores(6), parse(base)
    robust = Unbiased(clean, eps)
    mean = (1 - eps) * robust(scores) + eps * robust(scores.swapped())
    assert_close(mean, clean(scores), rtol=1e-9, atol=1e-9)


def test_the_population_minimum_is_the_clean_logit() -> None:
    # labels of a pair with true logit 1.3, flipped at rate .23: the smoothed loss shrinks twice, this one not at all
    true, eps = 1.3, 0.23
    p = 1 / (1 + exp(-true))
    recorded = (1 - eps) * p + eps * (1 - p)

    def slope(text: str, at: float) -> float:
        stored, swapped = pair(at, 0.0), pair(0.0, at)
        objective = parse(text)
        return recorded * slopes(stored, objective(stored))[0] + (1 - recorded) * slopes(swapped, objective(swapped))[1]

    assert slope(f"rdpo(beta=1.0, eps={eps})", true) == pytest.approx(0.0, abs=1e-12)
    assert slope("dpo(beta=1.0)", log(recorded / (1 - recorded))) == pytest.approx(0.0, abs=1e-12)
    assert log(recorded / (1 - recorded)) == pytest.approx(0.6382, abs=1e-4)
    assert slope(f"cdpo(beta=1.0, eps={eps})", 0.3365) == pytest.approx(0.0, abs=1e-4)


def test_the_slope_never_vanishes_and_a_rate_of_one_half_is_refused() -> None:
    for margin in (-30.0, 0.0, 30.0):
        scores = pair(margin, 0.0)
        assert slopes(scores, Unbiased(DPO(1.0), 0.2)(scores))[0] <= -0.2 / 0.6 + 1e-12
    with pytest.raises(AssentError, match=r"\[0, 0.5\)"):
        Unbiased(DPO(), 0.5)
