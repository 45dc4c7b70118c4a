"""Two ranks equal one: gradients, parameters, state, evaluation and files, under DDP and FSDP2 over gloo."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import DistributedType
from safetensors.torch import load_file
from small_run import exact_model, pair_dicts, save_small_model, token_pairs, trainer_of, write_jsonl
from toy_objectives import Toy

from assent.errors import AssentError
from assent.scoring.causal_lm import CausalLMScorer
from assent.training.gather import first_rows
from assent.training.trainer import _check_sharding

HERE = Path(__file__).parent
LCPO = "lcpo(dpo()) + 0.1*sft(per='batch_token')"
CASES = {
    "padded": {"objective": LCPO},  # 21 rows: the last step holds 5, and one rank a row less
    "padded in one go": {"objective": "dpo()", "rows": 9, "budget": 10_000},  # the last step holds 1: a rank of fillers
    "trees": {"objective": LCPO, "trees": True, "budget": 50},
    "untied": {"trees": True, "tied": False},
    "lora": {"trees": True, "lora": True, "budget": 50},
    "coupled": {"objective": "toy_coupled()", "trees": True, "budget": 50},
    "coupled lora": {"objective": "toy_coupled()", "rows": 9, "lora": True},
}
"""What each run asks for beyond the plan of ``two_ranks``."""
EXTENDED = {
    "heads": {"objective": "sparsepo(lam_u=0.01) + degree_reconstructed(levels=3)", "heads": True},
    "views": {"objective": "dpo() + rationale() + 0.5*mapl_intra()", "trees": True, "budget": 90},
    "pair update": {"objective": "dpo()", "update": "normalised_pair"},
    "aot": {"objective": "aot(beta=0.5)"},
    "beta_dpo": {"objective": "beta_dpo(drop=0.0)"},
    "kto": {"objective": "kto(beta=0.5)"},
    "bco": {"objective": "bco(beta=0.5)"},
}
"""What runs on whole weights only, or need not be tried on shards too."""


def free_ports(count: int) -> int:
    """The first of so many free ports in a row: every run of the plans takes the next one, and other workers take others."""
    rng = random.Random(os.urandom(8))
    while True:
        first = rng.randrange(20_000, 60_000)
        try:
            for port in range(first, first + count):
                with socket.socket() as free:
                    free.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


def start(folder: Path, count: int, plans: dict) -> None:
    """Run the plans on so many ranks and wait."""
    port = free_ports(len(plans))
    words = [str(count), str(port), str(folder), json.dumps(plans)]
    started = [
        subprocess.Popen(
            [sys.executable, str(HERE / "two_ranks.py"), str(rank), *words], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(count)
    ]  # fmt: skip
    try:
        for process in started:
            _, err = process.communicate(timeout=900)
            assert process.returncode == 0, err.decode()[-3000:]
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders one/NAME, ddp NAME and fsdp2 NAME with what each rank wrote."""
    folder = tmp_path_factory.mktemp("runs")
    stop, go_on = {"objective": LCPO, "trees": True, "stop": 3}, {"objective": LCPO, "trees": True}
    start(folder / "one", 1, CASES | EXTENDED | {"whole": go_on})
    two = {f"{wrap} {name}": plan | {"wrap": wrap} for name, plan in CASES.items() for wrap in ("ddp", "fsdp2")}
    two |= {f"ddp {name}": plan for name, plan in EXTENDED.items()}
    two |= {f"{wrap} stopped": stop | {"wrap": wrap} for wrap in ("ddp", "fsdp2")}
    two |= {f"{wrap} resumed": go_on | {"wrap": wrap, "resume": f"{wrap} stopped"} for wrap in ("ddp", "fsdp2")}
    two["beside"] = CASES["trees"] | {"around": False, "epochs": 1}
    start(folder / "two", 2, two)
    return folder


def read(folder: Path, rank: int = 0) -> dict:
    return json.loads((folder / f"rank-{rank}.json").read_text())


def largest(a: dict[str, list], b: dict[str, list]) -> float:
    """Largest difference of two sets of named numbers."""
    assert a.keys() == b.keys()
    return max(abs(x - y) for name in a for x, y in zip(a[name], b[name], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "wrap"), [*product(CASES, ("ddp", "fsdp2")), *product(EXTENDED, ("ddp",))])
def test_two_ranks_equal_one(name: str, wrap: str, runs: Path) -> None:
    one, ranks = read(runs / "one" / name), [read(runs / "two" / f"{wrap} {name}", rank) for rank in (0, 1)]
    first, second = ranks
    assert (first["wrapper"] == "DistributedDataParallel") == (wrap == "ddp")
    assert first["wrapper"].startswith("FSDP") == (first["shards"] > 20) == (wrap == "fsdp2")
    assert first["parameters"] == second["parameters"] and first["gradients"] == second["gradients"]
    assert largest(one["parameters"], first["parameters"]) < 1e-10
    assert len(one["gradients"]) == len(first["gradients"]) >= 4
    for a, b in zip(one["gradients"], first["gradients"], strict=True):
        assert largest(a, b) < 1e-12 < max(abs(x) for values in a.values() for x in values)
    rows = (CASES | EXTENDED)[name].get("rows", 21)
    assert sorted(first["seen"] + second["seen"]) == sorted(one["seen"]) == sorted([*range(rows), *range(rows)])
    assert len(first["sizes"]) == len(second["sizes"]), "as many micro-batches"
    assert first["state"] == second["state"] and first["state"].keys() == one["state"].keys()
    for key, value in one["state"].items():
        torch.testing.assert_close(torch.tensor(value), torch.tensor(first["state"][key]), rtol=1e-11, atol=1e-12)
    for a, b in zip(one["logs"], first["logs"], strict=True):
        assert {k for k in a if "/" in k} == {k for k in b if "/" in k}
        tied = {"rewards/accuracies"} if abs(a.get("rewards/margins", 1.0)) < 1e-12 else set()  # the sign of rounding
        for key in {k for k in a if "/" in k} - tied:
            assert a[key] == pytest.approx(b[key], rel=1e-8, abs=1e-10)
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    for key in {k for k in one["eval"] if "/" in k or k == "eval_loss"}:
        assert one["eval"][key] == pytest.approx(first["eval"][key], rel=1e-8, abs=1e-10)


@pytest.mark.slow
def test_the_trunk_beside_the_wrapped_forward_leaves_each_rank_its_own_gradients(runs: Path) -> None:
    first, second = read(runs / "two" / "beside"), read(runs / "two" / "beside", 1)
    assert largest(first["gradients"][0], second["gradients"][0]) > 1e-3, "no error, and nothing was exchanged"
    assert largest(first["parameters"], second["parameters"]) > 1e-4
    through = [read(runs / "two" / "ddp trees", rank)["gradients"][0] for rank in (0, 1)]
    assert largest(*through) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("wrap", ["ddp", "fsdp2"])
def test_a_resumed_run_writes_the_files_of_one_process(wrap: str, runs: Path) -> None:
    one, two = runs / "one" / "whole" / "saved", runs / "two" / f"{wrap} resumed" / "saved"
    assert {p.name for p in one.iterdir()} == {p.name for p in two.iterdir()}
    assert (one / "assent_state.json").read_text() == (two / "assent_state.json").read_text()
    drop = lambda path: {k: v for k, v in json.loads(path.read_text()).items() if k != "transformers_version"}  # noqa: E731
    assert drop(one / "config.json") == drop(two / "config.json")
    for name in ("model.safetensors", "assent_state.safetensors"):
        a, b = load_file(one / name), load_file(two / name)
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=0, atol=1e-10)
    stopped = read(runs / "two" / f"{wrap} stopped")
    assert len(stopped["gradients"]) == 3 and len(read(runs / "two" / f"{wrap} resumed")["gradients"]) == 3
    assert largest(stopped["parameters"], read(runs / "one" / "whole")["parameters"]) > 1e-3


@pytest.mark.parametrize("count", [0, 2, 5])
def test_first_rows_are_the_scores_of_those_rows(count: int) -> None:
    rows, scorer = token_pairs(5), CausalLMScorer(exact_model())
    with torch.no_grad():
        found = first_rows(scorer.scores(rows), count)
        if not count:
            assert found is None
            return
        expected = scorer.scores(rows[:count])
    for name in ("logp", "length"):
        torch.testing.assert_close(getattr(found.chosen, name), getattr(expected.chosen, name))
    for name in ("row", "index", "logp"):
        torch.testing.assert_close(getattr(found.rejected.tokens, name), getattr(expected.rejected.tokens, name))
    for name in ("pair", "annotator", "p", "weight", "gold"):
        assert torch.equal(getattr(found.labels, name), getattr(expected.labels, name))
    assert torch.equal(found.weight, expected.weight) and torch.equal(found.target, expected.target)


WHOLE = "stage3_gather_16bit_weights_on_model_save"


@pytest.mark.parametrize(
    ("fsdp", "kind", "state", "words"),
    [
        (True, "MULTI_CPU", {}, "fsdp is set and accelerate does not shard here (MULTI_CPU, cpu)"),
        (True, "FSDP", {"fsdp_plugin": {"state_dict_type": "SHARDED_STATE_DICT"}}, "set state_dict_type to FULL"),
        (True, "FSDP", {"fsdp_plugin": {"state_dict_type": "FULL_STATE_DICT"}}, None),
        (None, "DEEPSPEED", {"deepspeed_plugin": {"zero_stage": 3}}, f"zero_optimization.{WHOLE} to true"),
        (None, "DEEPSPEED", {"deepspeed_plugin": {"zero_stage": 2}}, None),
    ],
)
def test_sharding_that_would_not_happen_or_not_be_saved_is_refused(fsdp, kind, state, words) -> None:
    plugins = {name: SimpleNamespace(deepspeed_config={"zero_optimization": {}}, **f) for name, f in state.items()}
    accelerator = SimpleNamespace(
        distributed_type=DistributedType[kind], device=torch.device("cpu"), state=SimpleNamespace(**plugins)
    )
    refused = nullcontext() if words is None else pytest.raises(AssentError, match=re.escape(words))
    with refused:
        assert _check_sharding(SimpleNamespace(fsdp=fsdp), accelerator) is None


def test_evaluation_on_one_rank_drops_nothing(tmp_path: Path) -> None:
    trainer = trainer_of(exact_model(), token_pairs(5), Toy(), tmp_path, eval_rows=token_pairs(5), max_steps=1)
    whole = trainer.evaluate()["eval_loss"]
    trainer.args.per_device_eval_batch_size = 2
    assert trainer.evaluate()["eval_loss"] == pytest.approx(whole, rel=1e-12)


@pytest.mark.slow
def test_accelerate_launch_trains_the_model_of_one_process(tmp_path: Path) -> None:
    model, data = save_small_model(tmp_path / "model"), write_jsonl(tmp_path / "pairs.jsonl", pair_dicts(40))
    words = [
        str(Path(sys.executable).with_name("assent")), "train", "--model", str(model), "--data", str(data),
        "--objective", "lcpo(dpo())", "--learning-rate", "1e-2", "--max-steps", "3", "--use-cpu", "--optim", "sgd",
        "--max-tokens-per-batch", "200",
    ]  # fmt: skip
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]  # fmt: skip
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    env |= {"ACCELERATE_CONFIG_FILE": ""} if "ACCELERATE_CONFIG_FILE" in env else {}
    runs = {"one": [*words, "--per-device-train-batch-size", "8"],
            "two": [*launch, *words, "--per-device-train-batch-size", "4", "--ddp-backend", "gloo"]}  # fmt: skip
    for name, command in runs.items():
        done = subprocess.run(
            [sys.executable, *command, "--output-dir", str(tmp_path / name)], capture_output=True, text=True, env=env,
            timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in runs)
    assert max((one[key] - two[key]).abs().max().item() for key in one) < 1e-6
    start = load_file(model / "model.safetensors")
    assert max((one[key] - start[key]).abs().max().item() for key in start) > 1e-4
    states = [load_file(tmp_path / name / "assent_state.safetensors") for name in runs]
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=0, atol=1e-7)
