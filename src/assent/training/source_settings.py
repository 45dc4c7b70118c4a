"""Arguments of runs that make their own data: who samples, who judges, and what becomes a pair."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any

from assent.errors import AssentError, did_you_mean
from assent.sampling.logged import ROLES, SIDES
from assent.sampling.rejection import Rejection
from assent.sampling.vllm import MEMORY

SOURCES = ("file", "iterative", "online")


def _arg(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class SourceSettings:
    """Where a run's rows come from; with source "file" none of the others is read."""

    source: str = _arg(
        "file", "file; iterative: rounds of sampling, judging and a run each; online: one run on rows of its own policy"
    )
    judge: Any = _arg(
        None, "who judges samples: reward:MODEL, model:MODEL, endpoint:MODEL@URL; in Python a Judge or a function"
    )
    rounds: int | None = _arg(None, "rounds of sampling and training; 3 unless given")
    round_prompts: int | None = _arg(None, "prompts of a round, in turn; all of them unless given")
    samples: int | None = _arg(None, "completions of each prompt in a round; 4 unless given")
    round_reference: str | None = _arg(
        None, "reference of a round: start (the default), or previous: the round's own start"
    )
    judge_labels: str | None = _arg(
        None, "label of a judged pair: hard (the default), soft, or drawn with its probability"
    )
    pair_threshold: float | None = _arg(None, "smallest gap in the judge's score between the sides of a pair")
    max_new_tokens: int | None = _arg(None, "longest completion that is sampled, in tokens; 256 unless given")
    temperature: float | None = _arg(None, "temperature of sampling; 1 unless given")
    top_p: float | None = _arg(None, "nucleus of sampling; 1 unless given")
    sampling_batch_size: int | None = _arg(None, "completions that are decoded together; 128 unless given")
    generator: str | None = _arg(
        None,
        "who draws samples: model (the default), or vllm[:SHARE], source iterative, SHARE of the GPU's memory, .5 unless given",
    )
    mixture: str | None = _arg(
        None,
        "sample from policy and reference mixed: geometric:SHARE, linear:SHARE (each token), sequence:SHARE, or alternate",
    )
    opponent: str | None = _arg(
        None,
        "whom samples are judged against, in place of each other: geometric:SHARE or linear:SHARE of the reference",
    )
    rejection: str | None = _arg(
        None, "KEEP:TEMPERATURE: of a prompt's samples keep some that look drawn from policy x exp(score / TEMPERATURE)"
    )
    logged: str | None = _arg(
        None,
        "a completion that the data hold beside each prompt: rejected or chosen, a side whose other is sampled and not judged; "
        "group: samples are compared with it and it joins them",
    )
    eval_prompts: Any = _arg(
        None, "prompts (a file, as --data) on which the judge compares each round's policy with the run's start"
    )


OWN = tuple(f.name for f in fields(SourceSettings))
DEFAULTS = {
    "rounds": 3, "samples": 4, "round_reference": "start", "judge_labels": "hard", "pair_threshold": 0.0,
    "max_new_tokens": 256, "temperature": 1.0, "top_p": 1.0, "sampling_batch_size": 128,
}  # fmt: skip


def check_source(settings: Any) -> None:
    """Refuse an unknown source, and options of sampling where nothing is sampled or out of range."""
    if settings.source not in SOURCES:
        raise AssentError(f"source is {settings.source!r}; {did_you_mean(settings.source, SOURCES)}")
    given = [name for name in OWN if name != "source" and getattr(settings, name) is not None]
    if settings.source == "file":
        if given:
            raise AssentError(f"{given[0]} is read by --source iterative or online, and source is 'file'; leave it out")
        return
    _check_judged(settings)
    if vllm_memory(settings) is not None:
        _check_vllm(settings)
    for name in ("rounds", "samples", "round_prompts"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise AssentError(f"{name} is {value}; expected at least 1")
    if settings.rejection is not None and Rejection.parse(settings.rejection).keep > value_of(settings, "samples"):
        raise AssentError(
            f"rejection {settings.rejection!r} keeps more than the {value_of(settings, 'samples')} samples of a prompt; raise "
            "samples or keep fewer"
        )
    if settings.round_reference not in (None, "start", "previous"):
        raise AssentError(f"round_reference is {settings.round_reference!r}; expected 'start' or 'previous'")
    for name in ("eval_fraction", "crossfit_scorer"):
        if getattr(settings, name) is not None:
            raise AssentError(
                f"{name} is not read with source {settings.source!r}, whose rows are made as it goes; leave it out"
            )
    if settings.source == "online" and settings.round_reference == "previous":
        raise AssentError(
            "source 'online' keeps its reference; use iterative, or moving_reference(OBJECTIVE) for one that follows"
        )


def only_of_files(settings: Any, what: str) -> None:
    """Refuse what reads a run's rows before it begins, where they are made as it goes."""
    if settings.source != "file":
        raise AssentError(
            f"{what} reads the rows of a file, and with source {settings.source!r} they are made as the run goes; give "
            "pairs of the size you expect and leave the options of sampling out, or start with few rounds"
        )


def vllm_memory(settings: Any) -> float | None:
    """The share of the GPU's memory that vLLM gets; None where the model itself samples."""
    kind, _, share = (settings.generator or "model").partition(":")
    try:
        found = float(share) if share else MEMORY
    except ValueError:
        kind = ""
    if kind not in ("model", "vllm") or (kind == "model" and share) or not 0 < found < 1:
        raise AssentError(
            f"generator is {settings.generator!r}; expected model, vllm, or vllm:SHARE with a share between 0 and 1"
        )
    return found if kind == "vllm" else None


def _check_vllm(settings: Any) -> None:
    """Refuse what vLLM cannot sample: it reads one whole policy from disk, in one process."""
    refused = {
        "source 'online'": (settings.source == "online", "moves its policy in memory; take iterative or generator model"),
        f"mixture {settings.mixture!r}": (settings.mixture is not None, "needs two models at once; leave one of them out"),
        "adapter": (settings.adapter is not None, "is not a whole model; merge it into one first"),
        "lora_r": (settings.lora_r is not None and not settings.merge, "leaves adapters between rounds; give merge too"),
        "several processes": (int(os.environ.get("WORLD_SIZE", 1)) > 1, "would each be part of it; start one"),
    }  # fmt: skip
    for name, (wrong, why) in refused.items():
        if wrong:
            raise AssentError(f"generator {settings.generator!r} reads a policy from disk, and {name} {why}")


def _check_judged(settings: Any) -> None:
    """Somebody says which completion is better: a judge, or the data."""
    if settings.logged is not None and settings.logged not in ROLES:
        raise AssentError(f"logged is {settings.logged!r}; {did_you_mean(settings.logged, ROLES)}")
    if settings.logged in SIDES:
        for name in (
            "judge",
            "judge_labels",
            "pair_threshold",
            "rejection",
            "pairing",
            "mixture",
            "opponent",
            "eval_prompts",
        ):
            if getattr(settings, name) is not None:
                raise AssentError(
                    f"{name} is not read with logged {settings.logged!r}, whose pairs are known; leave it out"
                )
        return
    if settings.logged == "group" and settings.opponent is not None:
        raise AssentError("opponent is not read with logged 'group', whose completion is the opponent; leave it out")
    if settings.logged == "group" and settings.rejection is not None:
        raise AssentError("rejection is not read with logged 'group', whose completion stays; leave it out")
    if settings.logged == "group" and settings.mixture == "alternate":
        raise AssentError(
            "mixture 'alternate' pairs two samples, and logged 'group' adds a third; leave one of them out"
        )
    if settings.judge is None:
        raise AssentError(
            f"source {settings.source!r} samples completions and nobody judges them; give --judge reward:MODEL"
        )
    if settings.samples is not None and settings.samples < 2:
        raise AssentError(f"samples is {settings.samples}; a pair needs at least 2 completions of a prompt")


def value_of(settings: Any, name: str) -> Any:
    """A setting of sampling, or its default."""
    value = getattr(settings, name)
    return DEFAULTS[name] if value is None else value
