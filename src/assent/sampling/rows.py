"""A round as rows for training: the tokens that were drawn, never tokenised again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assent.data.reading import Records
from assent.data.report import Report
from assent.data.tokens import TokenGroup, TokenPair
from assent.errors import AssentError
from assent.records import Group, Pair
from assent.sampling.judged import Drafted, Judged
from assent.sampling.rounds import Round
from assent.sampling.texts import Texts


def pair_rows(found: Round, annotators: Sequence[str]) -> list[TokenPair]:
    """The pairs in tokens, with columns score, win_rate and old_logp of either side; old_logp [nats] as it was drawn.

    from_reference of either side where completions alternate between policy and reference.
    """
    index = {name: i for i, name in enumerate(annotators)}
    rows = []
    for group, made, ids in zip(found.groups, found.completions, found.prompt_ids, strict=True):
        for pair in group.pairs:
            sides = [Texts.sequence(ids, made[k]) for k in (pair.chosen, pair.rejected)]
            labels = tuple((index[label.annotator], label.p, label.weight, False) for label in pair.labels)
            weight = sum(label.weight for label in pair.labels)
            target = sum(label.weight * label.p for label in pair.labels) / weight
            columns = _columns(group, made, pair)
            if found.about.get("mixture") == "alternate":  # whose completion it is: the policy's have even numbers
                columns |= {
                    f"from_reference_{side}": float(made[k].sample % 2)
                    for side, k in (("chosen", pair.chosen), ("rejected", pair.rejected))
                }
            rows.append(TokenPair(*sides, weight, target, labels, columns, len(rows)))
    return rows


def _columns(group: Judged, made: Sequence, pair: Drafted) -> dict[str, float]:
    columns: dict[str, float] = {}
    for side, k in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        columns[f"old_logp_{side}"] = float(made[k].drawn_logp.sum())
        for name, values in (("score", group.score), ("win_rate", group.win_rate)):
            if not np.isnan(values[k]):
                columns[f"{name}_{side}"] = float(values[k])
    if "score_chosen" in columns and "score_rejected" in columns:
        columns["margin"] = columns["score_chosen"] - columns["score_rejected"]
    return columns


def group_rows(found: Round) -> list[TokenGroup]:
    """Every prompt with its completions that have a score."""
    rows = []
    for group, made, ids in zip(found.groups, found.completions, found.prompt_ids, strict=True):
        kept = [k for k in range(len(made)) if group.usable[k] and not np.isnan(group.score[k])]
        if len(kept) > 1:
            sequences = tuple(Texts.sequence(ids, made[k]) for k in kept)
            rows.append(TokenGroup(sequences, tuple(float(group.score[k]) for k in kept), 1.0, len(rows)))
    return rows


def records_of(found: Round, kind: str, source: str) -> Records:
    """The same as records, for the card and for views."""
    rows: list[Pair | Group] = []
    for group in found.groups:
        if kind == "groups":
            kept = [k for k in range(len(group.texts)) if group.usable[k] and not np.isnan(group.score[k])]
            if len(kept) > 1:
                scores = tuple(float(group.score[k]) for k in kept)
                rows.append(Group(group.prompt, tuple(group.texts[k] for k in kept), scores))
            continue
        rows += [Pair(group.prompt, group.texts[p.chosen], group.texts[p.rejected], p.labels) for p in group.pairs]
    if not rows:
        raise AssentError(
            f"{source}: no prompt gave a {'group' if kind == 'groups' else 'pair'}; sample more (samples), lower "
            "pair_threshold, raise the temperature or look at the judge"
        )
    names = {label.annotator for row in rows for label in getattr(row, "labels", ())}
    return Records(
        "groups" if kind == "groups" else "pairs", tuple(rows), Report(), source, "", len(rows), tuple(sorted(names))
    )
