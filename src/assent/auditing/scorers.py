"""Where the logits of an audit come from: ``text``, ``lm:MODEL``, ``policy:POLICY,REFERENCE``, ``logits:COLUMN``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from assent.auditing.table import LabelTable
from assent.errors import AssentError, did_you_mean

KINDS = ("text", "lm", "policy", "logits")
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class ScorerName:
    """A parsed ``--scorer``: its kind and what follows the colon."""

    kind: Literal["text", "lm", "policy", "logits"]
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.kind + (":" + ",".join(self.arguments) if self.arguments else "")


def parse_scorer(text: str) -> ScorerName:
    """``text | lm:MODEL | policy:POLICY,REFERENCE | logits:COLUMN``; AssentError for anything else."""
    kind, _, rest = text.partition(":")
    arguments = tuple(part.strip() for part in rest.split(",")) if rest else ()
    wanted = {"text": 0, "lm": 1, "policy": 2, "logits": 1}
    if kind not in wanted:
        raise AssentError(f"--scorer {text}: no such scorer; {did_you_mean(kind, KINDS)}")
    if len(arguments) != wanted[kind] or not all(arguments):
        forms = {
            "text": "text", "lm": "lm:MODEL", "policy": "policy:POLICY,REFERENCE", "logits": "logits:COLUMN",
        }  # fmt: skip
        raise AssentError(f"--scorer {text}: expected {forms[kind]}")
    return ScorerName(kind, arguments)  # type: ignore[arg-type]


def model_logits(
    table: LabelTable, records: Any, name: ScorerName, *, batch_tokens: int = 8192, progress: Progress | None = None
) -> np.ndarray:
    """Logits [P] of a language model for the stored order, in nats, temperature still to be fitted.

    lm: difference of mean token log-probabilities (a sum would be length alone); policy: difference of the
    log-ratios policy / reference, summed over tokens, which is DPO's margin over beta.
    Raises AssentError for models that cannot be loaded and for pairs that do not fit the model.
    """
    from assent.scoring.loading import check_vocabulary, load_policy, load_reference, load_tokenizer

    loaded = load_policy(name.arguments[0])
    tokenizer = load_tokenizer(name.arguments[0])
    check_vocabulary(loaded.model, tokenizer)
    reference = load_reference(name.arguments[1]) if name.kind == "policy" else None
    rows = _tokens(table, records, loaded.model, tokenizer)
    return _scored(rows, loaded.model, reference, tokenizer, batch_tokens, progress)


def _tokens(table: LabelTable, records: Any, model: Any, tokenizer: Any) -> list[Any]:
    from assent.data import tokenise

    longest = getattr(model.config, "max_position_embeddings", None)
    done = tokenise(records, tokenizer, max_length=longest)
    rows = list(done.rows)
    if len(rows) != table.pairs:
        raise AssentError(
            f"{table.pairs - len(rows)} of {table.pairs} pairs do not fit the model ({longest} tokens); leave them out "
            "of the file, or use --scorer text"
        )
    return rows


def _scored(rows: list[Any], model: Any, reference: Any, tokenizer: Any, budget: int, progress: Progress | None):
    import torch

    from assent.objectives.base import Need
    from assent.scoring.causal_lm import CausalLMScorer
    from assent.scoring.engine import prepare_all
    from assent.scoring.forward import evaluating

    trees = not prepare_all(model, None if reference is None else reference.model)
    scorer = CausalLMScorer(model, reference, tokenizer.pad_token_id or 0, trees)
    needs = {Need("reference")} if reference is not None else set()
    size = [max(len(r.chosen.ids), len(r.rejected.ids)) for r in rows]
    order = np.argsort(size, kind="stable")
    out = np.zeros(len(rows))
    start = 0
    with evaluating(model), torch.no_grad():
        while start < len(rows):
            end = start + 1
            while end < len(rows) and 2 * (end + 1 - start) * size[order[end]] <= budget:
                end += 1
            part = order[start:end]
            scores = scorer.scores([rows[i] for i in part], needs)
            sides = [
                (s.logp - s.ref_logp) if reference is not None else s.logp / s.length.clamp(min=1)
                for s in (scores.chosen, scores.rejected)
            ]
            out[part] = (sides[0] - sides[1]).double().cpu().numpy()
            start = end
            if progress:
                progress("scoring with the model", start / len(rows))
    return out
