"""The audit from end to end on a world of texts with known truth, and on logits alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from textworld import TextWorld, text_world

from assent.auditing import AuditResult, audit
from assent.auditing.run import length_bias
from assent.auditing.table import from_records
from assent.data import read
from assent.errors import AssentError

TRUE = {"anna": 0.95, "ben": 0.8, "carl": 0.6}


@pytest.fixture(scope="module")
def world() -> TextWorld:
    return text_world(1500, TRUE, seed=0, twice=0.2)


@pytest.fixture(scope="module")
def found(world: TextWorld, tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditResult, Path]:
    folder = tmp_path_factory.mktemp("audit")
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, world.rows)))
    return audit(file, out=folder / "out"), folder / "out"


def test_the_text_scorer_finds_the_wrong_labels(found: tuple[AuditResult, Path], world: TextWorld) -> None:
    result, _ = found
    wrong = ~world.right[result.table.row]
    doubt = 1 - result.p_correct
    rank = np.argsort(np.argsort(doubt)) + 1
    n = wrong.sum()
    auroc = (rank[wrong].sum() - n * (n + 1) / 2) / (n * (~wrong).sum())
    assert auroc > 0.85  # 0.90 with the true margins
    assert doubt.mean() == pytest.approx(wrong.mean(), abs=0.03)
    assert result.noise_rate == pytest.approx(doubt.mean(), abs=1e-9)  # contract 7
    assert result.noise_rate_low < wrong.mean() < result.noise_rate_high


def test_reliabilities_are_near_the_truth_and_inside_their_limits(found: tuple[AuditResult, Path]) -> None:
    result, _ = found
    for k, name in enumerate(result.table.names):
        assert result.reliability[k] == pytest.approx(TRUE[name], abs=0.06)
        assert result.low[k] <= TRUE[name] <= result.high[k]
    assert result.rests_on == "agreement"
    assert not result.enough and "lcpo(dpo(), reliability='audit:" in result.plain_dpo


def test_the_files_hold_what_the_contract_names(found: tuple[AuditResult, Path], world: TextWorld) -> None:
    result, folder = found
    table = pq.read_table(folder / "audit.parquet").to_pydict()
    assert {"row", "pair", "annotator", "p_correct", "logit", "length_gap", "flags"} <= set(table)
    assert sorted(table["row"]) == list(range(len(world.rows)))
    first = table["row"].index(7)
    row = world.rows[7]
    assert table["annotator"][first] == row["annotator"]
    assert table["length_gap"][first] == len(row["chosen"]) - len(row["rejected"])
    assert isinstance(table["flags"][first], list)
    saved = json.loads((folder / "audit.json").read_text())
    assert saved["noise_rate"] == result.noise_rate
    assert set(result.to_json()) == {
        "schema", "pairs", "labels", "noise_rate", "noise_rate_low", "noise_rate_high", "rests_on", "annotators",
        "flags", "seconds",
    }  # fmt: skip
    assert set(result.to_json()["annotators"]["anna"]) == {"labels", "reliability", "low", "high"}
    assert not list(folder.glob(".*"))  # nothing half-written


def test_training_reads_what_the_audit_wrote(found: tuple[AuditResult, Path]) -> None:
    from assent.robust.reliability import read_audit

    result, folder = found
    known = read_audit(str(folder))
    assert known["ben"] == result.reliability[result.table.names.index("ben")]
    assert known["*"] == 1 - result.noise_rate


def test_clean_labels_need_no_more_than_dpo() -> None:
    clean = text_world(1200, {"anna": 1.0}, seed=1, scale=4.0)
    result = audit(clean.rows)
    assert result.noise_rate < 0.03
    assert result.enough and "Plain DPO is enough" in result.plain_dpo


def test_the_order_of_the_sides_does_not_matter(world: TextWorld) -> None:
    rows = world.rows[:400]
    as_judgements = [
        {"prompt": r["prompt"], "response_a": r["rejected"], "response_b": r["chosen"], "p_b": 1.0,
         "annotator": r["annotator"]} for r in rows
    ]  # fmt: skip
    turned = [
        {"prompt": r["prompt"], "response_a": r["chosen"], "response_b": r["rejected"], "p_b": 0.0,
         "annotator": r["annotator"]} for r in rows
    ]  # fmt: skip
    one, two, three = audit(rows), audit(as_judgements), audit(turned)
    np.testing.assert_allclose(one.p_correct, two.p_correct, atol=1e-9)
    np.testing.assert_allclose(one.p_correct, three.p_correct, atol=1e-9)


def test_logits_in_a_column_of_pairs_are_turned_with_them() -> None:
    random = np.random.default_rng(0)
    s = random.normal(0, 3, 3000)
    truth = random.random(3000) < 1 / (1 + np.exp(-s))
    right = random.random(3000) < 0.8  # about 600 wrong labels
    keep = truth == right
    rows = [
        {"prompt": f"q{i}", "chosen": "a", "rejected": "b", "p_chosen": float(k), "margin_of_model": float(x)}
        for i, (x, k) in enumerate(zip(s, keep, strict=True))
    ]
    result = audit(rows, scorer="logits:margin_of_model")
    assert result.noise_rate == pytest.approx(0.2, abs=0.04)
    assert result.temperature == pytest.approx(1.0, abs=0.3)
    # stored as the label says, so that the logit of a label is the column's, turned for p_chosen = 0
    np.testing.assert_allclose(result.logit / result.temperature, np.where(keep, s, -s))


def test_ties_say_nothing_and_are_flagged(world: TextWorld) -> None:
    rows = [dict(r) for r in world.rows[:300]]
    for i in range(10):
        rows[i]["p_chosen"] = 0.5
    result = audit(rows)
    tied = np.isin(result.table.row, np.arange(10))
    assert np.isnan(result.p_correct[tied]).all()
    assert result.flags["tie"].sum() == tied.sum()
    assert result.noise_rate == pytest.approx(np.nanmean(1 - result.p_correct))


def test_row_weights_count_as_repetitions(world: TextWorld) -> None:
    rows = [{**r, "weight": 3.0 if i < 100 else 1.0, "logit": 1.0 - (i % 5)} for i, r in enumerate(world.rows[:300])]
    result = audit(rows, scorer="logits:logit")
    w = result.table.weight
    assert w.sum() == 500
    assert result.noise_rate == pytest.approx((w * (1 - result.p_correct)).sum() / 500)


def test_length_bias_is_the_share_and_the_slope() -> None:
    rows = [{"prompt": f"q{i}", "chosen": "x" * (8 if i % 4 else 2), "rejected": "y" * (2 if i % 4 else 8)}
            for i in range(400)]  # fmt: skip
    table = from_records(read(rows))
    sizes = np.array([(len(p.chosen), len(p.rejected)) for p in table.records or ()], dtype=float)
    bias = length_bias(table, sizes[:, 0] - sizes[:, 1], sizes)
    assert bias is not None
    assert bias["longer_preferred"] == 0.75
    # logit(3/4) over log2(9/3) doublings
    assert bias["nats_per_doubling"] == pytest.approx(np.log(3) / np.log2(3), abs=0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scorer": "txt"}, "did you mean 'text'"),
        ({"scorer": "logits"}, "expected logits:COLUMN"),
        ({"scorer": "policy:one"}, "expected policy:POLICY,REFERENCE"),
        ({"scorer": "logits:logit", "features_from": ["writer"]}, "--features-from is read by --scorer text only"),
        ({"features_from": ["writer"]}, "no such column"),
        ({"scorer": "logits:logit"}, "pairs have no number in column 'logit'"),
    ],
)
def test_wrong_options_are_told(world: TextWorld, options: dict, words: str) -> None:
    with pytest.raises(AssentError, match=words):
        audit(world.rows[:50], **options)


def test_one_prompt_cannot_be_held_out() -> None:
    rows = [{"prompt": "q", "chosen": f"a{i}", "rejected": f"b{i}"} for i in range(10)]
    with pytest.raises(AssentError, match="share one prompt"):
        audit(rows)


@pytest.mark.data
def test_flips_of_real_judgements_are_found(real_data: Path) -> None:
    rows = pq.read_table(real_data / "alpaca_eval_judgements.parquet").drop_columns(["rationale"]).to_pylist()
    rows = [r for r in rows if abs(r["p_b"] - 0.5) > 0.4][::4]
    flipped = np.random.default_rng(0).random(len(rows)) < 0.3
    rows = [{**r, "p_b": 1 - r["p_b"]} if f else r for r, f in zip(rows, flipped, strict=True)]
    result = audit(rows)
    wrong, p = flipped[result.table.row], result.p_correct
    auroc = np.mean(p[~wrong][:, None] > p[wrong][None, :])
    assert auroc > 0.9  # a quarter of the data: 0.91 where all of it gives 0.927
    assert result.noise_rate == pytest.approx(0.31, abs=0.05)
