"""Equations become structures: all of two variables and back, the sixteen of the sheet, and what is no such equation."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assent import AssentError
from assent.logic import Structure, Table, decompile, equation, equivalent, named, program
from assent.logic.tables import POLICY, VARIABLES

F64 = torch.float64
RATIOS = {  # the sheet's exp(rho), w = p_w and l = p_l
    "CEUnl": "w(1-l)/(1-w(1-l))", "sCE": "w/(1-w(1-l))", "CE": "w/(1-w)", "l3": "w(1-l)/(1-w)", "cUNL": "w(1-l)/l",
    "l20": "(1-l)/(1-w(1-l))", "fUnl": "(1-l)/l", "ORPO": "w(1-l)/(l(1-w))", "CPO": "w/l", "l14": "(1-l(1-w))/l",
    "cCPO": "w/(l(1-w))", "unCPO": "(lw+(1-l))/(l(1-w))", "qfUnl": "(1-l)/(1-w)", "l5": "(1-l(1-w))/(1-w(1-l))",
    "bCPO": "(1-l(1-w))/(1-w)", "cfUnl": "(1-l)/(l(1-w))",
}  # fmt: skip
CORES = dict.fromkeys(RATIOS, "M_l -> M_w") | {
    "CEUnl": "M_w & ~M_l", "sCE": "M_w", "CE": "M_w", "l3": "M_w", "cUNL": "~M_l", "l20": "~M_l", "fUnl": "~M_l",
}  # fmt: skip


def value(ratio: str, w: torch.Tensor, l: torch.Tensor) -> torch.Tensor:
    """A ratio of the sheet by Python's own arithmetic."""
    python = re.sub(r"(?<=[wl)])(?=[wl(])", "*", ratio)
    return eval(python, {"__builtins__": {}}, {"w": w, "l": l})


@pytest.mark.parametrize("name", RATIOS)
def test_the_sixteen_equations_of_the_sheet(name: str) -> None:
    w, l = 0.01 + 0.98 * torch.rand(2, 500, dtype=F64, generator=torch.Generator().manual_seed(1))
    rho = program(named()[name]).rho({"M_w": w.log(), "M_l": l.log()})
    torch.testing.assert_close(rho.exp(), value(RATIOS[name], w, l), rtol=1e-9, atol=0)
    structure = decompile(re.sub(r"\b([wl])\b", r"p_\1", re.sub(r"(?<=[wl])(?=[wl])", " ", RATIOS[name])))
    assert structure.table == named()[name]
    from assent.logic import formula

    assert formula(POLICY, structure.core) == CORES[name]


def test_all_256_decompile_and_compile_back() -> None:
    p = 0.02 + 0.96 * torch.rand(2, 20, dtype=F64, generator=torch.Generator().manual_seed(2))
    usable = 0
    for check in range(16):
        for cross in range(16):
            table = Table(POLICY, check, cross)
            structure = Structure.of_table(table)
            assert structure.table == table  # Algorithm 1 and its expansion
            if table.degenerate:
                continue
            usable += 1
            ratio = equation(table)
            assert decompile(ratio) == structure
            python = ratio.replace("p_w", "w").replace("p_l", "l").replace(" ", "")
            logp = {"M_w": p[0].log(), "M_l": p[1].log()}
            expected = value(python, *p) * torch.ones(20, dtype=F64)
            torch.testing.assert_close(program(table).rho(logp), expected.log(), rtol=1e-12, atol=1e-12)
    assert usable == 225


masks = st.integers(1, 2**16 - 1)


@settings(max_examples=25, deadline=None)
@given(masks, masks)
def test_round_trip_of_four_variables(check: int, cross: int) -> None:
    table = Table(VARIABLES, check, cross)
    assert equivalent(decompile(equation(table)).table, table)


def test_structures_are_not_unique_but_give_256_losses() -> None:
    found = {Structure(POLICY, p, c, a).table for p in range(16) for c in range(16) for a in range(16)}
    assert len(found) == 256


@pytest.mark.parametrize(
    ("ratio", "said", "part"),
    [
        ("p_w p_w / p_l", "p_w occurs here a second time", "p_w"),
        ("(p_w + p_l) / p_l", "can be true together", "p_l"),
        ("(p_w - p_l) / p_l", "only 1 minus a product", "p_w"),
        ("p_w / (p_l", "never closed", "("),
        ("p_w / 0", "this is 0, so nothing counts against it", "0"),
        ("p_w / q", "expected p_w, p_l, r_w, r_l", "q"),
        ("p_w / p_l / r_w", "over another one", "/"),
    ],
)
def test_equations_that_are_no_losses(ratio: str, said: str, part: str) -> None:
    with pytest.raises(AssentError) as caught:
        decompile(ratio)
    sentence, shown, marked = str(caught.value).split("\n")
    assert said in sentence and shown[marked.index("^") : len(marked)] == part
