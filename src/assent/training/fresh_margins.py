"""Cross-fitted reliabilities without folds, in runs that make their own data.

A round's pairs are new to the policy that drew them, so its margins on them are held out before it trains on them.  They are
kept, and reliabilities are estimated anew at the beginning of every round from the margins and labels of all rounds so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.objectives import Objective
from assent.robust.lcpo import LCPO
from assent.scores import Labels
from assent.training.batches import rows_only
from assent.training.checkpoints import write_aside
from assent.training.collect import folder_of
from assent.training.crossfit import MARGINS, SCHEMA, estimated, held_out_logits, write_estimate
from assent.training.metrics import lcpo_terms
from assent.training.progress import say
from assent.training.ranks import on_first_rank

SHOWN = 8


def fresh_margins(objective: Objective, output: Path, annotators: Sequence[str]) -> FreshMargins | None:
    """For an objective with ``reliability="crossfit"``; None for any other.

    Raises AssentError for several such terms, and for repeated folds: a loop has none.
    """
    terms = [(term, key) for term, key in lcpo_terms(objective) if term.mode == "crossfit"]
    if not terms:
        return None
    if len(lcpo_terms(objective)) > 1:
        raise AssentError(f"{objective!s} holds {len(lcpo_terms(objective))} lcpo terms; cross-fitting works with one")
    ((term, key),) = terms
    if term.rounds != 1:
        raise AssentError(
            f"lcpo: rounds is {term.rounds}, which repeats folds, and a run that samples its own rows has none; leave it out"
        )
    return FreshMargins(term, key, output, tuple(annotators))


@dataclass
class FreshMargins:
    """The reliabilities of a loop; ``take`` moves those of the trainer."""

    term: LCPO
    key: str
    output: Path
    annotators: tuple[str, ...]

    def take(self, number: int, rows: Sequence[Any], trainer: Any, scorer: Any = None) -> None:
        """Estimate from rounds 0 to ``number``, whose rows the trainer's policy has not met, and put it into its objective.

        scorer: reads the rows' token columns where the trainer's does not yet.  Margins on disk are not computed again.
        """
        self._keep(number, rows, trainer, scorer)
        logit, labels = self._so_far(number)
        content = estimated(logit, labels, self.annotators, self.term.start)
        write_estimate(folder_of(self.output, number), content, ["reliabilities.json"])
        write_estimate(self.output / "crossfit", content, ["reliabilities.json"])
        table = content["annotators"]
        name = f"{self.key}.eta" if self.key else "eta"
        before = trainer.objective_state[name]
        eta = [table[annotator]["reliability"] for annotator in self.annotators]
        trainer.objective_state[name] = torch.tensor(eta, dtype=before.dtype, device=before.device)
        shown = ", ".join(f"{one} {table[one]['reliability']:.2f}" for one in self.annotators[:SHOWN])
        more = f" and {len(eta) - SHOWN} more" if len(eta) > SHOWN else ""
        say(
            f"{folder_of(self.output, number).name}: reliabilities from {len(logit)} margins of rounds that were new to their "
            f"policy, resting on {content['rests_on']}: {shown}{more}"
        )

    def _keep(self, number: int, rows: Sequence[Any], trainer: Any, scorer: Any) -> None:
        """Write the margins and labels of a round's rows, unless they lie there."""
        from safetensors.torch import save_file

        path = folder_of(self.output, number) / MARGINS

        def write() -> None:
            if path.is_file():
                return
            labels = rows_only(rows).labels
            tensors = {
                "logit": held_out_logits(trainer, rows, scorer),
                "pair": labels.pair,
                "annotator": labels.annotator,
            }
            tensors |= {"p": labels.p} | ({} if labels.weight is None else {"weight": labels.weight})
            tensors = {n: t.cpu().contiguous() for n, t in tensors.items()}
            write_aside(path, lambda p: save_file(tensors, str(p), metadata={"schema": str(SCHEMA)}))

        on_first_rank(write)

    def _so_far(self, number: int) -> tuple[Tensor, Labels]:
        """Margins [P] and labels [J] of all rounds up to ``number``, pairs counted through."""
        from safetensors.torch import load_file

        parts, offset = [], 0
        for i in range(number + 1):
            part = load_file(str(folder_of(self.output, i) / MARGINS))
            part["pair"] = part["pair"] + offset
            part.setdefault("weight", torch.ones_like(part["p"]))
            offset += len(part["logit"])
            parts.append(part)
        whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        labels = Labels(whole["pair"], whole["annotator"], whole["p"].double(), weight=whole["weight"].double())
        return whole["logit"], labels
