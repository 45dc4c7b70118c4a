"""Completions drawn from a policy now, and what they say of it: diversity, entropy, and KL to the reference by estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from assent.data.tokens import TokenExample
from assent.diagnostics.figures import sample_figures
from assent.diagnostics.kl import ESTIMATORS, full_vocabulary, sequence_kl
from assent.objectives.base import Need
from assent.objectives.parts import REFERENCE
from assent.sampling import ModelGenerator, SamplingSettings, Texts
from assent.scores import Scores
from assent.scoring.batch import collate
from assent.scoring.forward import device_of, evaluating, kept_logits

ROWS = 128
"""Places whose two distributions are compared in float64 at a time."""


def sampled(
    scorer: Any, texts: Texts, prompts: Sequence[np.ndarray], settings: SamplingSettings, batch_size: int = 8
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """One completion of each prompt (ids): records (prompt, completion, cut, nll in nats per token), and their figures.

    KL in nats per sequence with its standard error over completions, where the scorer has a live reference; k1 to k3 and the
    whole vocabulary's are of the policy itself, so the completions must be drawn at temperature 1 from all of it.
    """
    made = ModelGenerator(scorer.model, texts.end).generate(prompts, 1, settings)
    decode = texts.tokenizer.decode
    records = [
        {
            "prompt": decode(ids.tolist(), skip_special_tokens=True),
            "completion": decode([i for i in one.ids.tolist() if i not in texts.end], skip_special_tokens=True),
            "cut": not one.ended,
            "nll": float(-one.logp.mean()),
        }
        for ids, one in zip(prompts, made, strict=True)
    ]
    values = sample_figures(
        [one.ids.tolist() for one in made],
        float(-np.concatenate([one.logp for one in made]).mean()),
        sum(not one.ended for one in made) / len(made),
    )
    rows = [
        TokenExample(texts.sequence(ids, one), 1.0, None, i)
        for i, (ids, one) in enumerate(zip(prompts, made, strict=True))
    ]
    with evaluating(scorer.model), torch.no_grad():
        if "entropy" in scorer.provides:
            values["samples/entropy"] = _entropy(scorer, rows, batch_size)
        if settings.plain and scorer.reference is not None and scorer.reference.has_logits:
            values |= _kl(scorer, rows, batch_size)
    return records, values


def _entropy(scorer: Any, rows: Sequence[TokenExample], batch_size: int) -> float:
    """Mean entropy of the next token at every token of the completions, nats."""
    parts = [s.tokens.entropy for s in _scored(scorer, rows, {Need("entropy")}, batch_size)]
    return float(torch.cat(parts).mean())


def _kl(scorer: Any, rows: Sequence[TokenExample], batch_size: int) -> dict[str, float]:
    ratio, row, full = [], [], []
    for start, scores in enumerate(_scored(scorer, rows, {REFERENCE}, batch_size)):
        ratio.append((scores.tokens.logp - scores.tokens.ref_logp).double().cpu())
        row.append(scores.tokens.row.cpu() + start * batch_size)
    for start in range(0, len(rows), batch_size):
        batch = collate(
            [r.sequence for r in rows[start : start + batch_size]], scorer.pad_token_id, device_of(scorer.model)
        )
        logits = kept_logits(scorer.model, batch)[batch.flat]
        with scorer.reference.using(scorer.model) as reference:
            others = kept_logits(reference, batch)[batch.flat]
        full += [full_vocabulary(*rows).cpu() for rows in zip(logits.split(ROWS), others.split(ROWS), strict=True)]
    place, ratios = torch.cat(row), torch.cat(ratio)
    per_token = {name: estimator(ratios) for name, estimator in ESTIMATORS.items()} | {"full": torch.cat(full)}
    found: dict[str, float] = {}
    for name, values in per_token.items():
        found[f"kl/{name}"], found[f"kl/{name}_se"] = sequence_kl(values, place, len(rows))
    return found


def _scored(scorer: Any, rows: Sequence[TokenExample], needs: set[Need], size: int) -> list[Scores]:
    return [scorer.scores(rows[start : start + size], needs) for start in range(0, len(rows), size)]
