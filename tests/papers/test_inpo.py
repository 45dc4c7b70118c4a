"""The statements on INPO: exact ones whole, fits to drawn pairs few; the complete run is slow."""

from __future__ import annotations

import pytest
import torch

from assent.papers import inpo
from assent.papers.registry import reproduce
from assent.worlds.stacked import generators


def test_exact_statements():
    claims = [*inpo.minimum(), *inpo.last_iterate()]
    assert {claim.name: claim.outcome for claim in claims} == dict.fromkeys((c.name for c in claims), "supported")
    assert len(claims) == 6


def test_few_fits():
    _, slope, _, stays = inpo.sampled((0,), fits=2, sizes=(300, 30_000))
    assert -0.9 < slope.measured["exponent"] < -0.2 and stays.measured["30000"] == pytest.approx(0.043, abs=0.005)


def test_best_and_worst_of_eight():
    (g,) = generators((0,), 1)
    pi = torch.tensor([0.98, 0.02, 0.0], dtype=torch.float64)
    law = inpo._ends_of_8(2000, pi, g)
    # only arms 0 and 1 occur, and 0 is the better: every kept pair is (0, 1)
    assert float(law[0, 1]) == 1.0 and float(law.sum()) == 1.0


@pytest.mark.slow
def test_all_statements():
    """Settling, cycling and the bias of selected pairs on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("inpo", seed=0)["claims"]}
    assert {claim["outcome"] for claim in claims.values()} == {"supported"}
