"""What is removed from caches, and builders that are killed or write at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from caches import assert_holds, cache_at, numbers
from tiny import pair_rows

from assent.errors import AssentError
from assent.scoring.cache import build
from assent.scoring.upkeep import clean, survey

HERE = Path(__file__).parent


def age(path, days):
    then = time.time() - 86400 * days
    os.utime(path, (then, then))


def test_old_models_one_model_and_abandoned_files_are_removed(tmp_path):
    old, new = cache_at(tmp_path, "old"), cache_at(tmp_path, "new")
    for cache in (old, new):
        build(pair_rows(2), numbers, cache)
    for path in (*old.folder.iterdir(), old.folder):
        age(path, 10)
    left, fresh = new.folder / ".x.safetensors.0.part", new.folder / ".y.safetensors.0.part"
    for path in (left, fresh):
        path.write_bytes(b"half")
    age(left, 1)
    assert len(new.open().keys) == 4
    assert clean(tmp_path).to_json() == {"models": 0, "files": 1, "bytes": 4}
    assert not left.exists() and fresh.exists() and old.folder.exists()
    kept = {one.name: one for one in survey(tmp_path)}
    assert kept["old"].idle_days == pytest.approx(10, abs=0.01) and kept["new"].idle_days < 0.01
    assert clean(tmp_path, older_than=9.0).models == 1 and not old.folder.exists()
    assert clean(tmp_path, older_than=9.0, key=new.fingerprint.key[:6]).models == 0
    with pytest.raises(AssentError, match=r"0 models of .* expected one"):
        clean(tmp_path, key="zz")
    assert clean(tmp_path, key=new.fingerprint.key[:6]).models == 1 and survey(tmp_path) == []
    assert survey(tmp_path / "nowhere") == [] and clean(tmp_path / "nowhere").models == 0


def test_reading_an_old_model_makes_it_young(tmp_path):
    cache = cache_at(tmp_path)
    build(pair_rows(2), numbers, cache)
    for path in (*cache.folder.iterdir(), cache.folder):
        age(path, 10)
    cache.open()
    assert clean(tmp_path, older_than=1.0).models == 0


KILLED = """
import sys, time
sys.path[:0] = [{here!r}]
from caches import cache_at, numbers
from tiny import pair_rows
from assent.scoring.cache import build

def slowly(sequences):
    time.sleep(0.004)
    return numbers(sequences)

print("ready", flush=True)
build(pair_rows(300, seed=3), slowly, cache_at({root!r}), tokens_per_batch=40, flush_tokens=60)
print("done", flush=True)
"""


def start(root):
    code = KILLED.format(here=str(HERE), root=str(root))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_builders_killed_at_random_points_lose_nothing(tmp_path):
    rows, draw, done, kills = pair_rows(300, seed=3), random.Random(0), 0, 0
    for _ in range(8):
        process = start(tmp_path)
        time.sleep(draw.uniform(0.02, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        kills += process.returncode == -signal.SIGKILL
        found = len(cache_at(tmp_path).open(always=True).keys)  # whole files only, and never fewer than before
        assert found >= done
        done = found
    assert kills >= 4 and done > 0
    built = build(rows, numbers, cache_at(tmp_path))
    assert built.found >= done and built.found + built.computed == 600
    assert_holds(built.reference, rows)


@pytest.mark.slow
def test_several_writers_at_once_agree(tmp_path):
    processes = [start(tmp_path) for _ in range(3)]
    for process in processes:
        assert process.stdout.read() == "done\n" and process.wait() == 0
        process.stdout.close()
    assert_holds(cache_at(tmp_path).open(always=True), pair_rows(300, seed=3))
    assert not list(tmp_path.rglob("*.part"))
