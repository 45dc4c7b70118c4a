"""What the reference cache costs: opening, looking up, and a step with it over one of an objective without a reference.

python benchmarks/cache.py [--sequences 1000000] [--steps 40] [--rows 4] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from assent.data.tokens import TokenExample, TokenPair, TokenSequence
from assent.objectives import RunInfo, parse, step_loss
from assent.scoring import engine
from assent.scoring.cache import ReferenceCache, build
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.fingerprint import Fingerprint
from assent.scoring.reference import computing

VOCABULARY, PROMPT, COMPLETION = 4096, 192, 64


def sequence(rng: np.random.Generator, prompt: np.ndarray, completion: int) -> TokenSequence:
    ids = np.concatenate([prompt, rng.integers(4, VOCABULARY, completion)]).astype(np.int32)
    return TokenSequence(ids, len(prompt), np.arange(len(ids)) >= len(prompt))


def cache_at(root: Path, name: str) -> ReferenceCache:
    return ReferenceCache(root, Fingerprint({"schema": 1, "benchmark": name}, name))


def lookups(count: int, root: Path) -> dict[str, float]:
    """A cache of ``count`` sequences of 8 + 16 tokens: building, opening, opening with hashes, reading; processor time."""
    rng = np.random.default_rng(0)
    rows = [TokenExample(sequence(rng, np.arange(4, 12), 16), 1.0, None, i) for i in range(count)]
    cache = cache_at(root, "lookups")
    start = time.process_time()
    built = build(rows, lambda s: [torch.zeros(16)] * len(s), cache, tokens_per_batch=1 << 18)
    built_in = time.process_time() - start
    found = {
        "sequences": count,
        "write_s": built_in,
        "disk_mb": sum(p.stat().st_size for p in cache.folder.iterdir()) / 1e6,
    }
    for name, always in (("open_s", False), ("open_and_verify_s", True)):
        start = time.process_time()
        cache.open(always=always)
        found[name] = time.process_time() - start
    found["index_mb"] = built.reference.keys.nbytes / 1e6
    wanted = [rows[i].sequence for i in rng.permutation(count)[:10_000]]
    times = []
    for first in range(0, len(wanted), 1000):
        start = time.process_time()
        built.reference.keys.gather(built.reference.parts, wanted[first : first + 1000], "missing")
        times.append(time.process_time() - start)
    return found | {"lookup_ms_per_1000": 1e3 * statistics.median(times)}


def steps(count: int, rows: int, root: Path) -> dict[str, float]:
    """Processor time of forward and backward, dpo() with the cache and simpo() in turn on the same rows."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32_000, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=1024,
    )  # fmt: skip
    model, rng = LlamaForCausalLM(config), np.random.default_rng(1)
    trees = engine.prepare(model) == ""
    data = []
    for i in range(4 * rows):
        prompt = rng.integers(4, VOCABULARY, PROMPT)
        sides = [sequence(rng, prompt, COMPLETION) for _ in range(2)]
        data.append(TokenPair(*sides, 1.0, 1.0, ((0, 1.0, 1.0, False),), {}, i))
    built = build(data, computing(model, trees=trees), cache_at(root, "steps"), together=trees)
    times: dict[str, list[float]] = {"dpo()": [], "simpo()": []}
    for number in range(count + 2):
        part = data[rows * (number % 4) : rows * (number % 4) + rows]
        order = list(times) if number % 2 else list(times)[::-1]
        for text in order:
            spent = step(text, model, built.reference, trees, part)
            if number >= 2:  # the first ones warm up
                times[text].append(spent)
    with_cache, without = (statistics.median(t) for t in times.values())
    reading = []
    for _ in range(20):
        start = time.perf_counter()
        built.reference.keys.gather(built.reference.parts, [s for r in data for s in (r.chosen, r.rejected)], "missing")
        reading.append((time.perf_counter() - start) / 4)
    return {
        "step_s_cached": with_cache, "step_s_reference_free": without, "step_ratio": with_cache / without,
        "lookup_share_of_step": statistics.median(reading) / with_cache,
    }  # fmt: skip


def step(text: str, model: Any, reference: Any, trees: bool, rows: list[TokenPair]) -> float:
    """Processor seconds of one forward and backward."""
    objective = parse(text)
    scorer = CausalLMScorer(model, reference if text == "dpo()" else None, 0, trees)
    state = objective.init(RunInfo(("*",)))
    start = time.process_time()
    step_loss(objective, scorer.scores(rows, objective.needs), state).backward()
    model.zero_grad(set_to_none=True)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {"schema": 1, **steps(given.steps, given.rows, Path(folder)), **lookups(given.sequences, Path(folder))}
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if given.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:<24} {value:,.4g}")


if __name__ == "__main__":
    main()
