"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
# spelled in pieces, so that this file does not name what it forbids
HOSTS = re.compile("|".join(["py" + r"pi\.org", "python" + "hosted", "npm" + r"js\.(?:org|com)", r"debian\." + "org"]))
PATHS = re.compile(r"(?<![\w./~])/(?:work|farm|root|home)/\w")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_keep_their_size(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    limit = 150 if path.parent.name == "objectives" else 200 if path.parent.name == "papers" else 400
    assert text.count("\n") <= limit, f"{path.name} has more than {limit} lines: the design is asking for another room"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines; expected at most 60"


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines()]


def test_no_registry_host_and_no_path_of_a_machine() -> None:
    for path in _tracked():
        if path.is_file() and path.stat().st_size < 2_000_000 and path.suffix not in {".png", ".parquet"}:
            text = path.read_text(encoding="utf-8")
            assert not HOSTS.search(text), f"{path} names a package registry's host"
            assert not PATHS.search(text), f"{path} carries a path of a machine"


def test_nothing_is_left_for_later() -> None:
    marks = ["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"]
    for path in _tracked():
        if path.suffix == ".py" and path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not [mark for mark in marks if mark in text], f"{path} leaves something for later"


def test_importing_assent_loads_torch_and_nothing_heavier() -> None:
    code = (
        "import sys, json, torch; before = set(sys.modules); import assent; "
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"transformers", "accelerate", "peft", "datasets", "scipy", "sklearn", "pandas", "pyarrow", "rich", "typer"}
    assert not heavy & set(json.loads(out))


def test_tests_assert_something_visible() -> None:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                text = ast.unparse(node)
                assert re.search(r"\bassert\b|assert_|raises|warns|gradcheck", text), f"{path}: {node.name}"
