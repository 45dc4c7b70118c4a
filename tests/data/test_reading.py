"""Reading: every format gives the same records, and every malformed row is named."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assent.data import iter_rows, read
from assent.errors import AssentError

PAIRS = [
    {"prompt": "Two plus two?", "chosen": "four", "rejected": "five", "annotator": "anna", "weight": 2.0},
    {"prompt": "Two plus two?", "chosen": "five", "rejected": "four", "annotator": "ben", "weight": 1.0},
    {"prompt": "The sky?", "chosen": "blue", "rejected": "green", "annotator": "ben", "weight": 1.0},
]
JUDGEMENTS = [
    {"prompt": "q", "response_a": "x", "response_b": "y", "p_b": 0.8, "annotator": "anna"},
    {"prompt": "q", "response_a": "y", "response_b": "x", "p_b": 0.3, "annotator": "ben"},
    {"prompt": "q", "response_a": "x", "response_b": "x", "p_b": 0.0, "annotator": "ben"},
]


def write(path, rows):
    name = path.name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith(".csv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        text = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(r) + "\n" for r in rows)
        path.write_text(text)
    return path


@pytest.fixture(params=["d.jsonl", "d.json", "d.csv", "d.parquet"])
def file(request, tmp_path):
    return lambda rows: write(tmp_path / request.param, rows)


def test_formats_agree(file):
    path = file(PAIRS)
    records = read(path)
    assert records.kind == "pairs" and records.n_rows == 3 and len(records) == 2
    first, second = records.rows
    assert (first.prompt, first.chosen, first.rejected) == ("Two plus two?", "four", "five")
    assert [(x.annotator, x.p, x.weight, x.rows) for x in first.labels] == [
        ("anna", 1.0, 2.0, (0,)),
        ("ben", 0.0, 1.0, (1,)),
    ]
    assert first.target == pytest.approx(2 / 3) and first.weight == 3.0
    assert second.chosen == "blue" and records.annotators == ("anna", "ben")
    assert records.report["rows merged"] == 1 and records.report["contradictory labels"] == 1
    assert records.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()


def test_judgements(file):
    records = read(file(JUDGEMENTS))
    (pair,) = records.rows
    assert (pair.chosen, pair.rejected) == ("y", "x")
    assert [(x.annotator, x.p) for x in pair.labels] == [("anna", 0.8), ("ben", 0.7)]
    assert pair.target == pytest.approx(0.75)
    assert records.report["identical completions"] == 1


def test_gz_and_memory_and_columns(tmp_path):
    path = tmp_path / "d.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write('{"q": "a", "good": "b", "bad": "c"}\n\n{"q": "d", "good": "e", "bad": "f"}\n')
    names = {"q": "prompt", "good": "chosen", "bad": "rejected"}
    records = read(path, columns=names)
    assert [(p.prompt, p.chosen, p.rejected) for p in records.rows] == [("a", "b", "c"), ("d", "e", "f")]
    assert records.rows[1].labels[0].rows == (1,)  # blank lines are not rows
    again = read(list(iter_rows(path)), columns=names)
    assert again.rows == records.rows and again.source == "rows in memory"
    with pytest.raises(AssentError, match="no column 'goood'; did you mean 'good'"):
        read(path, columns={"goood": "chosen"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": 3}, "line 4 (row 3, counted from 0), column 'chosen': 3 is an int; expected text or"),
        ({"chosen": None}, "column 'chosen': missing; expected text"),
        ({"chosen": "same", "rejected": "same"}, "column 'rejected': equals 'chosen'"),
        ({"annotator": [1]}, "column 'annotator': [1] is a list; expected the annotator's name"),
        ({"annotator": True}, "column 'annotator': True is a bool"),
        ({"weight": -1}, "column 'weight': -1; expected a number at least 0"),
        ({"weight": float("nan")}, "column 'weight': NaN; expected a number, or null"),
        ({"p_chosen": 1.7}, "column 'p_chosen': 1.7; expected a number between 0 and 1"),
        ({"margin": "wide"}, "column 'margin': 'wide' is not a number"),
        ({"margin": float("inf")}, "column 'margin': inf; expected a finite number"),
        ({"gold": "perhaps"}, "column 'gold': 'perhaps' is a str; expected true or false"),
        ({"rationale": 7}, "column 'rationale': 7 is an int; expected text"),
        ({"chosen": [{"role": "assistant", "content": 1}]}, "message 0 has content 1; expected text"),
        ({"chosen": [{"content": "x"}]}, "message 0 has role None"),
        ({"chosen": []}, "expected a list of messages that is not empty"),
        ({"rejected": "half \ud83d"}, "column 'rejected': broken text: half a surrogate pair at character 5"),
        ({"annotator": "\udc00"}, "column 'annotator': broken text"),
        ({"tools": "{"}, "column 'tools': '{' is not JSON"),
    ],
)
def test_malformed_row_is_named(tmp_path, row, message):
    path = write(tmp_path / "d.jsonl", [*PAIRS, {**PAIRS[0], "prompt": "new", **row}])
    with pytest.raises(AssentError) as caught:
        read(path)
    assert str(path) in str(caught.value) and message in str(caught.value)
    assert "--bad-rows skip" in str(caught.value) and "\n" not in str(caught.value)


def test_bad_rows_are_skipped_counted_and_written(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in PAIRS) + '{"prompt": "x", \n[1]\n')
    out = tmp_path / "sub" / "bad_rows.jsonl"
    records = read(path, bad_rows="skip", bad_rows_path=out)
    assert records.report["bad rows skipped"] == 2 and records.n_rows == 5 and len(records) == 2
    bad = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(b["row"], b["line"], b["data"]) for b in bad] == [(3, 4, '{"prompt": "x", '), (4, 5, "[1]")]
    assert bad[1]["reason"] == "a JSON list; expected an object"
    assert list(out.parent.iterdir()) == [out]


def test_groups_labelled_sft():
    groups = read([{"prompt": "p", "completions": ["a", "b", "c"], "ranks": [2, 1, 3]}])
    assert groups.kind == "groups" and groups.rows[0].scores == (-2.0, -1.0, -3.0)
    labelled = read([{"prompt": "p", "completion": "c", "label": True}])
    assert labelled.kind == "labelled" and labelled.rows[0].label is True
    sft = read([{"prompt": "p", "completion": "c", "label": True}], kind="sft")
    assert sft.kind == "sft" and sft.rows[0].label is None
    with pytest.raises(AssentError, match="column 'label': 1 is an int; expected true or false"):
        read([{"prompt": "p", "completion": "c", "label": 1}])
    with pytest.raises(AssentError, match="2 scores for 3 completions"):
        read([{"prompt": "p", "completions": ["a", "b", "c"], "scores": [1, 2]}])


def test_csv_types(tmp_path):
    path = tmp_path / "d.csv"
    say = lambda text: json.dumps([{"role": "assistant", "content": text}])  # noqa: E731
    row = {"prompt": "p", "chosen": say("a"), "rejected": say("b"), "gold": "true", "margin": "", "hard": 3}
    write(path, [row])
    (pair,) = read(path).rows
    assert pair.chosen == [{"role": "assistant", "content": "a"}] and pair.prompt == [{"role": "user", "content": "p"}]
    assert pair.labels[0].gold is True and pair.margin is None and pair.columns == {"hard": 3.0}
    path.write_text("prompt,chosen,rejected\np,a\n")
    with pytest.raises(AssentError, match=r"line 2 .*: 2 fields; the first line names 3"):
        read(path)
    path.write_text('prompt,chosen,rejected\np,"a"b,c\n')
    with pytest.raises(AssentError, match=r"line 2: not CSV \(',' expected"):
        read(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("e.jsonl", "", "the file is empty"),
        ("e.jsonl", "\n\n", "no rows"),
        ("e.json", "[]", "no rows"),
        ("e.json", "{", "not JSON"),
        ("e.csv", "prompt,chosen,rejected\n", "no rows"),
        ("e.parquet", "nothing", "not a readable Parquet file"),
        ("e.jsonl.gz", "nothing", "cannot be read"),
        ("e.txt", "nothing", "unknown kind of file; expected one of .jsonl"),
    ],
)
def test_unusable_files(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(AssentError, match=message):
        read(path)


def test_missing_columns_say_what_to_rename():
    with pytest.raises(AssentError) as caught:
        read([{"prompt": "p", "chosen": "a", "rejectd": "b"}])
    assert "missing column 'rejected'" in str(caught.value)
    assert "did you mean --columns rejectd=rejected?" in str(caught.value)
    with pytest.raises(AssentError, match="--columns accepted=chosen"):
        read([{"question": "p", "accepted": "a", "rejected": "b"}])
    with pytest.raises(AssentError, match="--columns instruction=prompt --columns output=completion"):
        read([{"instruction": "p", "output": "a"}])
    with pytest.raises(AssentError, match="missing column 'scores'"):
        read([{"prompt": "p", "completions": ["a", "b"]}])
    with pytest.raises(AssentError, match="pairs rows need chosen, rejected"):
        read([{"a": 1}])
    with pytest.raises(AssentError, match="kind 'pears' is unknown; did you mean 'pairs'"):
        read(PAIRS, kind="pears")
    with pytest.raises(AssentError, match="a column 'chosen' is there already"):
        read(PAIRS, columns={"rejected": "chosen"})
    swapped = read(PAIRS[2:], columns={"rejected": "chosen", "chosen": "rejected"})
    assert swapped.rows[0].chosen == "green"


def test_missing_file_names_a_neighbour(tmp_path):
    write(tmp_path / "prefs.jsonl", PAIRS)
    with pytest.raises(AssentError, match=r"did you mean 'prefs.jsonl'"):
        read(tmp_path / "pref.jsonl")
    with pytest.raises(AssentError, match=r"not a directory written by datasets.save_to_disk; give one of its files"):
        read(tmp_path)


def test_datasets_directory_and_splits(tmp_path):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(PAIRS)
    expected = read(PAIRS).rows
    assert read(data).rows == expected
    data.save_to_disk(str(tmp_path / "one"))
    assert read(tmp_path / "one").rows == expected
    datasets.DatasetDict({"train": data, "test": data.select([2])}).save_to_disk(str(tmp_path / "two"))
    assert len(read(tmp_path / "two", split="test")) == 1
    with pytest.raises(AssentError, match="no split 'tests'; did you mean 'test'"):
        read(tmp_path / "two", split="tests")


def test_hub_goes_through_load_dataset(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load_dataset(name, config=None, *, split):
        asked.append((name, config, split))
        if name == "org/none":
            raise ConnectionError("Couldn't reach the hub\nmore")
        return datasets.Dataset.from_list(PAIRS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read("org/prefs:hard", split="test").source == "org/prefs:hard (test)"
    assert asked == [("org/prefs", "hard", "test")]
    with pytest.raises(AssentError, match=r"no file 'org/none' here, .*ConnectionError: Couldn't reach the hub\)"):
        read("org/none")


def test_limit():
    assert len(read(PAIRS, limit=1)) == 1
    with pytest.raises(AssentError, match="expected at least 1 row"):
        read(PAIRS, limit=0)


def test_further_columns_are_kept_or_counted():
    rows = [
        {**PAIRS[2], "turns": 2, "topic": "sky", "note": "n" * 300, "list": [1], "share": float("nan"), "when": None}
    ]
    records = read(rows)
    assert records.rows[0].columns == {"turns": 2, "topic": "sky"}
    assert records.report.events["columns kept"].details == ["turns", "topic"]
    assert records.report["columns left out"] == 2 and records.report["columns without a value"] == 1
    many = [{**PAIRS[2], "prompt": str(i), **{f"c{j}": [j] for j in range(9)}} for i in range(3)]
    assert read(many).report["columns left out"] == 9


def test_numbers_of_other_kinds_are_numbers():
    import numpy as np

    row = {**PAIRS[0], "annotator": np.int64(3), "weight": np.float32(0.5), "margin": Decimal("1.25")}
    (pair,) = read([row]).rows
    assert pair.labels[0].annotator == "3" and pair.labels[0].weight == 0.5 and pair.margin == 1.25


def test_json_under_other_shapes(tmp_path):
    path = tmp_path / "d.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    assert read(path).rows == read(PAIRS).rows
    path.write_text(json.dumps({"data": PAIRS}))
    assert read(path).rows == read(PAIRS).rows
    path.write_text("3")
    with pytest.raises(AssentError, match="a JSON int; expected a list of objects"):
        read(path)
    with pytest.raises(AssentError, match=r"row 1 .*: a str; expected an object with columns"):
        read([PAIRS[0], "text"])
    with pytest.raises(AssentError, match="cannot read rows from int"):
        read(3)


def test_all_rows_bad_says_so(tmp_path):
    with pytest.raises(AssentError, match="no usable row left of 1: 1 bad rows skipped"):
        read([{**PAIRS[0], "weight": -1}], bad_rows="skip", bad_rows_path=tmp_path / "bad_rows.jsonl")
    with pytest.raises(AssentError, match="which writes none; pass bad_rows='skip'"):
        read(PAIRS, bad_rows_path=tmp_path / "bad_rows.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(AssentError, match="cannot write the bad rows to"):
        read([PAIRS[0], {}], bad_rows="skip", bad_rows_path=tmp_path / "file" / "bad_rows.jsonl")
