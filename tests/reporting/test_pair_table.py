"""What a run's pairs say: how far their labels can be trusted and which rows they came from, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assent.errors import AssentError
from assent.reporting import noise_page, pair_table, runs
from assent.reporting.report_texts import open_texts, texts_of
from reporting.run_samples import PLAIN, many_rows, run_with_pairs


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_with_pairs(tmp_path, posterior=[0.02, 0.3, 0.6, 0.95], looks=False)


def test_labels_and_rows_belong_to_their_pairs(run: Path) -> None:
    table = pair_table.read(runs.read(run))
    labels = table.labels
    assert table.p.tolist() == [0.02, 0.3, 0.6, 0.95] and "posterior at epoch 2" in table.rests
    assert labels.start.tolist() == [0, 3, 4, 5, 6] and labels.pair.tolist() == [0, 0, 0, 1, 2, 3]
    assert [labels.names[k] for k in labels.annotator] == ["anna", "ben", "carla", "anna", "ben", "carla"]
    assert labels.p.tolist() == [1, 0, 1, 0.5, 0.8, 1]
    assert labels.row_start.tolist() == [0, 1, 2, 3, 5, 6, 7] and labels.row.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert pair_table.label_p(table) == pytest.approx([0.02, 0.98, 0.02, np.nan, 0.6, 0.95], nan_ok=True)
    kept = table.kept(np.array([1, 3]))
    assert kept.pair.tolist() == [1, 3] and kept.labels.row.tolist() == [3, 4, 6]
    assert kept.labels.start.tolist() == [0, 1, 2] and kept.labels.row_start.tolist() == [0, 2, 3]


def test_pairs_that_were_left_out_of_training_leave_theirs_out(run: Path) -> None:
    whole = pq.read_table(run / "pairs-epoch-2.parquet")
    pq.write_table(whole.take([3, 1]), run / "pairs-epoch-2.parquet")
    table = pair_table.read(runs.read(run))
    assert table.pair.tolist() == [1, 3] and table.p.tolist() == [0.3, 0.95]
    assert [table.labels.names[k] for k in table.labels.annotator] == ["anna", "carla"]
    assert table.labels.row.tolist() == [3, 4, 6]


def test_without_posteriors_the_log_odds_speak(run: Path) -> None:
    whole = pq.read_table(run / "pairs-epoch-2.parquet")
    at = whole.column_names.index("posterior")
    pq.write_table(whole.set_column(at, "posterior", pa.nulls(4, pa.float32())), run / "pairs-epoch-2.parquet")
    table = pair_table.read(runs.read(run))
    assert table.p == pytest.approx([0.02, 0.3, 0.6, 0.95])
    assert "log-odds at epoch 2" in table.rests


def test_cross_fitting_gives_the_posterior_under_held_out_margins(run: Path) -> None:
    """Pair 0: two labels for, one against: T s + logit(.9) + logit(.8) - logit(.6)."""
    from safetensors.numpy import save_file

    eta = {"anna": 0.9, "ben": 0.6, "carla": 0.8}
    found = {"schema": 1, "round": 1, "temperature": 2.0, "note": "", "noise_rate": 0.2, "rests_on": "agreement"}
    found["annotators"] = {n: {"reliability": e, "low": e, "high": e, "labels": 2} for n, e in eta.items()}
    for fold, (rows, logit) in enumerate([([0, 3], [0.5, -1.0]), ([1, 2], [0.25, 0.0])]):
        (run / "crossfit" / f"fold-{fold}").mkdir(parents=True)
        tensors = {"row": np.array(rows), "logit": np.array(logit)}
        save_file(tensors, run / "crossfit" / f"fold-{fold}" / "margins.safetensors")
    file = run / "crossfit" / "reliabilities.json"
    file.write_text(json.dumps(found))
    odds = lambda p: np.log(p / (1 - p))  # noqa: E731
    soft = 0.6 * 0.8 + 0.4 * 0.2
    logit = [1 + odds(0.9) + odds(0.8) - odds(0.6), 0.5, odds(soft), -2 + odds(0.8)]
    table = pair_table.read(runs.read(run))
    assert table.p == pytest.approx(1 / (1 + np.exp(-np.array(logit))))
    assert "not trained on the pair" in table.rests
    file.write_text(json.dumps(found | {"note": "the held-out margins do not tell"}))
    assert "posterior at epoch" in pair_table.read(runs.read(run)).rests
    (run / "crossfit" / "fold-1" / "margins.safetensors").write_bytes(b"damaged")
    file.write_text(json.dumps(found))
    with pytest.raises(AssentError, match="damaged"):
        pair_table.read(runs.read(run))


def test_texts_are_read_again_cut_and_in_full(run: Path) -> None:
    texts = open_texts(run)
    assert texts.of(0, 12) == {
        "prompt": "Where is the", "chosen": "Behind the g", "rejected": "Behind the r",
        "length": {"prompt": 25, "chosen": 33, "rejected": 32},
    }  # fmt: skip
    assert texts_of(run, 3)["chosen"] == "Green." and texts_of(run, 4) is None and texts_of(run, -1) is None
    assert open_texts(run) is open_texts(run), "the data are read once"


def test_data_that_changed_leave_numbers_and_a_sentence(run: Path) -> None:
    data = run.parent / "data.jsonl"
    data.write_text(json.dumps(PLAIN[0]) + "\n")
    assert "another file now" in open_texts(run).missing and texts_of(run, 0) is None
    block = noise_page.blocks([runs.read(run)])[0]
    assert block["facts"]["texts"] == 0 and "another file now" in block["facts"]["missing"]
    (run / "labels.parquet").unlink()
    facts = noise_page.blocks([runs.read(run)])[0]["facts"]
    assert "no labels.parquet" in facts["missing"] and "no labels.parquet" in facts["undecidable"]


def test_the_most_suspicious_and_as_many_at_random_have_texts(tmp_path: Path) -> None:
    run_with_pairs(tmp_path, many_rows(2500, words=3), looks=False)
    table = pair_table.read(runs.read(tmp_path / "run"))
    chosen = noise_page.chosen_pairs(table, 1)
    assert len(chosen) == len(set(chosen.tolist())) == 1000
    lowest = set(np.argsort(table.p)[:500].tolist())
    assert lowest <= set(chosen.tolist())
    rest = np.array(sorted(set(chosen.tolist()) - lowest))
    assert 0.3 < (rest < 1250).mean() < 0.7, "the others come from everywhere"
    assert len(noise_page.chosen_pairs(table, 4)) == 250
    block = noise_page.blocks([runs.read(tmp_path / "run")])[0]
    assert (block["facts"]["texts"], block["facts"]["limit"], block["facts"]["total"]) == (1000, 4000, 2500)


def test_more_pairs_than_a_page_holds_and_texts_too_large_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_with_pairs(tmp_path, many_rows(60, words=400), looks=False)
    monkeypatch.setattr(noise_page, "PAIRS", 20)
    monkeypatch.setattr(noise_page, "TEXT_BYTES", 20_000)
    block = noise_page.blocks([runs.read(tmp_path / "run")])[0]
    numbers, facts = block["numbers"], block["facts"]
    assert facts["total"] == 60 and numbers["columns"][0]["size"] == 20
    assert facts["limit"] < 4000 and len(block["words"]["data"]) <= 20_000
