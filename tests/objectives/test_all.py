"""One suite over the registry: a new objective is covered by being registered and entered in a file of ``cases/``.

Values against independent float64 oracles, gradients by finite differences away from kinks, declared limits, the laws of soft
labels, weights, order, packing, swaps and reductions, and what LCPO makes of every pairwise objective.
"""

from __future__ import annotations

import importlib.util
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from case import Case
from rows import F64, MAKERS, Built, alike, as_arguments
from torch.testing import assert_close

from assent import LCPO, PairScores, Scores, objectives, parse
from assent.objectives import Objective, PairwiseObjective, RunInfo, partial_sums, step_loss
from assent.objectives.reduction import combine
from assent.training.step import Step, denominators
from random_scores import pair_scores


def _collected() -> list[Case]:
    found = []
    for path in sorted((Path(__file__).parent / "cases").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += module.CASES
    return found


CASES = _collected()
each_case = pytest.mark.parametrize("case", CASES, ids=[case.text for case in CASES])


def _skip(case: Case, law: str) -> None:
    if law in case.exempt:
        pytest.skip(case.exempt[law])


def _rows(case: Case, count: int, seed: int = 0, scale: float = 1.0) -> list[Any]:
    return MAKERS[case.rows](count, seed=seed, scale=scale)


def _has_lcpo(objective: Objective) -> bool:
    return any(isinstance(inner, LCPO) for inner in objective.walk())


def _loss(objective: Objective, built: Built) -> torch.Tensor:
    return objective(built.scores)


def test_every_registered_objective_has_a_case() -> None:
    seen = {type(inner) for case in CASES for inner in parse(case.text).walk()}
    missing = sorted(cls.name for cls in set(objectives().values()) - seen)
    assert not missing, f"no case for {', '.join(missing)}"


@each_case
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_value_equals_the_independent_oracle(case: Case, scale: float) -> None:
    rows = _rows(case, 8, scale=scale)
    arguments = [as_arguments(row, case.rows) for row in rows]
    expected = case.oracle(arguments) if case.coupled else [case.oracle(*a) for a in arguments]
    found = parse(case.text)(Built(rows, case.rows).scores)
    assert found.shape == (8,)
    assert_close(found, torch.tensor(expected, dtype=F64), rtol=1e-11, atol=1e-11)


@each_case
def test_value_where_policy_is_reference(case: Case) -> None:
    if case.at_start is None:
        pytest.skip("no value at the start is declared")
    found = parse(case.text)(Built([alike(case.rows)] * 2, case.rows).scores)
    assert_close(found, torch.full((2,), case.at_start, dtype=F64), rtol=1e-12, atol=1e-12)


@each_case
def test_gradient_by_finite_differences(case: Case) -> None:
    _skip(case, "gradient")
    objective, rows = parse(case.text), _rows(case, 12, seed=1)
    if case.kink is not None:
        rows = [row for row in rows if case.kink(*as_arguments(row, case.rows)) > 0.05]
    rows = rows[:4]
    assert len(rows) >= 2, "no rows away from the kinks"
    posterior = _has_lcpo(objective)
    if posterior:  # the posterior is held constant; its own test is in tests/robust/test_lcpo.py
        objective = objective.replace(reliability=1.0)
    built = Built(rows, case.rows, target=not posterior)
    names, values = list(built.leaves), tuple(built.leaves.values())

    def loss(*moved: torch.Tensor) -> torch.Tensor:
        return objective(built.put(dict(zip(names, moved, strict=True))))

    slopes = torch.autograd.grad(loss(*values).sum(), values, allow_unused=True)
    read = [name for name, slope in zip(names, slopes, strict=True) if slope is not None]
    # what autograd does not see must not move the loss: all of it is moved at once, not number by number
    noise = torch.Generator().manual_seed(0)
    unseen = {
        name: leaf.detach() + 0.01 * torch.rand(leaf.shape, generator=noise, dtype=F64)
        for name, leaf in built.leaves.items()
        if name not in read
    }
    assert_close(objective(built.put(built.leaves | unseen)), loss(*values), rtol=0, atol=0)

    def of_read(*moved: torch.Tensor) -> torch.Tensor:
        return objective(built.put(built.leaves | dict(zip(read, moved, strict=True))))

    assert torch.autograd.gradcheck(of_read, [built.leaves[name] for name in read], eps=1e-6, atol=1e-5, rtol=1e-4)


@each_case
def test_text_is_a_fixed_point(case: Case) -> None:
    objective = parse(case.text)
    assert parse(str(objective)) == objective
    assert str(parse(str(objective))) == str(objective)
    assert hash(parse(str(objective))) == hash(objective)


@each_case
def test_declared_limits(case: Case) -> None:
    for one, other in case.limits:
        built = Built(_rows(case, 6, seed=2, scale=2.0), case.rows)
        losses = [parse(text)(built.scores) for text in (one, other)]
        assert_close(*losses, rtol=1e-9, atol=1e-9, msg=lambda m, pair=(one, other): f"{pair}: {m}")
        slopes = [
            torch.autograd.grad(
                loss.sum(), list(built.leaves.values()), retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for loss in losses
        ]
        for a, b in zip(*slopes, strict=True):
            assert_close(a, b, rtol=1e-9, atol=1e-9)


@each_case
def test_soft_label_mixes_the_two_orders(case: Case) -> None:
    objective = parse(case.text)
    if _has_lcpo(objective):
        pytest.skip("LCPO reads the label as evidence, contract 5; tests/robust/test_lcpo.py has its law")
    _skip(case, "soft label")
    if case.rows == "groups":
        pytest.skip("groups have scores, not labels")
    rows = _rows(case, 5, seed=3)
    if case.rows == "labelled":
        hard = [objective(Built([row | {"label": label} for row in rows], "labelled").scores) for label in (1.0, 0.0)]
        soft = [row | {"label": 0.25 + 0.1 * i} for i, row in enumerate(rows)]
        share = torch.tensor([row["label"] for row in soft], dtype=F64)
        found = objective(Built(soft, "labelled").scores)
    else:
        plain = Built(rows, "pairs").scores
        hard = [objective(plain), objective(plain.swapped())]
        share = torch.tensor([w["target"] for w, _ in rows], dtype=F64)
        found = objective(Built(rows, "pairs", target=True).scores)
    assert_close(found, share * hard[0] + (1 - share) * hard[1], rtol=1e-12, atol=1e-12)


@each_case
def test_a_swapped_pair_with_the_opposite_label_is_the_same_pair(case: Case) -> None:
    _skip(case, "swap")
    if case.rows != "pairs":
        pytest.skip("only pairs can be swapped")
    objective, scores = parse(case.text), Built(_rows(case, 5), "pairs", target=not _has_lcpo(parse(case.text))).scores
    if _has_lcpo(objective):
        scores = pair_scores(5, annotators=2)
    assert_close(objective(scores), objective(scores.swapped()), rtol=1e-11, atol=1e-11)


@each_case
def test_weight_equals_repetition(case: Case) -> None:
    _skip(case, "weight")
    objective, rows = parse(case.text), _rows(case, 4)
    times = (1, 3, 2, 1)

    def with_weight(row: Any, weight: float) -> Any:
        parts = row if case.rows != "labelled" else [row]
        changed = [c | {"weight": weight} for c in parts]
        return changed[0] if case.rows == "labelled" else tuple(changed) if case.rows == "pairs" else changed

    weighted = Built([with_weight(r, float(n)) for r, n in zip(rows, times, strict=True)], case.rows, weight=True)
    repeated = Built([r for r, n in zip(rows, times, strict=True) for _ in range(n)], case.rows)
    assert_close(step_loss(objective, weighted.scores), step_loss(objective, repeated.scores), rtol=1e-12, atol=1e-12)


@each_case
def test_reduction_over_parts_equals_the_whole(case: Case) -> None:
    objective = parse(case.text)
    if objective.couples != "no":
        pytest.skip("its rows depend on each other: see the test of whole steps below")
    rows = _rows(case, 6)
    state = objective.init(RunInfo())
    parts = [
        partial_sums(objective, Built(some, case.rows, weight=True).scores, state)
        for some in (rows[:2], rows[2:3], rows[3:])
    ]
    whole = [sum(p[i].denominator for p in parts) for i in range(len(parts[0]))]
    total = sum(combine(p, whole) for p in parts)
    assert_close(total, step_loss(objective, Built(rows, case.rows, weight=True).scores, state), rtol=1e-12, atol=1e-12)


@each_case
def test_one_micro_batch_is_eight(case: Case) -> None:
    """Gradients of a whole step through the contract's reduction: 1 x 8 = 3 + 5 = 8 x 1, coupled or not."""
    objective, rows = parse(case.text), _rows(case, 8, seed=4)
    shift = torch.zeros(3, dtype=F64, requires_grad=True)

    def score(some: list[Any]) -> Any:
        built = Built(some, case.rows, weight=True)
        moved = {
            key: leaf.detach() * (1 + shift[0]) + shift[1] * (1 if key[0] in ("chosen", "") else -1) + shift[2]
            for key, leaf in built.leaves.items()
        }
        return built.put(moved)

    def gradient(batches: list[list[Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        shift.grad = None
        step = Step(objective=objective, state=objective.init(RunInfo()), score=score, backward=lambda x: x.backward())
        outcome = step.run(batches, denominators(objective, score(rows)), len(rows))
        return outcome.loss, shift.grad

    loss, expected = gradient([rows])
    for batches in ([rows[:3], rows[3:]], [[row] for row in rows]):
        found, slope = gradient(batches)
        assert_close(found, loss, rtol=1e-10, atol=1e-12)
        assert_close(slope, expected, rtol=1e-9, atol=1e-12)


@each_case
def test_order_of_the_batch_does_not_matter(case: Case) -> None:
    rows, objective = _rows(case, 5), parse(case.text)
    order = [3, 0, 4, 2, 1]
    found = objective(Built([rows[i] for i in order], case.rows).scores)
    expected = objective(Built(rows, case.rows).scores)
    if objective.couples == "no":
        assert_close(found, expected[order], rtol=1e-13, atol=1e-13)
    else:
        assert_close(found.sum(), expected.sum(), rtol=1e-12, atol=1e-12)


@each_case
def test_order_of_packed_tokens_does_not_matter(case: Case) -> None:
    rows, objective = _rows(case, 4), parse(case.text)
    found = objective(Built(rows, case.rows, shuffle=5).scores)
    assert_close(found, objective(Built(rows, case.rows).scores), rtol=1e-12, atol=1e-12)


@each_case
def test_reference_free_objectives_do_not_read_the_reference(case: Case) -> None:
    objective = parse(case.text)
    assert ("reference" in {need.kind for need in objective.needs}) == case.reference
    if not case.reference:
        assert torch.isfinite(objective(Built(_rows(case, 4), case.rows, blind=True).scores)).all()


@each_case
@pytest.mark.parametrize("margin", [-1e4, 1e4])
def test_finite_with_finite_gradient_at_huge_margins(case: Case, margin: float) -> None:
    _skip(case, "huge margins")
    row = alike(case.rows)
    if case.rows == "labelled":
        rows = [row, row]
        first = ("", "logp")
    else:
        rows = [row] * 2
        first = ("chosen" if case.rows == "pairs" else "", "logp")
    built = Built(rows, case.rows, dtype=torch.float32)
    moved = dict(built.leaves)
    far = moved[first].detach().clone()
    far[0] += margin
    moved[first] = far.requires_grad_()
    loss = parse(case.text)(built.put(moved)).sum()
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(far.grad).all()


@each_case
def test_half_precision_is_computed_in_float32(case: Case) -> None:
    objective, half = parse(case.text), Built(_rows(case, 4), case.rows, dtype=torch.bfloat16)
    found = objective(half.scores)
    assert found.dtype == torch.float32
    exact = objective(_in_double(half.scores))
    assert exact.dtype == F64
    assert_close(found, exact.float(), rtol=1e-4, atol=1e-5)


def _in_double(value: Any) -> Any:
    """Scores with every floating number in float64."""
    if isinstance(value, torch.Tensor):
        return value.detach().double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _in_double(inner) for name, inner in value.items()}
    if is_dataclass(value):
        return replace(value, **{f.name: _in_double(getattr(value, f.name)) for f in fields(value)})
    return value


@each_case
def test_every_number_changes_the_output(case: Case) -> None:
    for inner in parse(case.text).walk():
        for field, value in _numbers(inner).items():
            if f"field {field}" in case.exempt:
                continue
            changed = inner.replace(**{field: value * 0.5})
            if isinstance(inner, LCPO):
                _lcpo_field_is_read(inner, changed, field)
                continue
            kind = {"completions": "pairs"}.get(inner.data, inner.data)
            scores = Built(_rows(replace(case, rows=kind), 6, scale=3.0), kind).scores
            assert not torch.allclose(inner(scores), changed(scores)), f"{inner}: {field} changes nothing"


def _numbers(objective: object) -> dict[str, float]:
    fields = getattr(objective, "shown_fields", dict)()
    return {k: v for k, v in fields.items() if isinstance(v, float)}


def _lcpo_field_is_read(inner: LCPO, changed: LCPO, field: str) -> None:
    scores = pair_scores(4, scale=3.0, annotators=2)
    state, other = (objective.init(RunInfo(("a", "b"))) for objective in (inner, changed))
    if field == "rate":  # read once per optimiser step
        before = inner.update(state, inner.sums(scores, state))["eta"]
        after = changed.update(other, changed.sums(scores, other))["eta"]
    else:
        before, after = inner(scores, state), changed(scores, other)
    assert not torch.allclose(before, after), f"{inner}: {field} changes nothing"


def _wrappable(case: Case) -> LCPO | None:
    objective = parse(case.text)
    tokens = any(term.objective.mean_over == "token" for term in objective.terms())
    if _has_lcpo(objective) or not isinstance(objective, PairwiseObjective) or tokens or objective.couples != "no":
        return None
    return LCPO(objective, reliability=0.8)


@each_case
def test_inside_lcpo(case: Case) -> None:
    """The posterior is a probability; reliability 1 gives the base loss back in the reading that says so; EM ascends."""
    wrapped = _wrappable(case)
    if wrapped is None:
        pytest.skip("no pairwise objective of its own rows")
    scores = Built(_rows(case, 48, seed=6, scale=0.3), "pairs").scores
    state = wrapped.init(RunInfo())
    logit = wrapped.logit(scores, state).detach()
    near = logit.abs() < 5  # beyond, a label of reliability 1 - 1e-6 is outweighed and float64 rounds to 0 and 1
    assert near.sum() >= 3
    posterior = wrapped.posterior(scores, state)[near]
    assert ((posterior > 0) & (posterior < 1)).all() and torch.isfinite(wrapped(scores)).all()
    sure = wrapped.replace(reliability=1.0, reading="mixture")
    assert_close(sure(scores)[near], wrapped.base(scores)[near], rtol=1e-3, atol=1e-3)
    right, eta, last = torch.sigmoid(logit), 0.9, -float("inf")
    for _ in range(20):  # full-batch EM on the reliability alone
        likelihood = (eta * right + (1 - eta) * (1 - right)).log().sum().item()
        assert likelihood >= last - 1e-9
        last = likelihood
        eta = (eta * right / (eta * right + (1 - eta) * (1 - right))).mean().item()


def test_labels_of_zero_weight_rows_count_nothing() -> None:
    scores = pair_scores(4, annotators=2)
    objective = parse("lcpo(dpo())")
    state = objective.init(RunInfo(("a", "b")))
    none = replace(scores, weight=torch.zeros(4, dtype=F64))
    assert objective.sums(none, state)["count"].tolist() == [0.0, 0.0]
    assert isinstance(scores, PairScores) and isinstance(scores.chosen, Scores)
