"""A round on disk: what is read is what was written, bit for bit; half a round is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assent import AssentError
from assent.judges import Tally
from assent.records import Label
from assent.sampling import rounds
from assent.sampling.generation import Completion
from assent.sampling.judged import Counts, Drafted, Judged
from assent.sampling.rounds import Round


def a_round() -> Round:
    """Two prompts, one of messages; a score that is missing, log-probabilities that no short decimal holds."""
    rng = np.random.default_rng(0)
    said = [{"role": "assistant", "content": "é"}], [{"role": "assistant", "content": ""}]
    groups = [
        Judged("a", ("x", "y"), np.array([True, True]), np.array([1 / 3, np.nan]), np.array([0.75, 0.25])),
        Judged([{"role": "user", "content": "b"}], said, np.array([True, False]), np.array([2.0, np.nan]), np.full(2, np.nan)),
    ]  # fmt: skip
    groups[0].pairs.append(Drafted(1, 0, (Label("anna", 0.1), Label("ben", 1.0))))
    completions = [
        [Completion(i, j, np.array([5, 2], np.int32), rng.normal(size=2), rng.normal(size=2), j == 0) for j in range(2)]
        for i in range(2)
    ]
    told = rounds.about(Counts(completions=4), Tally(asked=1), {"round": 0, "judge": "j"})
    return Round(groups, completions, [np.array([1, 7], np.int32), np.array([3], np.int32)], told)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    """The first rank goes on with the round that it made, and the others with what they read."""
    made = a_round()
    rounds.write(tmp_path, made)
    found = rounds.read(tmp_path)
    assert found.about == made.about and found.pairs == 1
    for one, other in zip(found.groups, made.groups, strict=True):
        assert (one.prompt, one.texts, one.pairs) == (other.prompt, other.texts, other.pairs)
        for name in ("usable", "score", "win_rate"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
    for one, other in zip(found.completions, made.completions, strict=True):
        for a, b in zip(one, other, strict=True):
            assert (a.prompt, a.sample, a.ended) == (b.prompt, b.sample, b.ended)
            for name in ("ids", "logp", "drawn_logp"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)
    for one, other in zip(found.prompt_ids, made.prompt_ids, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pairs.parquet", "round.json", "samples.parquet"]


def test_half_a_round_is_none(tmp_path: Path) -> None:
    assert rounds.read(tmp_path) is None
    rounds.write(tmp_path, Round([], [], [], rounds.about(Counts(), Tally(), {})))
    text = (tmp_path / "round.json").read_text()
    (tmp_path / "round.json").write_text(text[:-9])
    assert rounds.read(tmp_path) is None
    (tmp_path / "round.json").write_text(json.dumps(json.loads(text) | {"schema": 2}))
    with pytest.raises(AssentError, match="has schema 2; this version reads 1"):
        rounds.read(tmp_path)
