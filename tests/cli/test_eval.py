"""assent eval: a table with whole counts, and one line of JSON."""

from __future__ import annotations

import json

import pytest

from assent.cli import main
from tiny_models import save_tiny_llama


def test_a_model_against_itself_ranks_by_halves(tmp_path, capsys):
    model = save_tiny_llama(tmp_path / "model")
    rows = [
        {"prompt": f"count {i}", "chosen": " one", "rejected": " none", "annotator": a} for i in range(3) for a in "ab"
    ]
    (tmp_path / "prefs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["eval", "--model", str(model), "--reference", str(model), "--data", str(tmp_path / "prefs.jsonl")]
    with pytest.raises(SystemExit) as end:
        main(words)
    table = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert end.value.code == 0 and "schema" not in table
    assert (table["pairs"], table["labels"], table["accuracy"], table["margin"]) == ("3", "6", "0.5000", "0.0000")
    with pytest.raises(SystemExit):
        main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1 and found["loss"] == pytest.approx(0.693147, abs=1e-5)
