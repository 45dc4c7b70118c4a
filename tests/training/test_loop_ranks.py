"""Two ranks of the sampling loop equal one: data on disk, values of the round's beginning, and weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from small_run import count_a, save_model_and_prompts
from test_distributed import free_ports

from assent import train

HERE = Path(__file__).parent
QUICK = {
    "rounds": 2, "samples": 3, "max_new_tokens": 6, "learning_rate": 3e-2, "max_length": 64, "disable_tqdm": True,
    "use_cpu": True, "warmup_steps": 0, "diagnostics_steps": 0, "dtype": "float64",
}  # fmt: skip
RANK = """
import json, sys
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from pathlib import Path
from test_loop_ranks import run
run(Path(sys.argv[1]), Path(sys.argv[2]), *json.loads(sys.argv[3]), per_device_train_batch_size=2, ddp_backend="gloo")
torch.distributed.destroy_process_group()
"""
CASES = [
    ("grpo(beta=0.01)", "online"),
    ("dpo()", "iterative"),
    ("dpo()", "online"),
    ("grpo(beta=0.01)", "iterative"),
    ("ppo(beta=0.01)", "online"),
    ("ppo(beta=0.01)", "iterative"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model_and_prompts(tmp_path_factory.mktemp("files"))


def run(files: Path, out: Path, objective: str, source: str, **arguments):
    asked = QUICK | {"source": source, "judge": count_a, "per_device_train_batch_size": 4} | arguments
    return train(str(files / "model"), str(files / "prompts.jsonl"), objective, out, **asked)


def two_ranks(script: Path, files: Path, out: Path, *case: str) -> None:
    """The same run on two ranks; each takes half of a step's rows."""
    script.write_text(RANK.format(here=str(HERE)))
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_ports(1)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(files), str(out), json.dumps(case)]
    started = [
        subprocess.Popen(
            command, env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        for process in started:
            _, err = process.communicate(timeout=300)
            assert process.returncode == 0, err.decode()[-3000:]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def same_data(one: Path, two: Path, number: int) -> None:
    """Files of a round: byte for byte but for log-probabilities of weights that differ by rounding."""
    a, b = (place / "rounds" / f"round-00{number}" for place in (one, two))
    for name in ("round.json", "pairs.parquet"):
        left, right = ((place / name).read_bytes() for place in (a, b))
        assert left.replace(str(one).encode(), b"") == right.replace(str(two).encode(), b""), name
    if number == 0:
        assert (a / "samples.parquet").read_bytes() == (b / "samples.parquet").read_bytes()
    left, right = (pq.read_table(place / "samples.parquet") for place in (a, b))
    exact = [name for name in left.column_names if name not in ("logp", "drawn_logp")]
    assert left.select(exact).equals(right.select(exact)) and len(left) == 24
    for name in ("logp", "drawn_logp"):
        values = [np.concatenate(table[name].to_pylist()) for table in (left, right)]
        np.testing.assert_allclose(*values, rtol=0, atol=1e-10)


def same_weights(one: Path, two: Path, name: str) -> None:
    a, b = (load_file(str(place / name)) for place in (one, two))
    assert a.keys() == b.keys() and len(a) > 0
    assert max((a[key].double() - b[key].double()).abs().max().item() for key in a) < 1e-10


@pytest.mark.parametrize(
    ("objective", "source"),
    [pytest.param(*case, marks=[pytest.mark.slow] if number else []) for number, case in enumerate(CASES)],
)
def test_two_ranks_equal_one(objective: str, source: str, files: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    found = run(files, one, objective, source)
    two_ranks(tmp_path / "run.py", files, two, objective, source)
    for number in range(2):
        same_data(one, two, number)
    start = load_file(str(files / "model" / "model.safetensors"))
    last = load_file(str(one / "model.safetensors"))
    assert max((last[key] - start[key]).abs().max().item() for key in start) > 1e-2 and found.steps > 0
    names = ["model.safetensors"]
    if objective.startswith("ppo"):
        names.append("assent_heads.safetensors")
        if source == "online":
            same_weights(one, two, "rounds/round-001/old_value.safetensors")
            values = load_file(str(one / "rounds" / "round-001" / "old_value.safetensors"))["value"]
            assert values.abs().max() > 0, "the head has learned before its values are kept"
    for name in names:
        same_weights(one, two, name)
    assert torch.isfinite(last["model.embed_tokens.weight"]).all()
