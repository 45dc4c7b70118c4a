"""The EM: folds by prompt, no label in the logit of its own pair, errors that grow where they should."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from textworld import text_world

from assent.auditing.em import fit_text, folds_of
from assent.auditing.features import PairFeatures
from assent.auditing.table import LabelTable, from_records
from assent.data import read


def _given(
    pairs: int, eta: float, seed: int, width: int = 6
) -> tuple[LabelTable, PairFeatures, np.ndarray, np.ndarray]:
    """Gaussian features with a linear truth: table, features, true logits, which labels are right."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(pairs, width)).astype(np.float32)
    s = 1.5 * x @ np.linspace(1, -1, width)
    truth = random.random(pairs) < 1 / (1 + np.exp(-s))
    right = random.random(pairs) < eta
    n = np.arange(pairs)
    table = LabelTable(
        pair=n, annotator=np.zeros(pairs, dtype=np.int64), p=(truth == right).astype(float), weight=np.ones(pairs),
        gold=np.zeros(pairs, dtype=bool), row=n, names=("*",), pairs=pairs, cluster=n // 2, source="made up",
        fingerprint="", n_rows=pairs,
    )  # fmt: skip
    features = PairFeatures(x, tuple(f"f{i}" for i in range(width)), np.arange(width) < 1, np.zeros(pairs))
    return table, features, s, right


def test_folds_keep_prompts_together_and_are_even() -> None:
    cluster = np.repeat(np.arange(50), 3)
    folds = folds_of(cluster, 5, seed=0)
    assert all(len(set(folds[cluster == c])) == 1 for c in range(50))
    assert np.bincount(folds).tolist() == [30] * 5


@pytest.mark.parametrize("eta", [0.95, 0.7])
def test_noise_and_logits_are_found(eta: float) -> None:
    table, features, s, right = _given(3000, eta, seed=0)
    found = fit_text(table, features)
    assert found.estimate.eta[0] == pytest.approx(right.mean(), abs=0.03)
    assert np.corrcoef(found.logit, s)[0, 1] > 0.97
    assert np.polyfit(s, found.logit, 1)[0] == pytest.approx(1.0, abs=0.3)


def test_no_label_moves_the_logit_of_its_own_prompt() -> None:
    table, features, _, _ = _given(400, 0.8, seed=1)
    p = table.p.copy()
    own = table.cluster == 7
    p[own] = 1 - p[own]
    changed = dataclasses.replace(table, p=p)
    one, two = (fit_text(t, features, ridge=100.0) for t in (table, changed))
    before, after = one.logit / one.estimate.temperature, two.logit / two.estimate.temperature
    np.testing.assert_allclose(before[own], after[own], atol=1e-9)
    assert np.abs(before[~own] - after[~own]).max() > 1e-4


def test_the_length_part_is_the_length_columns_share() -> None:
    table, features, _, _ = _given(500, 0.9, seed=2)
    whole = dataclasses.replace(features, length=np.ones(6, dtype=bool))
    found = fit_text(table, whole, ridge=100.0)
    np.testing.assert_allclose(found.length_part, found.logit, atol=1e-5)


def test_jackknife_error_is_that_of_repetitions() -> None:
    etas, errors = [], []
    for seed in range(12):
        table, features, _, _ = _given(800, 0.8, seed=seed, width=3)
        found = fit_text(table, features, ridge=30.0)
        etas.append(float(found.estimate.eta[0]))
        errors.append(found.noise_error)
    assert 0.5 < np.mean(errors) / np.std(etas, ddof=1) < 2.0


@pytest.mark.slow
def test_noise_intervals_cover_the_truth_in_worlds_of_text() -> None:
    from assent.auditing import audit

    inside = 0
    for seed in range(40):
        eta = {"a": 0.9, "b": 0.75}
        world = text_world(800, eta, seed=100 + seed, twice=0.1)
        found = audit(world.rows)
        truth = np.mean([1 - eta[r["annotator"]] for r in world.rows])
        inside += found.noise_rate_low <= truth <= found.noise_rate_high
    assert inside >= 35  # 38 expected; fewer than 35 in 1 of 100 sets of 40 at 95 %


def test_rows_of_the_text_world_read_as_they_should() -> None:
    world = text_world(50, {"a": 1.0}, seed=0, twice=0.0)
    assert len(from_records(read(world.rows))) == 50 and world.right.all()
