"""Logits without text, read by column: the same numbers from every format, mistakes by row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from assent.auditing import audit
from assent.auditing.columns import read_columns, without_text
from assent.errors import AssentError

TABLE = {"logit": [1.5, -0.5, 2.0, 0.0], "annotator": ["ben", "anna", None, "ben"]}


@pytest.fixture(params=["rows.jsonl", "rows.csv", "rows.parquet", "rows.jsonl.gz"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    import gzip

    path = tmp_path / request.param
    table = pa.table(TABLE)
    lines = "\n".join(json.dumps(row) for row in table.to_pylist())
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        path.write_text("logit,annotator\n1.5,ben\n-0.5,anna\n2.0,*\n0.0,ben\n")
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines)
    return path


def test_every_format_gives_the_same_labels(file: Path) -> None:
    assert without_text(file)
    table, logit = read_columns(file, "logit")
    np.testing.assert_array_equal(logit, TABLE["logit"])
    assert table.names == ("*", "anna", "ben")
    assert table.annotator.tolist() == [2, 1, 0, 2]
    assert table.p.tolist() == [1, 1, 1, 1] and table.pairs == 4


def test_rows_of_one_pair_share_their_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"logit": [1.0, 3.0, 0.5], "pair": ["x", "x", "y"], "p_chosen": [1.0, 0.0, 0.5]}), path)
    table, logit = read_columns(path, "logit")
    assert table.pair.tolist() == [0, 0, 1] and logit.tolist() == [2.0, 0.5]
    assert table.p.tolist() == [1.0, 0.0, 0.5] and table.names == ("*",)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"logit": [1.0, float("nan")]}, "row 1 .* column 'logit': missing, NaN or infinite"),
        ({"logit": ["a", "b"]}, "column 'logit': it holds string; expected numbers"),
        ({"logit": [1.0, 2.0], "annotator": [1.5, 2.5]}, "'annotator' holds double"),
        ({"logit": [1.0, 2.0], "weight": [1.0, -2.0]}, "row 1 .* 'weight': -2; expected a number of at least 0"),
        ({"logits": [1.0, 2.0]}, "no column 'logit'; did you mean 'logits'"),
        ({"logit": [1.0, 2.0], "p_chosen": [0.5, 1.5]}, "row 1 .* 'p_chosen': 1.5; expected a number between 0 and 1"),
    ],
)
def test_mistakes_name_row_and_column(tmp_path: Path, columns: dict, words: str) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(AssentError, match=words):
        audit(path, scorer="logits:logit")


def test_many_labels_are_fast_and_near_the_truth(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    n, k = 50_000, 50
    eta, who, s = random.uniform(0.4, 0.98, k), random.integers(k, size=n), 2 * random.standard_normal(n)
    order, right = random.random(n) < 1 / (1 + np.exp(-s)), random.random(n) < eta[who]
    path = tmp_path / "rows.parquet"
    logit = np.where(order == right, s, -s)
    pq.write_table(pa.table({"logit": logit, "annotator": [f"{i:02d}" for i in who]}), path)
    result = audit(path, out=tmp_path / "out", scorer="logits:logit")
    assert np.abs(result.reliability - eta).mean() < 0.03
    assert result.noise_rate == pytest.approx(1 - right.mean(), abs=0.01)
    written = pq.read_table(tmp_path / "out" / "audit.parquet")
    assert written.num_rows == n and written["length_gap"].null_count == n
    np.testing.assert_array_equal(written["row"].to_numpy(), np.arange(n))
