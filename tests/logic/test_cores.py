"""The declared mapping from registered objectives to cores is true, and no pairwise objective is missing from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from rows import F64, Built, pairs

from assent.logic import CORES, Core, core_of, name_of
from assent.objectives import PairwiseObjective, Wrapper, objectives, parse
from assent.reporting.objective_facts import example
from assent.scores import Column, PairScores

DECOMPILED = sorted(name for name, core in CORES.items() if isinstance(core, Core))


def _scores() -> PairScores:
    """Random pairs whose mean token probabilities lie below 1, with win rates."""
    rows = [r for r in pairs(60, seed=3, scale=0.3) if max(side["logp"] / side["length"] for side in r) < -0.05]
    assert len(rows) > 20
    scores = Built(rows, "pairs").scores
    rates = torch.rand(2, len(rows), dtype=F64, generator=torch.Generator().manual_seed(0))
    new = {
        "win_rate_chosen": Column(rates[0], exchange="win_rate_rejected"),
        "win_rate_rejected": Column(rates[1], exchange="win_rate_chosen"),
    }
    return replace(scores, columns={**scores.columns, **new})


@pytest.mark.parametrize("name", DECOMPILED)
def test_the_objective_is_what_the_mapping_says(name: str) -> None:
    objective, core, scores = example(name), CORES[name], _scores()
    torch.testing.assert_close(
        objective(scores), core.loss(objective, core.rho(scores), scores), rtol=1e-12, atol=1e-12
    )
    assert core.table == core.structure.table and name_of(core.table) in ("CPO", "ORPO", "CE", "CEUnl", "CPO+ref")


def test_every_pairwise_objective_has_a_core_or_a_reason() -> None:
    known = objectives().items()
    expected = {n for n, c in known if issubclass(c, PairwiseObjective) and not issubclass(c, Wrapper)} - {"logic"}
    assert set(CORES) == expected, "enter the new objective in assent/logic/cores.py: its core, or why it has none"
    assert all(len(reason) > 30 for reason in CORES.values() if isinstance(reason, str))


def test_a_compiled_formula_is_its_own_core() -> None:
    objective = parse("logic('unCPO', beta=0.5, reference=True, link='hinge')")
    core = core_of(objective)
    assert core.table == objective.table and core.link == "max(0, beta - rho)"
    scores = _scores()
    torch.testing.assert_close(core.rho(scores), objective.rho(scores), rtol=1e-12, atol=1e-12)
    assert "no pairwise loss" in core_of(parse("kto()"))
