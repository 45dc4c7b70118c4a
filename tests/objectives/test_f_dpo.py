"""f-DPO by hand."""

from __future__ import annotations

from math import exp, log, log1p

import pytest

from assent import DPO, FDPO, AssentError, parse
from hand import pair, slopes, value


@pytest.mark.parametrize(
    ("text", "margin"),
    [
        # u = 4 and 1/4: 1 - 1/u = 3/4 and -3;  log(2u / (1 + u)) = log 1.6 and log .4
        ("f_dpo(1.0, 'forward_kl')", 3.75),
        ("f_dpo(1.0, 'js')", log(4.0)),
        # (1 - u^-1/2) / (1/2): 1 and -2;  2 (u - 1): 6 and -1.5;  u + log u: 4 + log 4 and 1/4 - log 4
        ("f_dpo(1.0, 'alpha', 0.5)", 3.0),
        ("f_dpo(1.0, 'chi_squared')", 7.5),
        ("f_dpo(1.0, 'chi_squared_kl')", 3.75 + 2 * log(4.0)),
    ],
)
def test_golden_values(text: str, margin: float) -> None:
    assert value(parse(text)(pair(log(4.0), -log(4.0)))) == pytest.approx(log1p(exp(-margin)), abs=1e-14)


def test_at_the_start_all_divergences_move_a_pair_alike() -> None:
    for kind, steep in (("forward_kl", 1.0), ("js", 0.5), ("chi_squared", 2.0), ("chi_squared_kl", 2.0)):
        scores = pair(0.0, 0.0)  # slope u f''(u) at u = 1
        loss = FDPO(0.3, kind)(scores)
        assert value(loss) == pytest.approx(log(2), abs=1e-15)
        assert slopes(scores, loss) == pytest.approx((-0.15 * steep, 0.15 * steep), abs=1e-15)


def test_small_alpha_tends_to_the_reverse_kl() -> None:
    scores = pair(1.3, -0.4)
    assert value(FDPO(0.3, "alpha", 1e-8)(scores)) == pytest.approx(value(DPO(0.3)(scores)), abs=1e-7)


def test_js_saturates_at_ln_2() -> None:
    chosen, rejected = FDPO(1.0, "js").rewards(pair(1e4, 0.0))
    assert (value(chosen), value(rejected)) == pytest.approx((log(2), 0.0), abs=1e-15)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("f_dpo(divergence='reverse_kl')", "reverse KL is dpo"),
        ("f_dpo(divergence='alpha')", "alpha is None; expected a number"),
        ("f_dpo(divergence='alpha', alpha=1.5)", "[0, 1]"),
        ("f_dpo(divergence='js', alpha=0.5)", "only divergence='alpha' reads it"),
        ("f_dpo(f_alpha_divergence_coef=0.5)", "1 - coefficient"),
    ],
)
def test_refusals(text: str, words: str) -> None:
    with pytest.raises(AssentError) as caught:
        parse(text)
    assert words in str(caught.value)
