"""Entanglement by hand, and the laws of its sheet against real steps of log-linear policies."""

from __future__ import annotations

import math

import pytest
import torch

from assent import parse
from assent.diagnostics.entanglement import PairGradients, case_of
from assent.objectives.pair_weights import pair_weights
from assent.scores import PairScores, Scores

F64 = torch.float64


def _numbers(inner: float, chosen_sq: float, rejected_sq: float) -> PairGradients:
    return PairGradients(*(torch.tensor(x, dtype=F64) for x in (inner, chosen_sq, rejected_sq)))


def test_golden_values() -> None:
    # g_w = (3, 0), g_l = (2, 2): inner 6, squares 9 and 8
    found = PairGradients.of([torch.tensor([3.0, 0.0]), None], [torch.tensor([2.0, 2.0]), torch.tensor([0.0])])
    assert (found.inner.item(), found.chosen_sq.item(), found.rejected_sq.item()) == (6.0, 9.0, 8.0)
    assert found.cosine.item() == pytest.approx(0.5**0.5, abs=1e-12)
    assert found.balanced_ratio.item() == pytest.approx((8 / 9) ** 0.5, abs=1e-12)
    # d_w = 2, d_l = 3, rate .1: .1 (18 - 18) and .1 (12 - 24)
    assert [x.item() for x in found.changes(2.0, 3.0, 0.1)] == pytest.approx([0.0, -1.2], abs=1e-12)
    assert [x.item() for x in found.thresholds(2.0, 3.0)] == pytest.approx([6.0, 12.0], abs=1e-12)


def test_cases_of_the_papers_table() -> None:
    # inner product against both squares: below both, between, between the other way round
    cases = [_numbers(*x).cases()[0] for x in ((1.0, 2.0, 3.0), (2.5, 2.0, 3.0), (2.5, 3.0, 2.0))]
    assert cases == ["ideal", "both down", "both up"]
    assert _numbers(2.5, 3.0, 2.0).changes()[1].item() > 0


def test_the_two_conditions_never_fail_together_and_the_balanced_ratio_meets_both() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        g, h = torch.randn(3, generator=generator, dtype=F64), torch.randn(3, generator=generator, dtype=F64)
        d_w, d_l = (0.1 + torch.rand(2, generator=generator, dtype=F64)).tolist()
        found = PairGradients.of([g], [h])
        up, down = found.conditions(d_w, d_l)
        assert bool(up) or bool(down)
        assert all(bool(c) for c in found.conditions(float(found.balanced_ratio) * (1 + 1e-12), 1.0))
        lift, fall = found.changes(d_w, d_w)  # ratio 1: the margin rises by d |g_w - g_l|^2
        assert (lift - fall).item() == pytest.approx(d_w * (g - h).square().sum().item(), abs=1e-10)


@pytest.mark.parametrize("text", ["dpo()", "ipo()", "simpo()", "cpo()", "gamma_dpo()", "flex_dpo(beta_neg=0.02)"])
def test_the_sign_law_on_log_linear_policies(text: str) -> None:
    generator = torch.Generator().manual_seed(1)
    objective = parse(text)
    for _ in range(20):
        features = torch.randn(12, 6, generator=generator, dtype=F64)
        features[1] = 0.9 * features[0] + 0.5 * features[1]
        theta = torch.randn(6, generator=generator, dtype=F64).requires_grad_()
        ref = torch.log_softmax(features @ torch.randn(6, generator=generator, dtype=F64), 0)

        def score(theta: torch.Tensor, features: torch.Tensor = features, ref: torch.Tensor = ref) -> PairScores:
            logp = torch.log_softmax(features @ theta, 0)
            length = torch.tensor([3.0], dtype=F64)
            return PairScores(Scores(logp[:1], ref[:1], length), Scores(logp[1:2], ref[1:2], length))

        scores = score(theta)
        d_w, d_l = pair_weights(objective, scores)
        g_w, g_l = (
            torch.autograd.grad(s.logp.sum(), theta, retain_graph=True)[0] for s in (scores.chosen, scores.rejected)
        )
        slope = torch.autograd.grad(objective(scores).sum(), theta)[0]
        rate = 1e-7
        predicted = PairGradients.of([g_w], [g_l]).changes(d_w, d_l, rate)
        moved = score((theta - rate * slope).detach())
        for side, before, expected in zip(
            (moved.chosen, moved.rejected), (scores.chosen, scores.rejected), predicted, strict=True
        ):
            change = (side.logp - before.logp.detach()).item()
            if abs(expected.item()) > 1e-11:
                assert change == pytest.approx(expected.item(), rel=1e-3)


def test_a_single_token_with_a_trained_output_matrix_is_never_entangled() -> None:
    # g_y = (e_y - pi) h^T: ip = |h|^2 (|pi|^2 - pi_w - pi_l)
    generator = torch.Generator().manual_seed(2)
    pi = torch.softmax(torch.randn(5, generator=generator, dtype=F64), 0)
    h = torch.randn(4, generator=generator, dtype=F64)
    g = [torch.outer(torch.eye(5, dtype=F64)[y] - pi, h) for y in (0, 1)]
    found = PairGradients.of([g[0]], [g[1]])
    h2 = h.square().sum()
    assert found.inner.item() == pytest.approx((h2 * (pi.square().sum() - pi[0] - pi[1])).item(), abs=1e-12)
    assert (found.chosen_sq - found.inner).item() == pytest.approx((h2 * (1 - pi[0] + pi[1])).item(), abs=1e-12)
    assert found.cases() == ["ideal"]


def _one(gap: float, chosen: float = -3.0) -> PairScores:
    """One pair of three tokens a side; ``gap`` is its log-ratio gap, the references are 0."""
    length, zero = torch.tensor([3.0], dtype=F64), torch.zeros(1, dtype=F64)
    w, l = (torch.tensor([x], dtype=F64) for x in (chosen, chosen - gap))
    return PairScores(Scores(w, zero, length), Scores(l, zero, length))


def test_ipo_beyond_its_target_moves_both_sides_the_wrong_way() -> None:
    # target 1 / (2 tau) = 1; at a gap of 3 both weights are 2 (1 - 3) = -4: chosen moves by -4 (2 - 1)
    d_w, d_l = pair_weights(parse("ipo(tau=0.5)"), _one(3.0))
    assert (d_w.item(), d_l.item()) == (-4.0, -4.0)
    chosen, rejected = _numbers(1.0, 2.0, 3.0).changes(d_w, d_l)
    assert (chosen.item(), rejected.item()) == (-4.0, 8.0)
    assert case_of(chosen.item(), rejected.item()) == "reversed"
    assert [case_of(*x) for x in ((1.0, -1.0), (-1.0, -1.0), (1.0, 1.0), (0.0, 0.0), (0.0, -1.0))] == [
        "ideal", "both down", "both up", "still", "ideal",
    ]  # fmt: skip


def test_cases_by_signs_are_those_by_conditions() -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(200):
        g, h = torch.randn(3, generator=generator, dtype=F64), torch.randn(3, generator=generator, dtype=F64)
        d_w, d_l = (0.1 + torch.rand(2, generator=generator, dtype=F64)).tolist()
        found = PairGradients.of([g], [h])
        assert found.cases(d_w, d_l) == [case_of(*(c.item() for c in found.changes(d_w, d_l)))]


@pytest.mark.parametrize("text", ["dpo()", "r_dpo(alpha=0.2)", "ipo()", "simpo()"])
def test_equal_sides_are_not_moved(text: str) -> None:
    same = _numbers(2.0, 2.0, 2.0)
    assert [x.item() for x in same.changes(*pair_weights(parse(text), _one(0.0)))] == [0.0, 0.0]


def test_equal_sides_under_cpo_are_its_likelihood_term_alone() -> None:
    # d_w = beta / 2 + lam, d_l = beta / 2: both sides rise by lam |g|^2
    d_w, d_l = pair_weights(parse("cpo(beta=0.2, alpha=0.3, nll='sum')"), _one(0.0))
    assert [x.item() for x in _numbers(2.0, 2.0, 2.0).changes(d_w, d_l)] == pytest.approx([0.6, 0.6], abs=1e-12)


def test_weights_scale_with_beta_at_the_start_and_signs_do_not_change_with_it() -> None:
    start = [pair_weights(parse(f"dpo(beta={beta})"), _one(0.0))[0].item() for beta in (0.1, 0.4)]
    assert start[1] == pytest.approx(4 * start[0], abs=1e-12)
    later = [pair_weights(parse(f"dpo(beta={beta})"), _one(5.0))[0].item() for beta in (0.1, 0.4)]
    assert later == pytest.approx([b / (1 + math.exp(5 * b)) for b in (0.1, 0.4)], abs=1e-12)  # beta sigmoid(-beta h)
    for inner in (1.0, 2.5, -1.0):
        found = [_numbers(inner, 2.0, 3.0).cases(*pair_weights(parse(f"dpo(beta={b})"), _one(5.0))) for b in (0.1, 0.4)]
        assert found[0] == found[1]


def _sig(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _table(text: str, lw: float, ll: float, rw: float, rl: float, nw: float, nl: float) -> tuple[float, float]:
    """(d_w, d_l) as the sheet writes them; beta .1 (SimPO 2, DPOP .3, SPPO .05), the other fields as in TABLE."""
    gap = (lw - rw) - (ll - rl)
    if text.startswith("dpo("):
        return (0.1 * _sig(-0.1 * gap),) * 2
    if text.startswith("r_dpo"):
        return (0.1 * _sig(-(0.1 * gap + 0.2 * (nw - nl))),) * 2
    if text.startswith("ipo"):
        return (2 * (1 / (2 * 0.1) - gap),) * 2
    if text.startswith("simpo"):
        s = 2 * _sig(-(2 * lw / nw - 2 * ll / nl - 0.5))
        return s / nw, s / nl
    if text.startswith("slic"):
        active = float(1 - lw + ll > 0)
        return active + 0.1, active
    if text.startswith("cpo"):
        s = 0.1 * _sig(-0.1 * (lw - ll))
        return s + 0.3, s
    if text.startswith("dpop"):
        s = 0.3 * _sig(-0.3 * (gap - 5 * max(0.0, rw - lw)))
        return s * (1 + 5 * (lw < rw)), s
    if text.startswith("sppo"):
        return 2 * (1 / (2 * 0.05) - (lw - rw)), 2 * ((ll - rl) + 1 / (2 * 0.05))
    p_w, p_l = math.exp(lw / nw), math.exp(ll / nl)
    s = _sig(-(math.log(p_w / (1 - p_w)) - math.log(p_l / (1 - p_l))))
    return (1 + 0.1 * s / (1 - p_w)) / nw, 0.1 * s / (nl * (1 - p_l))


TABLE = (
    "dpo()", "r_dpo(alpha=0.2)", "ipo(tau=0.1)", "simpo(beta=2.0, gamma=0.5)", "slic(lam=0.1)", "cpo(alpha=0.3)",
    "dpop(beta=0.3, lam=5.0)", "sppo(beta=0.05)", "orpo(lam=0.1)",
)  # fmt: skip


@pytest.mark.parametrize("text", TABLE)
def test_pair_weights_are_those_of_the_sheets_table(text: str) -> None:
    generator = torch.Generator().manual_seed(4)
    lw, ll, rw, rl = -0.2 - 4 * torch.rand(4, 40, generator=generator, dtype=F64)
    nw, nl = torch.randint(1, 9, (2, 40), generator=generator)
    d_w, d_l = pair_weights(parse(text), PairScores(Scores(lw, rw, nw), Scores(ll, rl, nl)))
    told = [_table(text, *row) for row in zip(*(x.tolist() for x in (lw, ll, rw, rl, nw, nl)), strict=True)]
    assert d_w.tolist() == pytest.approx([w for w, _ in told], rel=1e-10)
    assert d_l.tolist() == pytest.approx([l for _, l in told], rel=1e-10)
