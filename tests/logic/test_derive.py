"""Spaces counted by hand, searches within bounds, and what slopes foretell of entangled gradients."""

from __future__ import annotations

from math import inf

import pytest
import torch

from assent import AssentError
from assent.logic import Table, equivalent, named
from assent.logic.derive import GRID, behaviour, search, slopes, space
from assent.logic.tables import POLICY, VARIABLES


def test_spaces_have_the_sizes_that_counting_gives() -> None:
    assert len(space(variables=POLICY)) == 256 == 4**4
    assert len(space()) == 4**16
    # antisymmetric over two variables: TT and FF carry none or both, TF and FT four states together
    assert len(space(antisymmetric=True, variables=POLICY)) == 2 * 2 * 4
    # over four: rows that stay where they are, TTTT, TTFF, FFTT, FFFF, and six pairs
    assert len(space(antisymmetric=True)) == 2**4 * 4**6
    # TF check-only and FT cross-only, TT and FF free: the sixteen named ones
    plain = named()
    between = space(plain["CEUnl"], plain["unCPO"], variables=POLICY)
    assert len(between) == 16
    assert {t.marks for t in between.tables(100)} == {t.marks for t in plain.values()}


def test_a_space_holds_exactly_what_lies_between_its_bounds() -> None:
    plain = named()
    low, high = plain["CE"], plain["unCPO"]
    inside = {t.marks for t in space(low, high, variables=POLICY).tables(100)}
    everything = [space(variables=POLICY)[i] for i in range(256)]
    assert inside == {t.marks for t in everything if low <= t <= high and not t.degenerate}
    with pytest.raises(AssentError, match="nothing lies between them"):
        space(high, low, variables=POLICY)
    with pytest.raises(AssentError, match="no antisymmetric loss"):
        space(plain["CE"], plain["unCPO"], antisymmetric=True, variables=POLICY)


def test_antisymmetric_tables_turn_their_sign() -> None:
    for table in space(antisymmetric=True).tables(100, seed=1):
        assert equivalent(table.swapped(), table.negated())
    dpo = named(True)["CPO+ref"]
    assert any(equivalent(t, dpo) for t in space(dpo, dpo, antisymmetric=True).tables(10))


def test_slopes_are_those_of_the_sheet() -> None:
    w, l = torch.tensor([0.3], dtype=torch.float64), torch.tensor([0.6], dtype=torch.float64)
    at = {"M_w": w.log(), "M_l": l.log(), "R_w": w.log(), "R_l": l.log()}
    expected = {
        "CPO": (1.0, 1.0), "cCPO": (1 / 0.7, 1.0), "ORPO": (1 / 0.7, 1 / 0.4), "cUNL": (1.0, 1 / 0.4), "fUnl": (0.0, 1 / 0.4),
        "cfUnl": (0.3 / 0.7, 1 / 0.4), "qfUnl": (0.3 / 0.7, 0.6 / 0.4),
        "unCPO": (0.3 / (0.7 * (1 - 0.6 * 0.7)), 1 / (1 - 0.6 * 0.7)),
    }  # fmt: skip
    for name, pair in expected.items():
        a, b = slopes(named()[name], at)
        assert (a.item(), b.item()) == pytest.approx(pair, abs=1e-12), name


def test_behaviour_at_the_start_foretells_who_rises() -> None:
    plain = named()
    pulls = {name: behaviour(plain[name]) for name in ("cCPO", "CPO", "unCPO", "fUnl")}
    assert pulls["CPO"].start == pytest.approx(1.0) and pulls["CPO"].monotone
    assert pulls["cCPO"].start == pytest.approx(1 / (1 - min(GRID))) and pulls["fUnl"].start == 0.0
    assert pulls["unCPO"].start == pytest.approx(min(GRID) / (1 - min(GRID)))
    assert pulls["cCPO"].rises(1.04) and not pulls["CPO"].rises(1.04) and not pulls["unCPO"].rises(0.1)
    assert behaviour(Table.of_marks("cxcx")).start == -inf, "a table that pushes the chosen down"


def test_a_search_keeps_one_of_each_function_and_the_cheapest() -> None:
    found = search(space(antisymmetric=True, variables=VARIABLES), lambda t, pull: pull.monotone, most=40, seed=2)
    assert found and [f.cost for f in found] == sorted(f.cost for f in found)
    assert all(f.behaviour.monotone for f in found) and len({f.text for f in found}) == len(found)
    again = search(space(antisymmetric=True), lambda t, pull: pull.monotone, most=40, seed=2)
    assert [f.table for f in again] == [f.table for f in found], "drawn alike"
    all_of_two = search(space(variables=POLICY))
    assert 100 < len(all_of_two) <= 225, "225 are defined; some are one function"


def test_a_small_step_moves_both_sides_as_the_slopes_foretell() -> None:
    """Random losses of four variables on random softmax policies: first-order signs from a, b and the gradients alone."""
    g = torch.Generator().manual_seed(3)
    phi = torch.randn(8, 6, 4, generator=g, dtype=torch.float64)
    start = torch.zeros(8, 6, dtype=torch.float64).log_softmax(1)
    g_w, g_l = phi[:, 0] - phi.mean(1), phi[:, 1] - phi.mean(1)
    inner, w_sq, l_sq = ((x * y).sum(1) for x, y in ((g_w, g_l), (g_w, g_w), (g_l, g_l)))
    reference = torch.rand(2, 8, generator=g, dtype=torch.float64).log()
    checked = 0
    for table in space().tables(25, seed=4):
        a, b = slopes(table, {"M_w": start[:, 0], "M_l": start[:, 1], "R_w": reference[0], "R_l": reference[1]})
        moved = torch.einsum("mkd,md->mk", phi, 1e-6 * (a[:, None] * g_w - b[:, None] * g_l)).log_softmax(1) - start
        for told, seen in ((a * w_sq - b * inner, moved[:, 0]), (a * inner - b * l_sq, moved[:, 1])):
            clear = told.abs() > 1e-3
            assert (told.sign() == seen.sign())[clear].all(), table.marks
            checked += int(clear.sum())
    assert checked > 200
