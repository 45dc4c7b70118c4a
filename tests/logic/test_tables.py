"""The lattice of the 16 named losses, entailment, and all 256 losses of two variables."""

from __future__ import annotations

import pytest
import torch

from assent import AssentError
from assent.logic import Table, counter, covers, equivalent, name_of, named, program, same_function
from assent.logic.tables import POLICY, VARIABLES

F64 = torch.float64
EDGES = covers(named())


def probabilities(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.rand(len(VARIABLES), count, dtype=F64, generator=torch.Generator().manual_seed(seed))
    return dict(zip(VARIABLES, 0.02 + 0.96 * draw, strict=True))


def count(table: Table, mask: int, p: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted model count by its definition: a sum over rows of products."""
    total = torch.zeros_like(p["M_w"])
    for i in range(table.rows):
        if mask >> i & 1:
            product = torch.ones_like(total)
            for name, true in table.row(i).items():
                product = product * (p[name] if true else 1 - p[name])
            total = total + product
    return total


def rho(table: Table, p: dict[str, torch.Tensor]) -> torch.Tensor:
    return program(table).rho({name: value.log() for name, value in p.items()})


def test_exactly_sixteen_have_tf_for_and_ft_against() -> None:
    every = [Table(POLICY, check, cross) for check in range(16) for cross in range(16)]
    found = {table for table in every if table.marks[1:3] == "cx"}
    assert len(every) == 256 and sum(table.degenerate for table in every) == 31
    assert found == set(named().values()) and len(found) == 16


def test_the_lattice_has_32_edges_from_ceunl_to_uncpo() -> None:
    assert len(EDGES) == 32 and len(covers(named(reference=True))) == 32
    tables = named()
    assert all(tables["CEUnl"] <= table <= tables["unCPO"] for table in tables.values())
    for name in tables:  # a state of two rows with four values each: one step up in either
        ups = sum(lower == name for lower, _ in EDGES)
        assert ups == sum({"x": 2, "b": 1, "-": 1, "c": 0}[tables[name].marks[i]] for i in (0, 3))


@pytest.mark.parametrize("reference", [False, True])
def test_rho_rises_along_all_edges_on_100_000_points(reference: bool) -> None:
    p = probabilities(100_000)
    values = {name: rho(table, p) for name, table in named(reference).items()}
    for lower, upper in covers(named(reference)):
        assert (values[lower] <= values[upper] + 1e-12).all(), (lower, upper)
        assert (values[lower] < values[upper] - 1e-6).any(), (lower, upper)


def test_weights_of_all_225_losses_equal_their_definition() -> None:
    p = probabilities(50)
    for check in range(1, 16):
        for cross in range(1, 16):
            table = Table(POLICY, check, cross)
            expected = count(table, check, p).log() - count(table, cross, p).log()
            torch.testing.assert_close(rho(table, p), expected, rtol=1e-12, atol=1e-12)


def test_four_variables_equal_their_definition() -> None:
    p, draw = probabilities(40, seed=1), torch.Generator().manual_seed(3)
    masks = torch.randint(1, 2**16, (60, 2), generator=draw).tolist()
    parity = sum(1 << i for i in range(16) if bin(i).count("1") % 2)
    for check, cross in [*masks, [parity, 2**16 - 1 - parity], [2**16 - 1, 1], [1, 2**16 - 1]]:
        table = Table(VARIABLES, check, cross)
        expected = count(table, check, p).log() - count(table, cross, p).log()
        torch.testing.assert_close(rho(table, p), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", named())
def test_the_reference_version_subtracts_its_log_ratio(name: str) -> None:
    p = probabilities(200)
    plain, wide = named()[name], named(reference=True)[f"{name}+ref"]
    assert wide == plain.with_reference()
    torch.testing.assert_close(rho(wide, p), rho(plain, p) - (p["R_w"] / p["R_l"]).log(), rtol=1e-11, atol=1e-11)
    same = p | {"R_l": p["R_w"]}  # a reference that is indifferent changes nothing
    torch.testing.assert_close(rho(wide, same), rho(plain, same), rtol=1e-11, atol=1e-11)


def test_exchanges() -> None:
    p = probabilities(100)
    other = {"M_w": p["M_l"], "M_l": p["M_w"], "R_w": p["R_l"], "R_l": p["R_w"]}
    for table in (named() | named(reference=True)).values():
        torch.testing.assert_close(rho(table.negated(), p), -rho(table, p), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(rho(table.swapped(), p), rho(table, other), rtol=1e-12, atol=1e-12)
    assert named()["CPO"].swapped() == named()["CPO"].negated()
    assert named()["ORPO"].swapped() == named()["ORPO"].negated()


def test_entailment_and_its_counter_assignment() -> None:
    tables = named()
    assert tables["CPO"] < tables["cCPO"] and counter(tables["CPO"], tables["cCPO"]) is None
    assert counter(tables["cCPO"], tables["CPO"]) == {"M_w": True, "M_l": True}  # counts against in CPO only
    assert not tables["CPO"] <= tables["ORPO"] and not tables["qfUnl"] <= tables["CPO"]
    assert name_of(tables["CPO"].with_reference()) == "CPO+ref" and name_of(Table.of_marks("x-c-")) is None
    assert equivalent(tables["CE"], tables["CE"].over(VARIABLES)) and not equivalent(tables["CE"], tables["CPO"])


def test_different_rows_may_be_the_same_function() -> None:
    one, other = Table.of_marks("c-x-"), named()["CE"]  # w l / (l (1 - w)) = w / (1 - w)
    assert not equivalent(one, other) and same_function(one, other)
    assert not same_function(named()["CPO"], named()["ORPO"])


def test_tables_that_cannot_be() -> None:
    with pytest.raises(AssentError, match="bitmask of 4 rows"):
        Table(POLICY, 16, 1)
    with pytest.raises(AssentError, match="twice"):
        Table(("M_w", "M_w"), 1, 2)
    with pytest.raises(AssentError, match="reads M_l"):
        named()["CPO"].over(("M_w",))
    with pytest.raises(AssentError, match="reads the reference already"):
        named(reference=True)["CPO+ref"].with_reference()
    with pytest.raises(AssentError, match="expected 4"):
        Table.of_marks("cx-")
