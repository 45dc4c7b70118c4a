"""TRL's own loss code on the same log-probabilities; ``make test-peers`` runs it, elsewhere it is skipped."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from peers import ours
from peers.cases import CASES, VERSION, Case
from peers.table import recorded

if find_spec("trl") is None:
    pytest.skip(
        "TRL is not installed; make test-peers installs it in an environment of its own", allow_module_level=True
    )

from peers import trl_side


def test_the_version_is_the_one_of_the_page() -> None:
    import trl

    assert trl.__version__ == VERSION


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.trainer}-{c.spelling}-{c.expression}")
def test_both_losses(case: Case) -> None:
    theirs = trl_side.loss(case.trainer, case.settings)
    assert theirs == pytest.approx(recorded()[case.key][0], rel=1e-5, abs=1e-5)
    if case.same:
        assert ours.loss(case.expression) == pytest.approx(theirs, rel=1e-5, abs=1e-5)


def test_every_loss_type_and_divergence_of_the_pinned_version_has_a_row() -> None:
    for kind, count in (("DPO", 15), ("KTO", 2), ("CPO", 5)):
        written = [case.settings["loss_type"] for case in CASES if case.trainer == kind]
        used = {name for entry in written for name in ([entry] if isinstance(entry, str) else entry)}
        assert used == trl_side.values_of(kind, "loss_type") and len(used) == count
    divergences = {case.settings.get("f_divergence_type", "reverse_kl") for case in CASES}
    assert divergences == trl_side.values_of("DPO", "f_divergence_type")


def test_the_odds_part_of_orpo_is_the_same() -> None:
    # the likelihood terms cancel in the difference of two weights
    theirs = trl_side.loss("ORPO", {"beta": 0.7}) - trl_side.loss("ORPO", {"beta": 0.2})
    assert theirs == pytest.approx(ours.loss("orpo(lam=0.7)") - ours.loss("orpo(lam=0.2)"), abs=1e-5)


def test_label_smoothing_of_sigmoid_changes_nothing_in_trl() -> None:
    plain, smoothed = (
        trl_side.loss("DPO", {"loss_type": "sigmoid", "beta": 0.5, "label_smoothing": eps}) for eps in (0.0, 0.3)
    )
    assert plain == smoothed


def test_the_fields_that_the_page_says_are_gone() -> None:
    import trl

    assert not {"rpo_alpha", "reference_free"} & set(trl.DPOConfig.__dataclass_fields__)
