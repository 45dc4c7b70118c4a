"""Win rates after each round: the record of `assent eval`, in the metrics log, never drawn twice, and nothing is disturbed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from small_run import count_a, largest_difference, save_model_and_prompts, write_jsonl

from assent import AssentError, train
from assent.evaluation.win_rate import curve
from assent.judges import Judge, ScalarJudge
from assent.judges.win_rates import WinRate
from assent.sampling import SamplingSettings, rounds
from assent.training import compare

QUICK = {
    "rounds": 2, "samples": 3, "max_new_tokens": 6, "learning_rate": 3e-2, "per_device_train_batch_size": 4, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "diagnostics_steps": 0,
}  # fmt: skip
JUDGE = ScalarJudge(count_a, "a", temperature=0.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_model_and_prompts(tmp_path_factory.mktemp("files"))
    aside = ["the cat", "big fish", "a bird then", "the cat", "now", "red dog sees"]
    write_jsonl(folder / "aside.jsonl", [{"prompt": prompt} for prompt in aside])
    return folder


def run(files: Path, out: Path, **arguments):
    asked = QUICK | {"source": "iterative", "judge": JUDGE, "eval_prompts": str(files / "aside.jsonl")} | arguments
    asked = {name: value for name, value in asked.items() if value is not None}
    return train(str(files / "model"), str(files / "prompts.jsonl"), "dpo()", out, **asked)


def kept(out: Path, number: int) -> dict:
    return json.loads((out / "rounds" / f"round-00{number}" / "win_rate.json").read_text())


def logged(out: Path) -> list[dict]:
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    return [entry for entry in history if "win_rate" in entry]


def test_rounds_are_compared_with_the_start(files: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    found = run(files, out)
    said = capsys.readouterr().err
    assert "eval_prompts: 1 are repeated and compared once" in said and "round-001: win rate over" in said
    rates = [WinRate.from_json(kept(out, number)) for number in range(2)]
    again = curve(out, str(files / "aside.jsonl"), JUDGE, sampling=SamplingSettings(max_new_tokens=6))
    assert list(again.values()) == rates, "as assent eval --rounds has them"
    assert rates[0].prompts == 5 and [kept(out, number)["round"] for number in range(2)] == [1, 2]
    assert found.evaluation == pytest.approx(rates[1].metrics()) and found.evaluation["win_rate"] == rates[1].win_rate
    places = (out / "rounds" / "round-000" / "policy", out)
    for number, place in enumerate(places):
        (entry,) = logged(place)
        assert (entry["round"], entry["win_rate"]) == (number + 1, rates[number].win_rate)
    monkeypatch.setattr(compare, "load", lambda *_: pytest.fail("a comparison that is there is not made again"))
    monkeypatch.setattr("assent.training.iterate.load", lambda *_: pytest.fail("nor are the samples of a round"))
    assert run(files, out, resume=True).evaluation == found.evaluation and len(logged(out)) == 1
    with pytest.raises(AssentError, match=r"was made with sampling .* choose another directory"):
        run(files, out, resume=True, temperature=0.5)
    with pytest.raises(AssentError, match=r"win_rate\.json was made with eval_prompts"):
        run(files, out, resume=True, eval_prompts=str(files / "prompts.jsonl"))


def test_one_long_run_is_compared_between_its_rounds(files: Path, tmp_path: Path, capsys) -> None:
    """An adapter with dropout: whatever the comparison drew from the global generator would show in the weights."""
    arguments = {"source": "online", "rounds": 3, "save_strategy": "steps", "save_steps": 1, "lora_r": 2,
                 "lora_dropout": 0.2}  # fmt: skip
    plain = run(files, tmp_path / "plain", eval_prompts=None, **arguments)
    found = run(files, tmp_path / "out", **arguments)
    assert largest_difference(plain.model, found.model) == 0.0
    out, before = tmp_path / "out", [kept(tmp_path / "out", number) for number in range(3)]
    assert [(e["step"], e["round"]) for e in logged(out)] == [(2, 1), (4, 2), (6, 3)]
    assert [e["win_rate"] for e in logged(out)] == [b["win_rate"] for b in before]
    assert found.evaluation["win_rate"] == before[2]["win_rate"]
    # as if killed when the second round had ended and before it was compared
    for step in (5, 6):
        shutil.rmtree(out / f"checkpoint-{step}")
    for number in (1, 2):
        (out / "rounds" / f"round-00{number}" / "win_rate.json").unlink()
    again = run(files, out, resume=True, **arguments)
    assert largest_difference(found.model, again.model) == 0.0
    assert [kept(out, number) for number in range(3)] == before
    assert [(e["step"], e["round"]) for e in logged(out)] == [(2, 1), (4, 2), (6, 3)]
    run(files, tmp_path / "plain", resume=True, **arguments)
    assert "rounds 1, 2 are not compared" in capsys.readouterr().err and len(logged(tmp_path / "plain")) == 1


def test_a_model_in_memory_is_compared_as_it_was_given(files: Path, tmp_path: Path) -> None:
    from small_run import small_model, small_tokenizer

    same = {"learning_rate": 0.0, "rounds": 1, "source": "online", "eval_prompts": [{"prompt": "a cat"}]}
    asked = QUICK | same | {"judge": JUDGE, "tokenizer": small_tokenizer()}
    found = train(small_model(), str(files / "prompts.jsonl"), "dpo()", tmp_path / "out", **asked)
    assert kept(tmp_path / "out", 0)["ties"] == 1 and found.evaluation["win_rate"] == 0.5


class Silent(Judge):
    name, scored = "silent", False
    quiet = 0

    def prefer(self, prompts, a, b):
        gap = [x.count("a") - y.count("a") for x, y in zip(a, b, strict=True)]
        return [float("nan") if len(prompts) == 5 else 0.5 + 0.5 * (g > 0) - 0.5 * (g < 0) for g in gap]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "file", "judge": None}, "eval_prompts is read by --source iterative or online|rounds is read"),
        ({"judge": None, "logged": "rejected", "samples": 1}, "eval_prompts is not read with logged 'rejected'"),
        ({"eval_prompts": [{"text": "x"}]}, "column 'prompt': missing"),
        ({"judge": Silent(), "rounds": 1}, "the judge 'silent' answered none of 5 comparisons"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: dict, words: str, files: Path, tmp_path: Path) -> None:
    with pytest.raises(AssentError, match=words):
        run(files, tmp_path / "out", **arguments)


RANK = """
import os, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from test_compare import JUDGE, run
from assent.sampling import ModelGenerator
files, out, source = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
asked, generate = [], ModelGenerator.generate
ModelGenerator.generate = lambda *given: asked.append(1) or generate(*given)
several, rank = "RANK" in os.environ, os.environ.get("RANK", "0")
backend = {{"ddp_backend": "gloo"}} if several else {{}}
found = run(files, out, source=source, dtype="float64", per_device_train_batch_size=int(sys.argv[4]), **backend)
(out / f"rank-{{rank}}.txt").write_text(f"{{len(asked)}} {{found.evaluation['win_rate']}}")
if several:
    torch.distributed.destroy_process_group()
"""


def launch(script: Path, ranks: int, *words: str) -> None:
    from test_distributed import free_ports

    port, env = str(free_ports(1)), dict(os.environ)
    started = []
    for rank in range(ranks):
        if ranks > 1:
            env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_PORT": port,
                    "MASTER_ADDR": "127.0.0.1"}  # fmt: skip
        command = [sys.executable, str(script), *words, str(4 // ranks)]
        started.append(subprocess.Popen(command, env=dict(env), stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=300)[1] for process in started]
    assert all(process.returncode == 0 for process in started), errors


@pytest.mark.slow
@pytest.mark.parametrize("source", ["iterative", "online"])
def test_two_ranks_sample_once_and_end_alike(source: str, files: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(RANK.format(here=str(Path(__file__).parent)))
    one, two = tmp_path / "one", tmp_path / "two"
    launch(script, 1, str(files), str(one), source)
    launch(script, 2, str(files), str(two), source)
    for number in range(2):
        a, b = (rounds.read(place / "rounds" / f"round-00{number}") for place in (one, two))
        assert [g.texts for g in a.groups] == [g.texts for g in b.groups] and a.about == b.about
    rate = kept(one, 1)["win_rate"]
    assert kept(two, 1)["win_rate"] == rate
    # two rounds, the start and two comparisons on the first rank; the second draws nothing
    assert [(place / f"rank-{rank}.txt").read_text() for place, rank in ((one, 0), (two, 0), (two, 1))] == [
        f"5 {rate}", f"5 {rate}", f"0 {rate}"
    ]  # fmt: skip
    a, b = (load_file(place / "model.safetensors") for place in (one, two))
    assert max((a[name] - b[name]).abs().max().item() for name in a) < 1e-10
