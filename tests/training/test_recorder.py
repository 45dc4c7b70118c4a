from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from small_run import pair_dicts, small_model, small_tokenizer

from assent.data.reading import read
from assent.data.tokens import tokenise
from assent.errors import AssentError
from assent.objectives import parse
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.reference import precompute
from assent.training.alarms import Alarms, save_batch
from assent.training.recorder import COLUMNS, Recorder
from assent.training.trainer import PreferenceTrainer


def make_trainer(folder, objective="lcpo(dpo(beta=0.5))", rows=13, **options):
    from transformers import TrainingArguments

    torch.manual_seed(0)
    tokenizer, model = small_tokenizer(), small_model()
    tokens = tokenise(read(pair_dicts(rows)), tokenizer, max_length=64, progress=False)
    values = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 2}
    values |= {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "logging_steps": 1, "use_cpu": True}
    values |= {"remove_unused_columns": False, "dataloader_pin_memory": False, "learning_rate": 1e-3, "label_names": []}
    scorer = CausalLMScorer(model, precompute(model, tokens.rows, pad_token_id=0), 0)
    trainer = PreferenceTrainer(
        model, TrainingArguments(output_dir=str(folder), **{**values, **options}), tokens.rows, scorer=scorer,
        objective=parse(objective), annotators=tokens.annotators, processing_class=tokenizer,
        on_nonfinite=lambda batch: save_batch(trainer, batch, folder),
    )  # fmt: skip
    recorder, alarms = Recorder(folder, trainer), Alarms(folder, trainer)
    trainer.observers += [recorder, alarms]
    trainer.add_callback(recorder)
    trainer.add_callback(alarms)
    return trainer


def test_every_pair_is_written_each_epoch_with_what_it_trained_on(tmp_path):
    trainer = make_trainer(tmp_path)
    seen = {}

    def remember(rows, scores, state):
        step = trainer.state.global_step + 1
        gap = 0.5 * scores.log_ratio_gap.detach()
        posterior = trainer.objective.posterior(scores, state)
        for i, row in enumerate(rows):
            seen[step, row.index] = (gap[i].item(), posterior[i].item(), scores.chosen.logp[i].item())

    trainer.observers.append(remember)
    trainer.train()
    assert sorted(p.name for p in tmp_path.glob("*.parquet")) == [
        "pairs-epoch-1.parquet", "pairs-epoch-2.parquet", "reliabilities.parquet"
    ]  # fmt: skip
    for epoch in (1, 2):
        table = pq.read_table(tmp_path / f"pairs-epoch-{epoch}.parquet")
        assert table.schema.metadata[b"assent.schema"] == b"1"
        assert tuple(table.column_names) == COLUMNS
        rows = table.to_pylist()
        assert [row["pair"] for row in rows] == list(range(13))
        assert {row["step"] for row in rows} == set(range(4 * epoch - 3, 4 * epoch + 1))
        for row in rows:
            gap, posterior, logp = seen[row["step"], row["pair"]]
            assert row["margin"] == pytest.approx(gap, abs=1e-6) and row["logit"] == pytest.approx(gap, abs=1e-6)
            assert row["posterior"] == pytest.approx(posterior, abs=1e-6)
            assert row["logp_chosen"] == pytest.approx(logp, rel=1e-6)
            margin = row["logp_chosen"] - row["ref_logp_chosen"] - row["logp_rejected"] + row["ref_logp_rejected"]
            assert row["margin"] == pytest.approx(0.5 * margin, abs=1e-4)


def test_reliabilities_by_epoch_and_name(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    rows = pq.read_table(tmp_path / "reliabilities.parquet").to_pylist()
    assert [(r["epoch"], r["annotator"]) for r in rows] == [(e, f"ann{k}") for e in (1, 2) for k in range(3)]
    assert sum(r["labels"] for r in rows[:3]) == 13
    assert [r["reliability"] for r in rows[3:]] == trainer.objective_state["eta"].tolist()


def test_a_run_that_ends_within_an_epoch_keeps_the_one_before(tmp_path):
    make_trainer(tmp_path, max_steps=5).train()
    tables = [pq.read_table(tmp_path / f"pairs-epoch-{epoch}.parquet").to_pylist() for epoch in (1, 2)]
    assert [len(table) for table in tables] == [13, 4]
    assert {row["step"] for row in tables[1]} == {5}


def test_without_lcpo_there_is_a_logit_and_no_posterior(tmp_path):
    make_trainer(tmp_path, "simpo() + 0.1*sft()", num_train_epochs=1).train()
    rows = pq.read_table(tmp_path / "pairs-epoch-1.parquet").to_pylist()
    assert all(r["posterior"] is None and r["ref_logp_chosen"] is None for r in rows)
    assert all(isinstance(r["logit"], float) for r in rows)
    assert not (tmp_path / "reliabilities.parquet").exists()


def test_a_run_resumed_within_an_epoch_writes_the_same_tables(tmp_path):
    whole = make_trainer(tmp_path / "whole", save_strategy="steps", save_steps=3)
    whole.train()
    cut = make_trainer(tmp_path / "cut", save_strategy="steps", save_steps=3)
    cut.observers.append(lambda *_: setattr(cut.interrupt, "asked", cut.state.global_step == 5))
    cut.train()
    assert cut.state.global_step == 6 and not (tmp_path / "cut" / "pairs-epoch-2.parquet").exists()
    again = make_trainer(tmp_path / "cut", save_strategy="steps", save_steps=3)
    checkpoint = tmp_path / "cut" / "checkpoint-6"
    again.restore(checkpoint)
    again.train(resume_from_checkpoint=str(checkpoint))
    for name in ("pairs-epoch-1.parquet", "pairs-epoch-2.parquet", "reliabilities.parquet"):
        assert pq.read_table(tmp_path / "cut" / name).equals(pq.read_table(tmp_path / "whole" / name)), name


def test_a_loss_that_is_not_finite_stops_with_the_batch_saved(tmp_path):
    trainer = make_trainer(tmp_path)
    bad = trainer.train_dataset.rows[7]
    table = trainer.scorer.reference
    from assent.scoring.reference import sequence_key

    table.values[table.keys[sequence_key(bad.chosen)][0]] = float("nan")
    with pytest.raises(AssentError, match=r"not finite; its rows are in .*nonfinite_batch\.jsonl"):
        trainer.train()
    lines = [json.loads(line) for line in (tmp_path / "nonfinite_batch.jsonl").read_text().splitlines()]
    broken = {line["index"]: line["broken"] for line in lines if line["broken"]}
    assert broken == {bad.index: ["chosen.ref_logp", "loss"]}
    line = next(line for line in lines if line["index"] == bad.index)
    assert line["chosen"].startswith("<s>") and line["chosen_tokens"] == len(bad.chosen.ids)
    assert line["step"] == trainer.state.global_step + 1


@pytest.mark.parametrize(("rate", "names"), [(1e-5, []), (3e-3, ["saturation"])])
def test_alarms_ride_along(tmp_path, rate, names):
    options = {"learning_rate": rate, "num_train_epochs": 4, "logging_steps": 12}
    trainer = make_trainer(tmp_path, "dpo(beta=1.0)", rows=96, **options)
    trainer.train()
    assert [alarm.name for alarm in trainer.observers[1].fired] == names
