"""XPO's term by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assent import AssentError, parse
from assent.scores import Column
from hand import pair

F64 = torch.float64


def marked(chosen: float, rejected: float) -> object:
    columns = {
        "from_reference_chosen": Column(torch.tensor([chosen], dtype=F64), exchange="from_reference_rejected"),
        "from_reference_rejected": Column(torch.tensor([rejected], dtype=F64), exchange="from_reference_chosen"),
    }
    return replace(pair(0.5, -0.25), columns=columns)


def test_golden_values() -> None:
    # the reference's sample is the rejected one: its log-probability alone, whichever way the pair is stored
    scores = marked(0.0, 1.0)
    expected = scores.rejected.logp.item()
    assert parse("optimism()")(scores).item() == pytest.approx(expected, abs=1e-12)
    assert parse("optimism()")(scores.swapped()).item() == pytest.approx(expected, abs=1e-12)
    assert parse("optimism()")(marked(1.0, 1.0)).item() == pytest.approx(
        expected + scores.chosen.logp.item(), abs=1e-12
    )
    # it is minimised, so the slope on the marked side is +1 and on the other 0
    (slope,) = torch.autograd.grad(parse("optimism()")(scores).sum(), scores.rejected.logp)
    assert slope.item() == 1.0


def test_xpo_is_dpo_with_optimism() -> None:
    assert str(parse("xpo(beta=0.2, alpha=0.5)")) == "dpo(beta=0.2) + 0.5*optimism(column='from_reference')"
    assert str(parse("xpo(alpha=0)")) == "dpo(beta=0.1)"
    with pytest.raises(AssentError, match="alpha is -1"):
        parse("xpo(alpha=-1)")
    with pytest.raises(AssentError, match="column is ''"):
        parse("optimism(column='')")
