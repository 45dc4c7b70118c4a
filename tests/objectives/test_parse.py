"""Expressions as text: what is read, what is refused, and in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assent import CPO, DPO, IPO, LCPO, SFT, SimPO, Smooth, Unbiased, Weighted, parse
from assent.errors import AssentError
from assent.objectives import Objective

positive = st.floats(1e-6, 1e6)
bases = st.one_of(
    st.builds(DPO, beta=positive),
    st.builds(IPO, tau=positive, per=st.sampled_from(["sequence", "token"])),
    st.builds(SimPO, beta=positive, gamma=st.floats(0, 1e3)),
    st.builds(CPO, beta=positive, alpha=st.floats(0, 10), nll=st.sampled_from(["sum", "token"])),
    st.builds(SFT, per=st.sampled_from(["token", "sequence"])),
)
eps = st.floats(0, 0.49)
wrapped = st.recursive(
    bases,
    lambda inner: st.one_of(
        st.builds(Smooth, inner, eps),
        st.builds(Unbiased, inner, eps),
        st.builds(Weighted, inner, st.text(min_size=1)),
        st.builds(lambda a, b, c: c * a + b, inner, inner, st.floats(-5, 5)),
    ),
    max_leaves=4,
)
reliability = st.one_of(
    st.sampled_from(["online", "crossfit", "audit:some folder/x"]),
    st.floats(0, 1),
    st.dictionaries(st.text(), st.floats(0, 1), min_size=1, max_size=3),
)
robust = st.builds(LCPO, wrapped, reliability, reading=st.sampled_from(["likelihood", "mixture"]), pool=st.booleans())


@given(st.one_of(wrapped, robust))
def test_parse_and_str_are_inverses(objective: Objective) -> None:
    assert parse(str(objective)) == objective


def test_the_algebra_reads_as_it_is_written() -> None:
    assert parse("0.5*dpo() + sft()") == 0.5 * DPO() + SFT()
    assert parse("dpo()*2 - 0.1*sft()") == 2 * DPO() - 0.1 * SFT()
    assert parse("-sft()") == -1 * SFT()
    assert parse("cdpo(0.2, 0.3)") == Smooth(DPO(0.2), 0.3)
    assert parse("rdpo(eps=0.3)") == Unbiased(DPO(0.1), 0.3)
    assert str(DPO() + (SFT() + IPO())) == "dpo(beta=0.1) + sft(per='token') + ipo(tau=0.1, per='sequence')"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected an expression"),
        ("dop()", "did you mean 'dpo'"),
        ("dpo(bta=1)", "did you mean 'beta'"),
        ("dpo", "written with parentheses, dpo()"),
        ("dpo(", "cannot be read"),
        ("dpo(beta=-1)", "beta is -1; expected a finite number above 0"),
        ("dpo(beta='a')", "expected a number"),
        ("dpo(beta=True)", "expected a number"),
        ("dpo(0.1, 0.2)", "takes at most 1"),
        ("dpo(0.1, beta=0.2)", "given twice"),
        ("smooth()", "needs 'base'"),
        ("smooth(dpo(), eps=0.5)", "[0, 0.5)"),
        ("smooth(0.1)", "expected a pairwise objective"),
        ("lcpo(lcpo(dpo()))", "outermost"),
        ("smooth(lcpo(dpo()))", "outermost"),
        ("lcpo(sft(per='batch_token'))", "per='token'"),
        ("lcpo(dpo(), reliability=0.8, rate=0.2)", "does not read it"),
        ("lcpo(dpo(), reliability='crossfit', rate=0.2)", "does not read it"),
        ("lcpo(dpo(), rounds=2)", "does not read it"),
        ("lcpo(dpo(), reliability='onlin')", "expected 'online'"),
        ("lcpo(dpo(), reliability={'a': 2})", "between 0 and 1"),
        ("lcpo(dpo(), start=1.0)", "strictly between"),
        ("dpo(label_smoothing=0.1)", "cdpo(beta, eps)"),
        ("ipo(beta=0.1)", "tau"),
        ("simpo(gamma_beta_ratio=0.5)", "gamma = ratio * beta"),
        ("__import__('os').system('true')", "not allowed here"),
        ("dpo().__class__", "not allowed here"),
        ("dpo(beta=9**9)", "not allowed here"),
        ("[dpo() for x in (1,)]", "not allowed here"),
        ("1 + 2", "not a sum of two objectives"),
        ("dpo() * sft()", "a number times an objective"),
        ("dpo(**{'beta': 1})", "** cannot be used"),
        ("dpo(" * 5000 + ")" * 5000, "at most 10000"),
        ("(" * 3000 + "dpo()" + ")" * 3000, "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(AssentError) as caught:
        parse(text)
    assert words in str(caught.value)
