"""Exact gradients of pairs: the forms' cost side by side, their agreement, and whether foretold signs come true.

python benchmarks/entanglement.py [--pairs 256] [--beside 8] [--threads 2] [--stepped 64] [--seed 0] [--json]

A Llama of 4.5M parameters in float32, pairs of 128-token prompts and completions in a language of noisy successors, the
rejected side with half of its tokens from elsewhere; the policy has learned it for a few steps and the reference has not.
Forms take turns on ``--beside`` pairs, in processor seconds, which a busy machine disturbs least; then the default form runs
on all of them.  ``--stepped`` pairs (0: none) are stepped on for real in float64, one at a time and as one batch.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from typing import Any

import numpy as np
import torch

from assent import parse
from assent.data.tokens import TokenPair, TokenSequence
from assent.diagnostics.gradients import FORMS, entanglement
from assent.diagnostics.gradients_steps import batch_changes, fitting_rate, measured_changes, signs
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.reference import SecondModel

VOCABULARY, PROMPT, COMPLETION = 4096, 128, 128
LEARNED = 20
"""Steps on eight pairs each before anything is measured."""


def llama(seed: int) -> Any:
    """4,450,752 parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=192, intermediate_size=576, num_hidden_layers=6, num_attention_heads=6,
        num_key_value_heads=6, max_position_embeddings=512,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def pairs(count: int, seed: int) -> list[TokenPair]:
    rng = np.random.default_rng(seed)

    def sequence(ids: np.ndarray) -> TokenSequence:
        return TokenSequence(ids.astype(np.int32), PROMPT, np.arange(len(ids)) >= PROMPT)

    rows = []
    for i in range(count):
        ids = np.empty(PROMPT + COMPLETION, dtype=np.int64)
        ids[0] = rng.integers(VOCABULARY)
        for t in range(1, len(ids)):
            ids[t] = (5 * ids[t - 1] + 1) % VOCABULARY if rng.random() < 0.8 else rng.integers(VOCABULARY)
        worse = ids.copy()
        swap = np.flatnonzero(rng.random(COMPLETION) < 0.5) + PROMPT
        worse[swap] = rng.integers(VOCABULARY, size=len(swap))
        rows.append(TokenPair(sequence(ids), sequence(worse), 1.0, 1.0, (), {}, i))
    return rows


def scorer_of(rows: list[TokenPair], seed: int) -> CausalLMScorer:
    """A policy that has learned for a few steps beside the reference that it was."""
    model = llama(seed)
    scorer = CausalLMScorer(model, SecondModel(copy.deepcopy(model).eval()))
    dpo, adam = parse("dpo() + 0.02*sft()"), torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(LEARNED):
        adam.zero_grad()
        batch = [rows[(8 * step + i) % len(rows)] for i in range(8)]
        dpo(scorer.scores(batch, dpo.needs)).mean().backward()
        adam.step()
    return scorer


def beside(scorer: CausalLMScorer, rows: list[TokenPair]) -> dict[str, dict[str, float]]:
    """Processor seconds a sample of each form, and its largest difference from the loop relative to the norms."""
    found: dict[str, Any] = {}
    scorer.model.eval()
    for form in ("loop", "vmap", "exact", "last_layer"):
        FORMS[form](scorer.model, rows[:1], 0)
        start = time.process_time()
        told = FORMS[form](scorer.model, rows, 0).products
        found[form] = {"seconds": (time.process_time() - start) / (2 * len(rows))}
        true = told if form == "loop" else true
        if form != "last_layer":
            off = (told.inner - true.inner).abs() / (true.chosen_sq * true.rejected_sq).sqrt()
            found[form]["off"] = float(off.max())
    return found


def whole(scorer: CausalLMScorer, rows: list[TokenPair]) -> dict[str, Any]:
    """The inner products of all pairs by the default form, and all of ``entanglement``, which also scores them for DPO."""
    scorer.model.eval()
    calls = {
        "products": lambda: FORMS["exact"](scorer.model, rows, 0),
        "entanglement": lambda: entanglement(scorer, rows, parse("dpo()")),
    }
    found: dict[str, Any] = {"pairs": len(rows)}
    for name, call in calls.items():
        clock, processor = time.perf_counter(), time.process_time()
        told = call()
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        found[name] = {"processor": processor, "clock": clock}
        print(
            f"{name} of {len(rows)} pairs: {processor:.1f} s of processor, {clock:.1f} s by the clock", file=sys.stderr
        )
    found["summary"] = told.summary()
    print(", ".join(f"{name} {value:.3g}" for name, value in found["summary"].items()), file=sys.stderr)
    return found


def stepped(scorer: CausalLMScorer, rows: list[TokenPair]) -> dict[str, Any]:
    """Signs of both changes, foretold against measured."""
    dpo, model = parse("dpo()"), copy.deepcopy(scorer.model).double()
    scorer = CausalLMScorer(model, SecondModel(scorer.reference.model.double()))
    alone, batch = entanglement(scorer, rows, dpo), batch_changes(scorer, rows, dpo)
    rate = fitting_rate(scorer, rows[:4], dpo, tuple(change[:4] for change in alone.changes()))
    found = {}
    for name, told in (("alone", alone.changes(rate)), ("batch", tuple(rate * change for change in batch))):
        measured = measured_changes(scorer, rows, dpo, rate=rate, together=name == "batch")
        found[name] = {"rate": rate, **vars(signs(measured, told))}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--beside", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stepped", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = pairs(max(given.pairs, given.stepped), given.seed)
    scorer = scorer_of(rows, given.seed)
    found: dict[str, Any] = {"forms": beside(scorer, rows[: given.beside])}
    for form, row in found["forms"].items():
        off = f", off by {row['off']:.1e}" if "off" in row else ""
        print(f"{form:12} {row['seconds']:.4f} s of processor a sample{off}", file=sys.stderr)
    found["all"] = whole(scorer, rows[: given.pairs])
    if given.stepped:
        found["stepped"] = stepped(scorer, rows[: given.stepped])
        for name, row in found["stepped"].items():
            print(
                f"{name}: rate {row['rate']:g}, {row['right']:.2%} of {row['counted']} signs right, {row['left_out']:.2%} "
                f"left out, first-order error {row['error']:.2%}", file=sys.stderr,
            )  # fmt: skip
    if given.json:
        print(json.dumps({"schema": 1, **found}))


if __name__ == "__main__":
    main()
