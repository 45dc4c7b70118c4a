"""One round of sampling: the policy completes prompts, a judge says which it prefers, pairs are drafted and written down."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from assent.data.prompts import Prompts
from assent.errors import AssentError
from assent.judges import Judge
from assent.objectives import Objective
from assent.records import Content
from assent.sampling import (
    Alternating,
    ModelGenerator,
    SamplingSettings,
    SequenceMixture,
    Texts,
    geometric,
    linear,
    opponents,
    rounds,
)
from assent.sampling.generation import Completion
from assent.sampling.judged import Counts, Judged, PairingRule, draft, judged
from assent.sampling.logged import SIDES, compared, scored, set_against
from assent.sampling.rejection import Rejection, reject
from assent.sampling.rounds import Round
from assent.sampling.vllm import VLLMGenerator
from assent.training.arguments import Settings
from assent.training.progress import counting, say
from assent.training.source_settings import value_of, vllm_memory


def folder_of(output: Path, number: int) -> Path:
    """Where a round's data lie."""
    return output / "rounds" / f"round-{number:03d}"


def prompts_of(prompts: Prompts, settings: Settings, number: int) -> tuple[list[Content], list[Content]]:
    """The prompts of a round, the next ``round_prompts`` in turn or all, and the logged completion of each."""
    count = min(settings.round_prompts or len(prompts), len(prompts))
    at = [(number * count + i) % len(prompts) for i in range(count)]
    return [prompts.prompts[i] for i in at], [prompts.logged[i] for i in at] if prompts.logged else []


def sampling_of(settings: Settings, seed: int) -> SamplingSettings:
    return SamplingSettings(
        max_new_tokens=value_of(settings, "max_new_tokens"), temperature=value_of(settings, "temperature"),
        top_p=value_of(settings, "top_p"), seed=seed, batch_size=value_of(settings, "sampling_batch_size"),
    )  # fmt: skip


def generator_of(
    policy: nn.Module, reference: Any, texts: Texts, settings: Settings, progress: Any, place: str = ""
) -> Any:
    """Who samples: the policy, in memory or by vLLM from ``place``, or its mixture with the reference."""
    if (memory := vllm_memory(settings)) is not None:
        return VLLMGenerator(place, policy, texts.end, memory, progress=progress)
    own = ModelGenerator(policy, texts.end, progress=progress)
    if settings.mixture is None:
        return own
    kind, share = _mixture("mixture", settings.mixture, ("geometric", "linear", "sequence", "alternate"), reference)
    if kind in ("sequence", "alternate"):
        other = ModelGenerator(reference.model, texts.end)
        return Alternating(own, other) if kind == "alternate" else SequenceMixture(own, other, share)
    mixing = (geometric if kind == "geometric" else linear)(share)
    return ModelGenerator(policy, texts.end, (reference.model, mixing), progress=progress)


def opponent_of(policy: nn.Module, reference: Any, texts: Texts, settings: Settings) -> ModelGenerator:
    """Whom the samples are judged against: a mixture of policy and reference; with share 1 the reference itself."""
    kind, share = _mixture("opponent", settings.opponent, ("geometric", "linear"), reference)
    mixing = (geometric if kind == "geometric" else linear)(share)
    return ModelGenerator(policy, texts.end, (reference.model, mixing))


def _mixture(name: str, text: str, kinds: Sequence[str], reference: Any) -> tuple[str, float]:
    """Kind and share of a mixture; Raises AssentError for another one, and where there is no second model."""
    kind, _, number = text.partition(":")
    try:
        share = float(number) if kind != "alternate" else 0.5
    except ValueError:
        kind = ""
    if kind not in kinds or (kind == "alternate" and number):
        known = [k if k == "alternate" else f"{k}:SHARE" for k in kinds]
        raise AssentError(f"{name} is {text!r}; expected {', '.join(known[:-1])} or {known[-1]}")
    if reference is None or not hasattr(reference, "model"):
        raise AssentError(
            "a mixture samples from the reference too, as a second model; train all weights, or leave it out"
        )
    return kind, share


def rule_of(settings: Settings) -> PairingRule:
    return PairingRule(
        settings.pairing or "best_worst", value_of(settings, "pair_threshold"), value_of(settings, "judge_labels")
    )


def provenance_of(
    judge: Judge, prompts: Sequence[Content], settings: Settings, seed: int, told: dict[str, Any],
    logged: Sequence[Content] = (),
) -> dict[str, Any]:  # fmt: skip
    """What a round is made of, which is written beside its counts; ``told`` is what the caller knows of it."""
    return {
        **told, "judge": judge.name, "sampling": asdict(sampling_of(settings, seed)),
        "samples": value_of(settings, "samples"), "mixture": settings.mixture, "rejection": settings.rejection,
        "logged": settings.logged, "opponent": settings.opponent,
        "rule": asdict(rule_of(settings)), "prompts": digest([*prompts, *logged]),
        "generator": None if vllm_memory(settings) is None else "vllm",
    }  # fmt: skip


def kept(folder: Path, provenance: dict[str, Any]) -> Round | None:
    """The round in ``folder``; None where it is not there whole.  Raises AssentError for one made in another way."""
    if (known := rounds.read(folder)) is not None:
        same(known.about, provenance, folder)
    return known


def collect(
    folder: Path, policy: nn.Module, reference: Any, texts: Texts, judge: Judge, prompts: Sequence[Content],
    settings: Settings, objective: Objective, seed: int, provenance: dict[str, Any], logged: Sequence[Content] = (),
    place: str = "",
) -> Round:  # fmt: skip
    """Make a round and write it to ``folder``, ``provenance`` beside its counts.

    logged: a completion of each prompt that the data hold, where the settings read one.  place: where the policy lies on disk.
    """
    sampling, rule = sampling_of(settings, seed), rule_of(settings)
    ids = texts.prompt_ids(prompts, settings.max_length)
    with counting(f"{folder.name}: sampling") as progress:
        made = generator_of(policy, reference, texts, settings, progress, place).generate(
            ids, value_of(settings, "samples"), sampling
        )
    grouped = _grouped(made, provenance["samples"])
    words = _words(texts, prompts, grouped)
    for i, answer in enumerate(logged):
        whole = texts.logged_ids(prompts[i], ids[i], answer, settings.max_length)
        grouped[i].append(scored(policy, i, ids[i], whole, texts.end))
        words[i].append(
            answer
            if isinstance(prompts[i], str) or not isinstance(answer, str)
            else [{"role": "assistant", "content": answer}]
        )
    before, counts = judge.tally.copy(), Counts(completions=len(made), cut=sum(not m.ended for m in made))
    others = None
    if settings.opponent is not None:
        apart = replace(sampling, seed=seed + 1)  # equal models must not draw equal completions
        drawn = opponent_of(policy, reference, texts, settings).generate(ids, provenance["samples"], apart)
        others = _words(texts, prompts, _grouped(drawn, provenance["samples"]))
    groups = _paired(judge, prompts, words, settings, objective, rule, seed, counts, others)
    if others is not None:
        opponents.write(folder, groups, others)
    found = Round(groups, grouped, ids, rounds.about(counts, judge.tally.since(before), provenance))
    rounds.write(folder, found)
    say(sentence(folder.name, counts, found))
    return found


def _grouped(made: Sequence[Completion], size: int) -> list[list[Completion]]:
    return [list(made[i : i + size]) for i in range(0, len(made), size)]


def _words(texts: Texts, prompts: Sequence[Content], grouped: Sequence[Sequence[Completion]]) -> list[list[Content]]:
    return [[texts.content(prompt, m) for m in own] for prompt, own in zip(prompts, grouped, strict=True)]


def _paired(
    judge: Judge, prompts: Sequence[Content], words: Sequence[Sequence[Content]], settings: Settings, objective: Objective,
    rule: PairingRule, seed: int, counts: Counts, others: Sequence[Sequence[Content]] | None = None,
) -> list[Judged]:  # fmt: skip
    """The completions judged and paired, as the settings ask."""
    if settings.logged in SIDES:
        groups = set_against(settings.logged, prompts, words, counts)
        counts.empty = int(sum((~g.usable).sum() for g in groups))
        return groups
    if others is not None:
        groups = opponents.against(judge, prompts, words, others)
    elif settings.logged is None:
        groups = judged(judge, prompts, words, matrix=_wants_win_rates(objective))
    else:
        groups = compared(judge, prompts, words, rule.labels, seed)
    counts.empty = int(sum((~g.usable).sum() for g in groups))
    counts.unscored = int(sum(np.isnan(g.score[g.usable]).sum() for g in groups))
    if settings.rejection is not None:
        reject(groups, Rejection.parse(settings.rejection), seed, counts)
    if objective.data != "groups":
        draft(judge, groups, rule, seed, counts)
    return groups


def _wants_win_rates(objective: Objective) -> bool:
    named = any(need.kind == "column" and need.name.startswith("win_rate") for need in objective.needs)
    return named or any(part.name == "sppo_group" for part in objective.walk())


def check_opponent(settings: Settings, objective: Objective) -> None:
    """Refuse an opponent where nothing reads who beats it: neither the objective nor the pairing."""
    scores = any(
        need.kind == "column" and need.name.startswith(("win_rate", "score", "margin")) for need in objective.needs
    )
    chosen = rule_of(settings).pairs in ("best_worst", "ranked")
    if settings.opponent is not None and not (objective.data == "groups" or scores or chosen):
        raise AssentError(
            f"opponent is {settings.opponent!r}, and neither {objective!s} nor pairing {settings.pairing!r} reads how samples "
            "fare against it; use ipo_soft(), rloo() or pairing best_worst"
        )


def sentence(name: str, counts: Counts, found: Round) -> str:
    """What a round gave, in words; nothing that was left out is left unsaid."""
    told = [f"{counts.completions} completions of {len(found.groups)} prompts, {counts.pairs} pairs"]
    left = {
        "cut at max_new_tokens": counts.cut, "empty": counts.empty, "rejected": counts.rejected,
        "without a score": counts.unscored, "ties": counts.ties,
        "comparisons without an answer": counts.unanswered, "below pair_threshold": counts.below_threshold,
        "prompts without a pair": counts.prompts_without_pair,
    }  # fmt: skip
    told += [f"{count} {what}" for what, count in left.items() if count]
    scores = np.concatenate([g.score for g in found.groups])
    if not np.isnan(scores).all():
        told.append(f"mean score {np.nanmean(scores):.4g}")
    if contradicted := found.about["judge_tally"]["contradicted"]:
        told.append(f"{contradicted} contradictions of the judge")
    return f"{name}: " + ", ".join(told)


def digest(prompts: Sequence[Content]) -> str:
    """A name of these prompts, in this order."""
    return hashlib.sha256(json.dumps(list(prompts), ensure_ascii=True, default=dict).encode()).hexdigest()


def same(known: dict[str, Any], asked: dict[str, Any], folder: Path) -> None:
    """Refuse to go on from a round that was made in another way."""
    for name, value in json.loads(json.dumps(asked)).items():
        if known.get(name) != value:
            raise AssentError(
                f"{folder} was made with {name} {known.get(name)!r} and this run asks for {value!r}; resume with the same "
                "arguments or choose another directory"
            )
