"""assent demo: its one line of JSON, its table, its page, its mistakes."""

from __future__ import annotations

import json

import pytest

from assent.cli import demo as verb
from assent.cli import main
from assent.data import read
from assent.evaluation import demo as demonstration
from assent.scoring.loading import load_tokenizer
from assent.worlds import embedded, loops

TINY = demonstration.DemoConfig(
    world=embedded.WorldConfig(
        pairs=120, tests=24, samples=24, held_out_prompts=24, width=16, corpus=300, tune_steps=20, tune_batch=32
    ),
    loop=loops.LoopConfig(epochs=1, batch=40, evaluations=2),
    fold_epochs=1,
)


def test_one_line_of_json_one_page_and_a_world_to_go_on_with(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verb, "CONFIG", TINY)
    with pytest.raises(SystemExit) as end:
        main(["demo", "--seed", "4", "--out", str(tmp_path / "run"), "--json", "--workers", "0"])
    assert end.value.code in (0, None)
    stdout = capsys.readouterr().out
    assert stdout.count("\n") == 1
    figures = json.loads(stdout)
    assert figures["schema"] == 1 and figures["seed"] == 4
    assert set(figures["methods"]) == {
        "dpo_clean", "dpo", "cdpo", "rdpo", "lcpo_online", "lcpo_crossfit", "lcpo_oracle"
    }  # fmt: skip
    assert set(figures["methods"]["dpo"]) == {"true_reward", "gain", "win_rate", "kl", "accuracy"}
    assert {"dpo", "lcpo_online", "lcpo_crossfit"} <= set(figures["single_annotator"])
    assert set(figures["oracle_gap_recovered"]) == {"lcpo_online", "lcpo_crossfit"}
    assert figures["reliability"]["fay"]["true"] == 0.3
    assert json.loads((tmp_path / "run" / "demo.json").read_text()) == figures
    page = (tmp_path / "run" / "demo.html").read_text()
    assert "<html" in page and 'src="http' not in page and 'href="http' not in page
    rows = (tmp_path / "run" / "preferences.jsonl").read_text().splitlines()
    assert len(rows) == 120 + 9 + 2 * 9
    assert (tmp_path / "run" / "reference" / "config.json").is_file()
    tokenizer = load_tokenizer(str(tmp_path / "run" / "reference"))
    for row in read(tmp_path / "run" / "preferences.jsonl").rows[:20]:  # as `assent train` reads them
        words = tokenizer.convert_ids_to_tokens(tokenizer(row.prompt + row.chosen)["input_ids"])
        assert [w for w in words if w[0] != "<"] == row.prompt.split() + row.chosen.split() and "<unk>" not in words
    assert (tmp_path / "run" / "audit" / "audit.parquet").is_file()


def test_an_output_folder_that_is_a_file_is_told_at_once(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit) as end:
        main(["demo", "--out", str(tmp_path / "file")])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("assent: ")


def test_ctrl_c_says_one_sentence(tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(demonstration, "demo", interrupted)
    with pytest.raises(SystemExit) as end:
        main(["demo", "--out", str(tmp_path / "run")])
    assert end.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_table_names_every_method_and_the_reliabilities(capsys, monkeypatch):
    row = {"true_reward": 1.25, "gain": 0.5, "win_rate": 0.75, "kl": 3.0, "accuracy": 0.8}
    result = {
        "equal_kl": 2.5, "seed": 3, "methods": dict.fromkeys(verb.TITLES, row), "single_annotator": {"dpo": row},
        "reliability": {"anna": {"true": 0.95, "estimated": 0.9}}, "oracle_gap_recovered": {"lcpo_crossfit": 0.93},
        "seconds": 12.0,
    }  # fmt: skip
    monkeypatch.setenv("COLUMNS", "160")
    verb._show(result, "page.html")
    shown = capsys.readouterr().out
    assert all(title in shown for title in verb.TITLES.values())
    assert "anna 0.90 (0.95)" in shown and "recovers 93%" in shown and "2.50 nats" in shown
    assert verb._finite({"a": [1.0], "b": {"c": float("nan"), "d": 2.0}}) == {"a": [1.0], "b": {"c": None, "d": 2.0}}
