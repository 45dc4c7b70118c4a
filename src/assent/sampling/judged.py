"""Completions of a prompt as a judge sees them: scores, win rates, and which two become a pair."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from assent.data.fields import key, plain
from assent.errors import AssentError, did_you_mean
from assent.judges import AnnotatorPool, Judge, ask
from assent.judges.judge import checked_scores
from assent.records import Content, Label

RULES = ("best_worst", "ranked", "random", "disjoint")
LABELS = ("hard", "soft", "drawn")


@dataclass(frozen=True)
class PairingRule:
    """Which completions of a prompt are compared, and what their label says.

    pairs: "best_worst", "ranked" (all of different scores), "random" (one pair, drawn) or "disjoint" (all completions, two by
    two, drawn).  threshold: pairs need this gap in score.  labels: "hard" says that the preferred one is better, "soft" how
    probable that is, "drawn" draws it with that probability.  An annotator pool's own labels are taken as they are.
    """

    pairs: str = "best_worst"
    threshold: float = 0.0
    labels: str = "hard"

    def __post_init__(self) -> None:
        if self.pairs not in RULES:
            raise AssentError(f"pairing is {self.pairs!r}; {did_you_mean(self.pairs, RULES)}")
        if self.labels not in LABELS:
            raise AssentError(f"judge_labels is {self.labels!r}; {did_you_mean(self.labels, LABELS)}")
        if not 0 <= self.threshold < float("inf"):
            raise AssentError(f"pair_threshold is {self.threshold!r}; expected a finite number of at least 0")


@dataclass(frozen=True)
class Drafted:
    """A pair of completions ``chosen`` and ``rejected`` of one prompt, by number, with its labels."""

    chosen: int
    rejected: int
    labels: tuple[Label, ...]


@dataclass
class Judged:
    """The completions of one prompt.  usable [K]: has text and was not rejected.

    score, win_rate [K]: NaN where the judge has none.
    win_rate: mean probability of being preferred to the prompt's completions, itself included with 1/2 (2405.00675, 4.5).
    """

    prompt: Content
    texts: tuple[Content, ...]
    usable: np.ndarray
    score: np.ndarray
    win_rate: np.ndarray
    pairs: list[Drafted] = field(default_factory=list)


@dataclass
class Counts:
    """What became of the completions and comparisons of a round."""

    completions: int = 0
    cut: int = 0
    empty: int = 0
    rejected: int = 0
    unscored: int = 0
    pairs: int = 0
    ties: int = 0
    unanswered: int = 0
    below_threshold: int = 0
    prompts_without_pair: int = 0


def judged(
    judge: Judge, prompts: Sequence[Content], texts: Sequence[Sequence[Content]], *, matrix: bool = False
) -> list[Judged]:
    """Scores and win rates of all completions.

    A judge that scores is asked for scores, and its preferences follow from them; one that only compares is asked about all
    pairs of a prompt, and a completion's score is its win rate.  matrix: win rates are wanted of a scoring judge too.
    """
    found = unjudged(prompts, texts)
    if judge.scored:
        _score(judge, found)
    if matrix or not judge.scored:
        _win_rates(judge, found)
    return found


def unjudged(prompts: Sequence[Content], texts: Sequence[Sequence[Content]]) -> list[Judged]:
    """The completions of each prompt before anybody was asked."""
    found = []
    for prompt, own in zip(prompts, texts, strict=True):
        blank = np.full(len(own), np.nan)
        usable = np.array([bool(plain(text).strip()) for text in own])
        found.append(Judged(prompt, tuple(own), usable, blank.copy(), blank.copy()))
    return found


def _score(judge: Judge, groups: Sequence[Judged]) -> None:
    at = [(g, k) for g in groups for k in range(len(g.texts)) if g.usable[k]]
    scores = checked_scores(judge, [g.prompt for g, _ in at], [g.texts[k] for g, k in at])
    for (group, k), score in zip(at, scores, strict=True):
        group.score[k] = score


def _win_rates(judge: Judge, groups: Sequence[Judged]) -> None:
    at = [(g, i, j) for g in groups for i, j in combinations(np.flatnonzero(g.usable).tolist(), 2)]
    verdicts = ask(judge, [g.prompt for g, _, _ in at], [g.texts[i] for g, i, _ in at], [g.texts[j] for g, _, j in at])
    tables = {id(g): np.full((len(g.texts), len(g.texts)), np.nan) for g in groups}
    for (group, i, j), p, known in zip(at, verdicts.p, verdicts.known, strict=True):
        if known:
            tables[id(group)][i, j], tables[id(group)][j, i] = p, 1 - p
    for group in groups:
        table = tables[id(group)]
        np.fill_diagonal(table, 0.5)
        for k in np.flatnonzero(group.usable):
            group.win_rate[k] = np.nanmean(table[k][group.usable])
        if not judge.scored:
            group.score = np.where(group.usable, group.win_rate, np.nan)


def draft(judge: Judge, groups: Sequence[Judged], rule: PairingRule, seed: int, counts: Counts) -> None:
    """Give every group its pairs; what gives none is counted."""
    wanted = [(group, pair) for group in groups for pair in _wanted(group, rule, seed, counts)]
    asked = ([g.prompt for g, _ in wanted], [g.texts[i] for g, (i, _) in wanted], [g.texts[j] for g, (_, j) in wanted])
    if isinstance(judge, AnnotatorPool):
        labels = judge.label(*asked)
    else:
        verdicts = ask(judge, *asked)
        labels = [
            (_label(p, rule, seed, group, pair),) if known else ()
            for (group, pair), p, known in zip(wanted, verdicts.p, verdicts.known, strict=True)
        ]
    for (group, (i, j)), found in zip(wanted, labels, strict=True):
        if not found:
            counts.unanswered += 1
            continue
        target = float(np.mean([label.p for label in found]))
        if target == 0.5 and len({label.annotator for label in found}) == 1:
            counts.ties += 1
            continue
        if target < 0.5:
            i, j, found = j, i, tuple(Label(label.annotator, 1 - label.p, label.weight) for label in found)
        group.pairs.append(Drafted(i, j, found))
        counts.pairs += 1
    counts.prompts_without_pair += sum(not group.pairs for group in groups)


def _wanted(group: Judged, rule: PairingRule, seed: int, counts: Counts) -> list[tuple[int, int]]:
    """Pairs of completions that the rule compares, as numbers."""
    usable = [
        k
        for k in np.flatnonzero(group.usable).tolist()
        if text_of(group, k) not in {text_of(group, i) for i in range(k)}
    ]
    if rule.pairs in ("random", "disjoint"):
        order = [usable[i] for i in draws_of(seed, group.prompt, "pair").permutation(len(usable))]
        pairs = list(zip(order[::2], order[1::2], strict=False))[: 1 if rule.pairs == "random" else None]
    else:
        ranked = sorted((k for k in usable if not np.isnan(group.score[k])), key=lambda k: -group.score[k])
        pairs = (
            list(combinations(ranked, 2))
            if rule.pairs == "ranked"
            else [(ranked[0], ranked[-1])]
            if len(ranked) > 1
            else []
        )
    gaps = [abs(group.score[i] - group.score[j]) for i, j in pairs]
    enough = [pair for pair, gap in zip(pairs, gaps, strict=True) if rule.threshold == 0 or gap >= rule.threshold]
    counts.below_threshold += len(pairs) - len(enough)
    return enough


def text_of(group: Judged, k: int) -> str:
    return key(group.texts[k]) or ""


def _label(p: float, rule: PairingRule, seed: int, group: Judged, pair: tuple[int, int]) -> Label:
    if rule.labels == "soft":
        return Label(p=float(p))
    if rule.labels == "drawn":
        return Label(
            p=float(draws_of(seed, group.prompt, text_of(group, pair[0]), text_of(group, pair[1])).random() < p)
        )
    return Label(p=0.5 if p == 0.5 else float(p > 0.5))


def draws_of(seed: int, prompt: Content, *words: str) -> np.random.Generator:
    told = "\0".join([str(seed), key(prompt) or "", *words])
    digest = hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
