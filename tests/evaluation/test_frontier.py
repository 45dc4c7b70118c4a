"""Runs compared at equal KL: interpolation, shares and bootstraps by hand."""

from __future__ import annotations

import math
import random

import pytest

from assent.errors import AssentError
from assent.evaluation import frontier


def curve(*points: tuple[float, float]) -> list[dict[str, float]]:
    return [{"kl": kl, "true_reward": reward} for kl, reward in points]


def test_common_kl_is_the_least_of_the_greatest():
    runs = {"a": curve((0, 0), (3, 1), (2, 2)), "b": curve((0, 0), (1, 1), (2.5, 1))}
    assert frontier.common_kl(runs) == 2.5
    with pytest.raises(AssentError, match="at least one curve"):
        frontier.common_kl({})


@pytest.mark.parametrize(
    ("kl", "value"),
    [
        (0.0, 0.0),
        (0.5, 1.0),  # half of the way from (0, 0) to (1, 2)
        (2.0, 4.0),  # crossed twice: (1, 2) to (3, 3) on the way up, (3, 3) to (1.5, 4.5) later; the later counts
        (1.5, 4.5),
        (1.25, 2.125),  # below the last record: only the way up passes here
        (3.0, 3.0),
    ],
)
def test_at_kl_by_hand(kl, value):
    run = curve((0, 0), (1, 2), (3, 3), (1.5, 4.5))
    assert frontier.at_kl(run, kl, "true_reward") == pytest.approx(value, abs=1e-12)


def test_at_kl_beyond_the_run_is_refused_and_a_flat_step_takes_the_later_record():
    with pytest.raises(AssentError, match="reached a KL of 3 nats and was asked for 4"):
        frontier.at_kl(curve((0, 0), (3, 1)), 4, "true_reward")
    assert frontier.at_kl(curve((0, 0), (2, 1), (2, 5)), 2, "true_reward") == 5


def test_gap_recovered():
    assert frontier.gap_recovered(1.9, 1.0, 2.0) == pytest.approx(0.9)
    assert frontier.gap_recovered(2.2, 1.0, 2.0) == pytest.approx(1.2)  # may exceed 1
    assert frontier.gap_recovered(1.5, 1.0, 1.0) is None
    assert frontier.gap_recovered(1.05, 1.0, 1.1, noise=0.06) is None  # a lead of .1 within 2 x .06
    assert frontier.gap_recovered(1.05, 1.0, 1.1, noise=0.04) == pytest.approx(0.5)


def test_standard_error_by_hand():
    assert frontier.standard_error([1.0, 2.0, 3.0]) == pytest.approx((1 / 3) ** 0.5)
    assert math.isnan(frontier.standard_error([1.0]))


def test_ratio_of_means_and_its_interval():
    point, low, high = frontier.ratio_of_means([1.9, 2.9], [1.0, 1.0], [2.0, 3.0], draws=2000)
    assert point == pytest.approx((0.9 + 1.9) / 3)
    assert (low, high) == (pytest.approx(0.9), pytest.approx(0.95))  # the two units drawn alone


def test_bootstrap_of_a_mean_has_the_normal_width():
    rng = random.Random(0)
    values = [rng.gauss(5, 2) for _ in range(60)]
    low, high = frontier.paired_bootstrap(lambda rows: sum(values[i] for i in rows) / len(rows), 60, draws=2000)
    width = 2 * 1.96 * frontier.standard_error(values)
    assert high - low == pytest.approx(width, rel=0.08)
    assert (low + high) / 2 == pytest.approx(sum(values) / 60, abs=0.06)
    assert (low, high) == frontier.paired_bootstrap(
        lambda rows: sum(values[i] for i in rows) / len(rows), 60, draws=2000
    )
