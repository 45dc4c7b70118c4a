"""Shapes and types of the light rooms are checked while the tests run; torch keeps to one thread."""

from __future__ import annotations

from pathlib import Path

import jaxtyping
import pytest

_CHECKED = (
    "assent.scores",
    "assent.objectives",
    "assent.weighting",
    *(f"assent.logic.{name}" for name in ("cores", "links")),  # tables and programs run too hot
    *(f"assent.robust.{name}" for name in ("lcpo", "reliability", "smooth", "unbiased")),  # the estimator runs too hot
)
jaxtyping.install_import_hook(list(_CHECKED), "typecheck.check")

import torch  # noqa: E402 - after the hook, so that nothing of assent is imported before it

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's reference cache."""
    monkeypatch.setenv("ASSENT_CACHE", str(tmp_path_factory.getbasetemp() / "reference-cache"))


@pytest.fixture
def real_data() -> Path:
    """The folder of real preference data, outside the repository."""
    if not DATA.is_dir():
        pytest.skip(f"the real preference data are not at {DATA}")
    return DATA
