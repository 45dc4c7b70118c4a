"""The degree term by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch
from torch.testing import assert_close

from assent import AssentError, DegreeReconstructed, Scores, parse
from hand import pair, value

F64 = torch.float64


def graded(logits: list[float], level: int, known: float | None = None) -> object:
    """A pair at policy = reference whose chosen side was degraded to this level."""
    one = torch.zeros(1, dtype=F64)
    columns = {
        "degree": torch.tensor([float(level)], dtype=F64),
        "degree_chosen": torch.tensor([logits], dtype=F64, requires_grad=True),
    }
    if known is not None:
        columns["degree_known"] = torch.tensor([known], dtype=F64)
    return replace(pair(0.0, 0.0), views={"chosen@degraded": Scores(one, one, columns=columns)})


def test_golden_values() -> None:
    # heads at 0 over four levels: ln 4; logits (ln 2, 0, 0): level 0 has 2/4, level 1 has 1/4
    assert value(DegreeReconstructed()(graded([0.0] * 4, 2))) == pytest.approx(log(4), abs=1e-12)
    assert value(DegreeReconstructed(levels=3)(graded([log(2), 0.0, 0.0], 0))) == pytest.approx(log(2), abs=1e-12)
    assert value(DegreeReconstructed(levels=3)(graded([log(2), 0.0, 0.0], 1))) == pytest.approx(log(4), abs=1e-12)
    assert value(DegreeReconstructed(levels=1)(graded([3.0], 0))) == 0.0  # one level teaches nothing
    assert value(DegreeReconstructed()(graded([0.0] * 4, 2, known=0.0))) == 0.0


def test_its_gradient_adds_to_that_of_the_pair() -> None:
    scores = graded([0.0, 0.0], 1)
    leaves = (scores.chosen.logp, scores.views["chosen@degraded"].columns["degree_chosen"])
    loss = parse("dpo(beta=0.2) + 0.5*degree_reconstructed(levels=2)")(scores)
    pull, head = torch.autograd.grad(loss.sum(), leaves)
    assert_close(pull, torch.tensor([-0.1], dtype=F64))
    assert_close(head, torch.tensor([[0.25, -0.25]], dtype=F64))


def test_canonical_text_and_bad_input() -> None:
    assert str(parse("spo_degree_reconstructed(beta=0.2, gamma_l=0)")) == (
        "dpo(beta=0.2) + 0.1*degree_reconstructed(side='chosen', levels=4)"
    )
    with pytest.raises(AssentError, match="no view 'chosen@degraded'"):
        DegreeReconstructed()(pair(0.0, 0.0))
    with pytest.raises(AssentError, match="4 logits; expected levels=3"):
        DegreeReconstructed(levels=3)(graded([0.0] * 4, 2))
    with pytest.raises(AssentError, match="levels"):
        DegreeReconstructed(levels=0)
    with pytest.raises(AssentError, match="side"):
        DegreeReconstructed("both")
    with pytest.raises(AssentError, match="gamma_w"):
        parse("spo_degree_reconstructed(gamma_w=-1)")
