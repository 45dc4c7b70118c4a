"""Formulas as text: what they mean, what comes back as text, and mistakes with the part marked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assent import AssentError
from assent.logic import Structure, Table, equation, named, parse_structure, read, text_of
from assent.logic.tables import POLICY, VARIABLES

# name -> (exp(rho), structure) as in the sheet
PRINTED = {
    "CEUnl": "M_w and not M_l", "sCE": "M_w also M_w & M_l", "CE": "M_w", "l3": "M_w given not (M_w & M_l)",
    "cUNL": "not M_l given M_w or M_l", "l20": "~M_l also ~M_w & ~M_l", "fUnl": "!M_l",
    "ORPO": "M_l -> M_w given M_w xor M_l", "CPO": "M_l implies M_w given one-true also M_w && M_l",
    "l14": "M_l => M_w also M_w ∧ M_l", "cCPO": "M_l -> M_w given one-true", "unCPO": "¬M_l ∨ M_w",
    "qfUnl": "M_l -> M_w given ~(M_w & M_l) also ~(M_w | M_l)", "l5": "M_l -> M_w also M_w <-> M_l",
    "bCPO": "M_l -> M_w also ~M_w & ~M_l", "cfUnl": "M_l -> M_w given ~(M_w & M_l)",
}  # fmt: skip


@pytest.mark.parametrize("name", PRINTED)
def test_the_sheets_structures_are_the_named_losses(name: str) -> None:
    assert read(PRINTED[name]) == named()[name] == read(name)
    canonical = Structure.of_table(named()[name])
    assert parse_structure(PRINTED[name]) == canonical  # P, P_C and P_A themselves
    assert read(text_of(canonical)) == named()[name]


def test_dpo_in_words() -> None:
    structure = Structure.of_table(named(reference=True)["CPO+ref"])
    assert parse_structure("(R_w & M_l) -> (M_w & R_l)").core == structure.core
    assert equation(structure.table) == "p_w r_l / (p_l r_w)"


def test_precedence_and_association() -> None:
    same = lambda a, b: parse_structure(a) == parse_structure(b)  # noqa: E731
    assert same("~M_w & M_l | M_w", "((~M_w) & M_l) | M_w")
    assert same("M_w | M_l ^ M_w & M_l", "M_w | (M_l ^ (M_w & M_l))")
    assert same("M_w -> M_l -> R_w", "M_w -> (M_l -> R_w)")
    assert same("M_w <-> M_l -> R_w", "M_w <-> (M_l -> R_w)")
    assert same("~~M_w", "M_w") and same("M_w & true | false", "M_w")


def test_rows_as_text() -> None:
    assert read("TT:- TF:check FT:cross FF:none") == read("-cx-") == read("FT:x, TF:c") == named()["ORPO"]
    assert read("TTTT:both FTFT:c") == Table(VARIABLES, 1 | 1 << 10, 1)
    assert named()["CPO"].marks == "bcx-" and named()["CPO"].names_of_rows() == ["TT", "TF", "FT", "FF"]


@pytest.mark.parametrize(
    ("text", "said", "part"),
    [
        ("M_l -> M_x", "no variable 'M_x'; did you mean 'M_w' or 'M_l'", "M_x"),
        ("M_w given one-tru", "did you mean 'one-true'", "one-tru"),
        ("M_l -> (M_w & ~M_l", "never closed", "("),
        ("(M_w M_l)", "an operator or ) is missing after this", "("),
        ("M_w)", "closes nothing", ")"),
        ("M_w M_l", "an operator is missing", "M_l"),
        ("M_w & & M_l", "a variable, a constant", "&"),
        ("M_w $ M_l", "the sign '$' means nothing", "$"),
        ("M_w also M_l given M_w", "'given' is misplaced", "given"),
        ("M_w | ~M_w", "always true (a tautology), so nothing counts against it", "M_w | ~M_w"),
        ("M_w & ~M_w", "never true, so nothing counts for it", "M_w & ~M_w"),
        ("M_w given ~M_w", "never true where the condition holds", "M_w"),
        ("M_w given M_l & ~M_l", "this condition is never true", "M_l & ~M_l"),
        ("cc--", "undefined: no row counts against it", "cc--"),
        ("TT:c TF:maybe", "got 'maybe'", "TF:maybe"),
        ("TT:c TT:x", "given twice", "TT:x"),
        ("TT:c TTT:x", "two letters", "TTT:x"),
    ],
)
def test_mistakes_show_the_formula_and_the_part(text: str, said: str, part: str) -> None:
    with pytest.raises(AssentError) as caught:
        read(text)
    sentence, shown, marked = str(caught.value).split("\n")
    assert said in sentence and shown == "  " + text
    start, end = marked.index("^"), len(marked)
    assert shown[start:end] == part and set(marked.strip()) == {"^"}


def test_other_mistakes() -> None:
    for wrong in ("", "  ", 3, None):
        with pytest.raises(AssentError, match="expected a text"):
            read(wrong)
    with pytest.raises(AssentError, match="at most 2000"):
        read("M_w & " * 400 + "M_l")
    with pytest.raises(AssentError, match="more than 60 deep"):
        read("(" * 100 + "M_w" + ")" * 100)


masks = st.integers(1, 2**16 - 1)


@settings(max_examples=25, deadline=None)
@given(masks, masks)
def test_text_of_any_four_variable_loss_reads_back(check: int, cross: int) -> None:
    table = Table(VARIABLES, check, cross)
    structure = Structure.of_table(table)
    assert structure.table == table == read(table.marks)
    assert read(text_of(structure)) in (table, _narrow(table))


def _narrow(table: Table) -> Table | None:
    return table.over(POLICY) if set(table.read) <= set(POLICY) else None
