from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny model and its tokenizer; read only."""
    from small_run import save_small_model

    return save_small_model(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(scope="session")
def small_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pairs by three annotators."""
    from small_run import pair_dicts, write_jsonl

    return write_jsonl(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", pair_dicts(40))
