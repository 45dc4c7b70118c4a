"""Trackers hear of a run under the names of its log: TensorBoard, W&B offline and MLflow, read back from their files."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_run import pair_dicts, write_jsonl

from assent import AssentError, parse, train
from assent.training import trackers
from assent.training.alarms import Alarms
from assent.training.arguments import resolve
from assent.training.trackers import Tracker, check_trackers, configuration, mlflow_name

NAMES = {"ann0": "a//b", "ann1": "../анна", "ann2": "иван@x"}
"""Annotators whose names trackers do not like."""


@pytest.fixture(scope="module")
def odd_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [row | {"annotator": NAMES[row["annotator"]]} for row in pair_dicts(24)]
    return write_jsonl(tmp_path_factory.mktemp("odd") / "pairs.jsonl", rows)


@pytest.fixture(autouse=True)
def an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is warned at its second step."""

    def on_log(self: Alarms, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.global_step == 2:
            self.warn("falling", "it falls", state)

    monkeypatch.setattr(Alarms, "on_log", on_log)


def run(model: Path, data: Path, out: Path, name: str) -> dict[tuple[str, int], float]:
    """A run of three steps; gives (name, step) -> value of all that it logged."""
    train(
        str(model), str(data), "lcpo(dpo())", out, report_to=[name], eval_fraction=0.3, max_steps=3, use_cpu=True,
        learning_rate=3e-3, max_length=64, disable_tqdm=True, logging_steps=1, save_strategy="no", reference_logp="memory",
        per_device_train_batch_size=4, diagnostics_steps=0,
    )  # fmt: skip
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    found = {(key, entry["step"]): value for entry in history for key, value in entry.items() if key != "step"}
    wanted = {"loss", "eval_loss", "rewards/margins", "eval_rewards/margins", "logps/chosen", "lcpo/noise_rate"}
    wanted |= {f"lcpo/reliability/{name}" for name in NAMES.values()}
    assert wanted <= {key for key, _ in found}
    return {**found, ("alarms/falling", 2): 1.0}


def grouped(name: str) -> str:
    """A name of the log as transformers writes it for TensorBoard and W&B."""
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"


def test_tensorboard(small_folder: Path, odd_pairs: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'trackers' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged = run(small_folder, odd_pairs, tmp_path / "out", "tensorboard")
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    found = {(tag, e.step): e.value for tag in events.Tags()["scalars"] for e in events.Scalars(tag)}
    assert found == pytest.approx({(grouped(name), step): value for (name, step), value in logged.items()}, rel=1e-6)
    (told,) = events.Tensors("args/text_summary")
    told = json.loads(told.tensor_proto.string_val[0])
    assert told["assent/objective"].startswith("lcpo(dpo(beta=0.1)") and told["learning_rate"] == 3e-3
    assert told["assent/data"] == str(odd_pairs) and told["assent/annotators"] == 3


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of an offline run: protocol buffers in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:  # no header crosses the end of a block
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # the whole of a record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def test_wandb_offline(small_folder: Path, odd_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="the extra 'trackers' is not installed")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true", "CONSOLE": "off"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    logged = run(small_folder, odd_pairs, tmp_path / "out", "wandb")
    assert wandb.run is None, "the next run of this process is another one"
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    found, config = {}, {}

    def items(given: Any) -> dict[str, Any]:
        return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in given}

    for record in wandb_records(file):
        if record.WhichOneof("record_type") == "history":
            values = items(record.history.item)
            step = values["train/global_step"]
            found |= {(name, step): value for name, value in values.items() if name.startswith(("train/", "eval/"))}
        if record.WhichOneof("record_type") == "config":
            config |= items(record.config.update)
    # transformers puts the figures of the whole run into W&B's summary, not into its history.
    whole = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos"}
    wanted = {(grouped(name), step): value for (name, step), value in logged.items() if name not in whole}
    wanted |= {("train/global_step", step): step for step in (1, 2, 3)}
    assert found == pytest.approx(wanted, rel=1e-12)
    assert config["assent/objective"].startswith("lcpo(dpo(beta=0.1)") and config["learning_rate"] == 3e-3
    assert config["assent/data_sha256"] and config["assent/rows"] == 14


def test_mlflow(small_folder: Path, odd_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra 'trackers' is not installed")
    store = (tmp_path / "mlflow").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logged = run(small_folder, odd_pairs, tmp_path / "out", "mlflow")
    client = mlflow.MlflowClient(store)
    (kept,) = client.search_runs(["0"])
    assert kept.info.status == "FINISHED"
    found = {
        (name, metric.step): metric.value
        for name in kept.data.metrics
        for metric in client.get_metric_history(kept.info.run_id, name)
    }
    assert found == pytest.approx(
        {(mlflow_name(name), step): value for (name, step), value in logged.items()}, rel=1e-12
    )
    assert ("rewards/margins", 3) in found and ("eval_rewards/margins", 3) in found
    told = kept.data.params
    assert told["assent/objective"].startswith("lcpo(dpo(beta=0.1)") and told["assent/data"] == str(odd_pairs)


# ---- before a run ----------------------------------------------------------------------------------------


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import transformers.integrations

    monkeypatch.setattr(transformers.integrations, "get_available_reporting_integrations", lambda: ["wandb"])
    with pytest.raises(AssentError, match="report_to names 'mlflow'; trackers installed here: wandb; install it or"):
        resolve({"report_to": "mlflow", "use_cpu": True}, parse("dpo()"), str(tmp_path))


def test_a_tracker_that_cannot_start_is_told_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.integrations

    def fails() -> None:
        raise ValueError(f"No API key\nconfigured.{' more' * 100}")

    monkeypatch.setattr(transformers.integrations, "get_available_reporting_integrations", lambda: ["wandb"])
    monkeypatch.setitem(trackers._OPENERS, "wandb", fails)
    with pytest.raises(
        AssentError, match=r"cannot start \(No API key configured. more .* \.\.\.\); run wandb login"
    ) as told:
        check_trackers(["wandb"])
    assert len(str(told.value)) < 450


def test_wandb_without_a_key_costs_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb", reason="the extra 'trackers' is not installed")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()
    with pytest.raises(AssentError, match=r"report_to names 'wandb', which cannot start .*WANDB_MODE=offline"):
        check_trackers(["wandb"])


def test_mlflow_without_a_store_costs_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra 'trackers' is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://store")
    with pytest.raises(AssentError, match=r"report_to names 'mlflow', which cannot start .*MLFLOW_TRACKING_URI"):
        check_trackers(["mlflow"])


# ---- names, facts, alarms --------------------------------------------------------------------------------


def test_names_of_metrics_that_mlflow_forbids_do_not_meet() -> None:
    kept = ["loss", "eval_rewards/margins", "lcpo/reliability/ann 1", "lcpo/1/noise_rate"]
    assert [mlflow_name(name) for name in kept] == kept
    odd = ["r/анна", "r/иван", "r/a@b", "r/a#b", "r/../x", "r/./x", "r//x", "r/", "r/" + "y" * 300, "r/" + "y" * 301]
    spelled = [mlflow_name(name) for name in odd]
    assert len(set(spelled)) == len(odd) and max(map(len, spelled)) == 250
    assert mlflow_name("r/é/..") == "r/_xc3_xa9/_x2e_x2e"


def test_facts_are_plain_and_rows_in_memory_stay_there() -> None:
    class Model:
        pass

    facts = {"model": Model(), "data": [{"prompt": "p"}] * 51, "columns": ["a=b"], "lora_r": None, "merge": False,
             "token_columns": {"x": len}, "out": Path("a")}  # fmt: skip
    assert {k: v for k, v in configuration(facts).items() if k != "assent/version"} == {
        "assent/model": "Model", "assent/data": "list of 51", "assent/columns": '["a=b"]', "assent/merge": False,
        "assent/token_columns": '{"x": "builtin_function_or_method"}', "assent/out": "a",
    }  # fmt: skip


def test_an_alarm_is_told_once_at_its_step_and_at_the_end_where_it_came_last() -> None:
    class Inner:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.seen.append(args.to_dict())

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            self.seen.append(logs)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.seen.append("end")

    alarms, inner = SimpleNamespace(fired=[SimpleNamespace(name="old")]), Inner()
    tracker = Tracker(inner, "tensorboard", alarms, {"assent/rows": 3})
    tracker.on_train_begin(SimpleNamespace(to_dict=lambda: {"seed": 1}), None, None)
    tracker.on_log(None, None, None, logs={"loss": 1.0})
    alarms.fired.append(SimpleNamespace(name="falling"))
    tracker.on_log(None, None, None, logs={"loss": 0.5})
    tracker.on_log(None, None, None, logs={"loss": 0.25})
    alarms.fired.append(SimpleNamespace(name="length"))
    tracker.on_train_end(None, None, None)
    assert inner.seen == [
        {"seed": 1, "assent/rows": 3}, {"loss": 1.0}, {"loss": 0.5, "alarms/falling": 1.0}, {"loss": 0.25},
        {"alarms/length": 1.0}, "end",
    ]  # fmt: skip
