"""A small version of the statements on MAPL, and its world by hand; the complete run is slow."""

from __future__ import annotations

import pytest
import torch

from assent.objectives.mapl import INTER, INTRA
from assent.papers import mapl
from assent.papers.registry import reproduce
from assent.worlds import instructions


def test_levels():
    claims = {claim.name: claim for claim in mapl.levels((0, 1), repeats=1)}
    assert claims["compliance"].measured["intra"] > 0.75 and abs(claims["compliance"].measured["base"] - 0.5) < 0.1
    assert claims["levels_help"].measured["intra less base"] > 0.15
    assert max(claims["semantics_stay"].measured.values()) < 1e-5
    assert max(claims["semantics_blind"].measured.values()) < 1e-12


def test_every_pair_of_prompts_is_what_its_level_asks_for():
    world = instructions.draw((5,), 2000)
    own = slice(instructions.SEMANTIC, instructions.SEMANTIC + instructions.ATTRIBUTES)  # I a: 1 obeyed, -1 violated
    asked = slice(own.stop, None)
    for better, worse in (INTRA[:2], INTRA[2:]):
        up, down = world.views[better][0], world.views[worse][0]
        assert torch.equal(up[:, asked], down[:, asked]) and torch.equal(up[:, :6], down[:, :6])
        count = up[:, asked].sum(1)
        assert sorted(count.unique().tolist()) == [1.0, 2.0, 3.0]
        all_obeyed = (up[:, own].sum(1) == count) & (down[:, own].sum(1) < count)
        none_obeyed = (down[:, own].sum(1) == -count) & (up[:, own].sum(1) > -count)
        assert (all_obeyed | none_obeyed).all() and 0.4 < float(all_obeyed.double().mean()) < 0.8
    told = ~world.absent[0]
    for names, sign in ((INTER[:2], 1), (INTER[2:], -1)):
        chosen, rejected = (world.views[name][0][told] for name in names)
        assert torch.equal(chosen[:, own], sign * chosen[:, asked])
        assert torch.equal(rejected[:, own], -sign * chosen[:, asked])
    # one instruction each; the preferred side never obeys less
    x, y = (side[0] for side in world.naive)
    assert (x[:, asked].sum(1) == 1).all() and (x[:, own].sum(1) >= y[:, own].sum(1)).all()


def test_agreement_of_the_truth_and_of_pure_compliance():
    world = instructions.draw((0, 1), 10)
    _, whole = instructions.agreement(world.truth, world.truth, (0, 1))
    pure = torch.zeros_like(world.truth)
    pure[:, 6:14] = 1.0
    obeys, _ = instructions.agreement(pure, world.truth, (0, 1))
    assert whole.tolist() == [1.0, 1.0] and obeys.tolist() == [1.0, 1.0]


@pytest.mark.slow
def test_all_statements():
    """What the sheet foretold of either level holds on the development seeds, its table's second half apart."""
    claims = {claim["name"]: claim for claim in reproduce("mapl", seed=0)["claims"]}
    outcomes = {name: claim["outcome"] for name, claim in claims.items()}
    assert outcomes.pop("instruction_figures") == "refuted"
    assert set(outcomes.values()) == {"supported"}
