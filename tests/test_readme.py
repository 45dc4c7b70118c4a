"""The README's recipe and its Python, run as they stand on a tiny model; the links lead somewhere."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path

import pytest

from assent.cli import main
from tiny_models import save_tiny_llama

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def _rows(path: Path) -> None:
    draw = random.Random(0)
    colours, rows = ["red", "blue", "green", "grey"], []
    for i in range(80):
        good, bad = f" {draw.choice(colours)} is one", draw.choice([" no", " why?", " never"])
        if draw.random() < 0.2:
            good, bad = bad, good
        who = draw.choice(["anna", "ben"])
        rows.append({"prompt": f"{i % 60}: name a colour", "chosen": good, "rejected": bad, "annotator": who})
    path.write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prefs.jsonl and my-model, as the README supposes."""
    _rows(tmp_path / "prefs.jsonl")
    save_tiny_llama(tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_recipe_runs_as_it_stands(here: Path) -> None:
    recipe = next(block for block in _blocks("") if "assent inspect" in block)
    lines = recipe.replace("\\\n", " ").replace("Qwen/Qwen2.5-0.5B-Instruct", "my-model").splitlines()
    assert [shlex.split(line)[1] for line in lines] == ["inspect", "audit", "train", "report"]
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] == "train":
            words += ["--max-steps", "2"]
        try:
            main(words)
        except SystemExit as stopped:
            assert not stopped.code, line
    assert (here / "aligned" / "adapter_model.safetensors").is_file()
    assert (here / "audit" / "audit.parquet").is_file()
    assert "<html" in (here / "report.html").read_text(encoding="utf-8")


def test_the_python_runs_as_it_stands(here: Path) -> None:
    (code,) = _blocks("python")
    exec(compile(code.replace("learning_rate=1e-6", "learning_rate=1e-6, max_steps=1"), "README.md", "exec"), {})
    assert (here / "aligned" / "model.safetensors").is_file()


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) >= 8
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing
