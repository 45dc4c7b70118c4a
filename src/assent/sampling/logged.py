"""A logged completion of each prompt beside its samples: as the known rejected or chosen side, or as one of the group.

It stands last among a prompt's completions, with sample number -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from assent.judges import Judge, ask
from assent.records import Content, Label
from assent.sampling.generation import Completion
from assent.sampling.judged import Counts, Drafted, Judged, text_of, unjudged
from assent.scoring.forward import at_least_float32, device_of, evaluating

SIDES = ("rejected", "chosen")
ROLES = (*SIDES, "group")
COLUMNS = {"rejected": ("rejected",), "chosen": ("chosen", "completion"), "group": ("chosen", "completion")}
"""Where each role's completion stands in the data: the first of these columns that a row has."""


@dataclass(frozen=True)
class KnownSide(Judge):
    """Nobody is asked: the logged completion's side is known."""

    name: str = "logged"


@torch.no_grad()
def scored(model: nn.Module, number: int, prompt: np.ndarray, ids: np.ndarray, end: frozenset[int]) -> Completion:
    """The logged completion ``ids`` [T] with its log-probabilities under the model, which here did not draw it."""
    whole = torch.tensor(np.concatenate([prompt, ids])[None].astype(np.int64), device=device_of(model))
    with evaluating(model):
        logits = at_least_float32(model(input_ids=whole).logits[0, len(prompt) - 1 : -1])
    logp = torch.log_softmax(logits, -1).gather(-1, whole[0, len(prompt) :, None]).squeeze(-1).cpu().numpy()
    return Completion(number, -1, ids, logp, logp, int(ids[-1]) in end)


def set_against(
    role: str, prompts: Sequence[Content], texts: Sequence[Sequence[Content]], counts: Counts
) -> list[Judged]:
    """Pairs of every sample with the logged completion, the last of each, which is chosen or rejected as ``role`` says.

    A sample that says the same gives no pair and is counted as a tie.
    """
    groups = unjudged(prompts, texts)
    for group in groups:
        last, seen = len(group.texts) - 1, set()
        for k in np.flatnonzero(group.usable[:-1]).tolist():
            if text_of(group, k) == text_of(group, last):
                counts.ties += 1
            elif text_of(group, k) not in seen:
                seen.add(text_of(group, k))
                group.pairs.append(Drafted(*((last, k) if role == "chosen" else (k, last)), (Label(p=1.0),)))
        counts.pairs += len(group.pairs)
        counts.prompts_without_pair += not group.pairs
    return groups


def compared(
    judge: Judge, prompts: Sequence[Content], texts: Sequence[Sequence[Content]], labels: str, seed: int
) -> list[Judged]:
    """Every sample is compared with the logged completion, the last of each, whose score is 0.

    A score is 1 where the judge prefers the sample, -1 where it does not and 0 for a tie; with labels "soft" it is
    2 P(sample is better) - 1, with "drawn" the sign of one draw.
    """
    groups = unjudged(prompts, texts)
    at = [(group, k) for group in groups for k in np.flatnonzero(group.usable[:-1]).tolist()]
    told = [g.prompt for g, _ in at], [g.texts[k] for g, k in at], [g.texts[-1] for g, _ in at]
    verdicts = ask(judge, *told)
    rng = np.random.default_rng(seed)
    for (group, k), p, known in zip(at, verdicts.p, verdicts.known, strict=True):
        if known:
            better = float(rng.random() < p) if labels == "drawn" else p
            group.score[k] = 2 * better - 1 if labels == "soft" else np.sign(better - 0.5)
    for group in groups:
        group.score[-1] = 0.0
    return groups
