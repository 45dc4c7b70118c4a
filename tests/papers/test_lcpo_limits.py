"""Small versions of the limits of LCPO."""

from __future__ import annotations

from assent.papers import lcpo_limits


def test_cold_start():
    paper, sheet = lcpo_limits.cold_start((0,), epochs=3)
    assert abs(paper.measured["eta at 0.935"] - 0.935) < 0.05
    assert paper.measured["eta at 0.239"] > 0.65 and paper.outcome == "refuted"
    assert sheet.measured["accuracy at 0.239"] < 0.1


def test_memorisation():
    path, end = lcpo_limits.memorisation((0,), epochs=10)
    assert set(path.measured) == {"after 1", "after 3", "after 10"}
    assert path.measured["after 1"] < 0.85 < path.measured["after 3"] < path.measured["after 10"]
    assert end.measured["last epoch"] > 0.93


def test_unidentified():
    (claim,) = lcpo_limits.unidentified((0,), steps=60)
    assert claim.measured["identity"] < 1e-15
    assert claim.measured["NLL, largest less smallest"] < 1e-3
    assert claim.measured["online estimate from 0.97"] - claim.measured["online estimate from 0.8"] > 0.1


def test_dead_point():
    (claim,) = lcpo_limits.dead_point((0,), epochs=3)
    assert claim.measured["|theta| from .5"] == 0.0 and claim.measured["eta from .5"] == 0.5
    assert claim.measured["accuracy from .4"] < 0.1
    assert abs(claim.measured["first eta from .4"] - 0.065) < 0.06


def test_starts_and_rates():
    claims = {claim.name: claim for claim in lcpo_limits.starts_and_rates((0,), epochs=10)}
    assert claims["any_start"].measured["largest less smallest"] < 0.03
    assert claims["slow_rate"].measured["loss"] > 0.02
    assert set(claims["levels"].predicted) == {
        "start 0.55", "start 0.75", "start 0.9", "start 0.99", "rate 0.001", "rate 1"
    }  # fmt: skip
