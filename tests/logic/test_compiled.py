"""Compiled formulas equal the registry's hand-written losses, have the sheet's values and slopes, and refuse nonsense."""

from __future__ import annotations

from math import log

import pytest
import torch

from assent import AssentError, Logic, PairScores, Scores, parse
from assent.logic import Table, named, program
from assent.logic.standing import weights
from assent.logic.tables import POLICY, VARIABLES
from random_scores import pair_scores

F64 = torch.float64


def _pairs(count: int = 40) -> PairScores:
    """Pairs of 2 to 9 tokens whose mean log-probabilities lie in (-3, -0.05)."""
    draw = torch.Generator().manual_seed(5)

    def side() -> Scores:
        length = torch.randint(2, 10, (count,), generator=draw).double()
        mean = -0.05 - 2.95 * torch.rand(2, count, dtype=F64, generator=draw)
        return Scores((length * mean[0]).requires_grad_(), length * mean[1], length)

    return PairScores(side(), side())


EQUAL = [
    ("logic('CPO', beta=0.1, per='sequence')", "cpo(beta=0.1, alpha=0.0)"),
    ("logic('CPO', beta=0.1, per='sequence') + sft(per='sequence')", "cpo(beta=0.1, alpha=1.0)"),
    ("logic('ORPO') + sft(per='token')", "orpo(lam=1.0)"),
    ("logic('CPO', beta=0.1, reference=True, per='sequence')", "dpo(beta=0.1)"),
    ("logic('(R_w & M_l) -> (M_w & R_l) given (M_w & R_l) | (M_l & R_w) also M_w & M_l & R_w & R_l', beta=0.1, "
     "per='sequence')", "dpo(beta=0.1)"),
    ("logic('CEUnl')", "asft(lam=1.0, nll=0.0)"),  # likelihood of the chosen and unlikelihood of the rejected
    ("logic('CE')", "sft(per='token')"),
    ("logic('CPO', beta=0.2, reference=True, per='sequence', link='squared')", "ipo(tau=0.2)"),
    ("logic('CPO', per='sequence', link='hinge')", "slic(delta=1.0, lam=0.0)"),
]  # fmt: skip


@pytest.mark.parametrize(("compiled", "written"), EQUAL)
def test_compiled_equals_the_hand_written_loss(compiled: str, written: str) -> None:
    scores = _pairs()
    leaves = (scores.chosen.logp, scores.rejected.logp)
    losses = [parse(text)(scores) for text in (compiled, written)]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(loss.sum(), leaves, allow_unused=True, materialize_grads=True) for loss in losses]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def _one(w: float, l: float) -> PairScores:
    return pair_of(log(w), log(l))


def pair_of(x: float, y: float, dtype: torch.dtype = F64) -> PairScores:
    side = lambda v: Scores(torch.tensor([v], dtype=dtype), torch.tensor([-1.0], dtype=dtype), torch.tensor([1.0]))  # noqa: E731
    return PairScores(side(x), side(y))


def test_values_of_the_sheet() -> None:
    w, l = 0.3, 0.6
    closed = {
        "unCPO": -log(1 - l * (1 - w)), "cfUnl": log((1 - w * l) / (1 - l)), "CE": -log(w), "CEUnl": -log(w * (1 - l)),
        "CPO": -log(w / (w + l)),
    }  # fmt: skip
    for name, expected in closed.items():
        assert Logic(name)(_one(w, l)).item() == pytest.approx(expected, abs=1e-14), name
    for name in ("CPO", "ORPO", "qfUnl"):  # rho = 0 at equal sides
        assert Logic(name)(_one(0.4, 0.4)).item() == pytest.approx(log(2), abs=1e-14)


def test_pull_of_the_sheet() -> None:
    for w, l in ((0.2, 0.2), (0.3, 0.7), (0.9, 0.05)):
        a, b = 1 / (1 - w), 1 / (1 - l)
        low = 1 / (1 - l * (1 - w))
        expected = {
            "CPO": (1, 1), "cCPO": (a, 1), "ORPO": (a, b), "cUNL": (1, b), "fUnl": (0, b), "cfUnl": (w * a, b),
            "qfUnl": (w * a, l * b), "unCPO": (w * a * low, low),
        }  # fmt: skip
        for name, pull in expected.items():
            assert weights(named()[name], w, l) == pytest.approx(pull, rel=1e-12), name


def test_the_semantic_loss_is_the_case_of_disjoint_rows() -> None:
    """-log p(P | P_C) = -log [WMC(P and P_C) / WMC(P_C)], logistic, beta = 1."""
    logp = dict(
        zip(VARIABLES, torch.rand(4, 30, dtype=F64, generator=torch.Generator().manual_seed(7)).log(), strict=True)
    )
    always = 0b1111
    for check, cross in ((0b0010, 0b0100), (0b0011, 0b1100), (0b1011, 0b0100), (0b0001, 0b1110)):
        over_all = [program(Table(POLICY, mask, always)).rho(logp) for mask in (check, check | cross)]  # log WMC
        rho = program(Table(POLICY, check, cross)).rho(logp)
        expected = over_all[1] - over_all[0]
        torch.testing.assert_close(torch.nn.functional.softplus(-rho), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [*named(), *named(reference=True)])
def test_slopes_by_finite_differences(name: str) -> None:
    made = program(named(name.endswith("+ref"))[name])
    drawn = torch.rand(4, 6, dtype=F64, generator=torch.Generator().manual_seed(8))
    logp = dict(zip(VARIABLES, -0.05 - 3 * drawn, strict=True))

    def rho(w: torch.Tensor, l: torch.Tensor) -> torch.Tensor:
        return made.rho(logp | {"M_w": w, "M_l": l})

    leaves = logp["M_w"].clone().requires_grad_(), logp["M_l"].clone().requires_grad_()
    assert torch.autograd.gradcheck(rho, leaves, eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", [*named(), *named(reference=True)])
def test_extreme_log_probabilities(name: str, dtype: torch.dtype) -> None:
    for x in (-1e4, -1e-5, 0.0):
        for y in (-1e4, -1e-5, 0.0):
            scores = pair_of(x, y, dtype)
            leaves = scores.chosen.logp.requires_grad_(), scores.rejected.logp.requires_grad_()
            loss = Logic(name)(scores).sum()
            slopes = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
            assert torch.isfinite(loss) and all(torch.isfinite(s).all() for s in slopes), (name, x, y)


def test_tiny_probabilities_keep_their_slope_in_float32() -> None:
    """unCPO's pull on a loser of p = e^-40 is p (1 - w), far below the rounding of 1 - p."""
    scores = pair_of(log(0.5), -40.0, torch.float32)
    scores.rejected.logp.requires_grad_()
    slope = torch.autograd.grad(Logic("unCPO")(scores).sum(), scores.rejected.logp)[0].item()
    assert slope == pytest.approx(0.5 * 4.248354255291589e-18, rel=1e-4)


def test_python_values_make_the_same_objective() -> None:
    table = named()["cCPO"]
    assert Logic(table) == Logic("ccx-") and Logic(table).formula == "ccx-"
    assert str(Logic("cCPO")) == "logic(formula='cCPO', beta=1.0, reference=False, per='token', link='logistic')"
    assert Logic("CPO").needs != Logic("CPO", per="sequence").needs == frozenset()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("logic('M_l -> M_x')", "did you mean 'M_w' or 'M_l'"),
        ("logic('CPO', beta=0.0)", "beta is 0.0; expected a finite number above 0"),
        ("logic('CPO', per='word')", "per is 'word'; expected 'token' or 'sequence'"),
        ("logic('CPO', link='huber')", "link is 'huber'; expected one of 'logistic'"),
        ("logic('CPO+ref', reference=True)", "reads the reference already"),
        ("logic('R_w')", "moves no policy: it reads no M_w and no M_l"),
        ("logic('bb--')", "moves no policy: the same rows count for and against"),
        ("logic()", "needs 'formula'"),
        ("logic(3)", "expected a text, a table or a structure"),
    ],
)
def test_nonsense_is_refused(text: str, said: str) -> None:
    with pytest.raises(AssentError) as caught:
        parse(text)
    assert said in str(caught.value)


def test_missing_scores_are_told() -> None:
    bare = PairScores(Scores(torch.zeros(2) - 1), Scores(torch.zeros(2) - 2))
    with pytest.raises(AssentError, match="no length"):
        Logic("CPO")(bare)
    with pytest.raises(AssentError, match="no ref_logp"):
        Logic("CPO", reference=True, per="sequence")(bare)


def test_inside_lcpo() -> None:
    objective = parse("lcpo(logic('cCPO', beta=2.0), reliability=0.8)")
    loss = objective(pair_scores(6, annotators=2))
    assert loss.shape == (6,) and torch.isfinite(loss).all()
