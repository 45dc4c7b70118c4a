"""From a run's settings to what is trained: the policy, its reference, and what their start looks like."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from assent.errors import AssentError
from assent.objectives import Objective, step_loss
from assent.scoring import engine
from assent.scoring.cache import default_root
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.forward import evaluating
from assent.scoring.heads import build
from assent.scoring.loading import (
    LoadedModel,
    check_vocabulary,
    from_memory,
    load_policy,
    load_tokenizer,
)
from assent.scoring.lora import LoraSpec, is_adapter
from assent.scoring.protocol import check_needs
from assent.scoring.reference import AdapterDisabled, Precomputed, Reference, SecondModel
from assent.scoring.reward import RewardScorer
from assent.training import log_odds
from assent.training.arguments import Settings
from assent.training.caching import cached, in_memory, other_reference, uncacheable
from assent.training.checks import check_masks
from assent.training.progress import counting, say
from assent.training.reward_run import reads_reward, with_scorer
from assent.training.token_tables import promised_columns, token_tables

LIVE_TOLERANCE, HALF_TOLERANCE = 1e-6, 2e-2
"""Largest starting margin, in nats per sequence, where policy and reference are the same weights: float32, bfloat16."""

_HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Policy:
    """A policy, or a reward model, with its scorer.  same: whether policy and reference start as the same weights."""

    loaded: LoadedModel
    scorer: CausalLMScorer | RewardScorer
    same: bool

    @property
    def model(self) -> nn.Module:
        return self.loaded.model

    @property
    def reward(self) -> bool:
        """Whether it is a reward model."""
        return isinstance(self.scorer, RewardScorer)


def tokenizer_of(settings: Settings) -> Any:
    """The tokenizer: the given one, or that of the model's directory; with the given chat template."""
    given = settings.tokenizer
    if given is None and isinstance(settings.model, nn.Module):
        raise AssentError("the model is an object in memory; pass its tokenizer too (tokenizer=...)")
    if given is None or isinstance(given, str | Path):
        given = load_tokenizer(given or settings.model, trust_remote_code=settings.trust_remote_code)
    if settings.chat_template is not None:
        try:
            given.chat_template = Path(settings.chat_template).read_text(encoding="utf-8")
        except OSError as error:
            raise AssentError(
                f"the chat template {settings.chat_template!r} cannot be read ({error.strerror}); give a Jinja file"
            ) from None
    return given


def lora_of(settings: Settings) -> LoraSpec | None:
    """The fresh adapter that the settings ask for."""
    if settings.lora_r is None:
        return None
    alpha = 2.0 * settings.lora_r if settings.lora_alpha is None else settings.lora_alpha
    targets = settings.lora_target_modules or ["all-linear"]
    return LoraSpec(
        settings.lora_r, alpha, settings.lora_dropout or 0.0, targets[0] if targets == ["all-linear"] else targets
    )


def load(settings: Settings, reward: bool = False) -> LoadedModel:
    """The policy, or reward model, as it starts.  A model in memory is copied, so that every run of it starts alike."""
    if isinstance(settings.model, nn.Module):
        for name in ("dtype", "attn_implementation", "adapter", "load_in_4bit", "trust_remote_code"):
            if getattr(settings, name):
                raise AssentError(
                    f"{name} is read when a model is loaded, and the model is an object in memory; leave it out"
                )
        return from_memory(settings.model, lora=lora_of(settings), reward=reward)
    adapted = settings.lora_r is not None or settings.adapter is not None or is_adapter(settings.model)
    return load_policy(
        settings.model,
        dtype=settings.dtype or ("auto" if adapted else "float32"),
        attn_implementation=settings.attn_implementation,
        lora=lora_of(settings),
        adapter=settings.adapter,
        quantization="4bit" if settings.load_in_4bit else None,
        trust_remote_code=settings.trust_remote_code,
        reward=reward,
    )


def make(
    settings: Settings, training: Any, objective: Objective, tokenizer: Any, rows: Sequence[Any],
    table: Precomputed | None = None, tables: Mapping[str, Any] | None = None,
) -> Policy:  # fmt: skip
    """Policy, reference and scorer; what the objective needs and nobody provides is refused here.

    training: transformers' arguments (device and precision).  rows: all tokenised rows, whose reference
    log-probabilities are taken from the cache or computed now.  table: they were computed before.  tables: token columns that
    came with the rows.
    """
    loaded = load(settings, reads_reward(objective))
    if loaded.stage == "full" and settings.merge:
        raise AssentError("merge needs an adapter; give lora_r or adapter, or leave merge out")
    check_vocabulary(loaded.model, tokenizer)
    if reads_reward(objective):
        return Policy(*with_scorer(loaded, objective, tokenizer), False)
    referenced = any(need.kind == "reference" for need in objective.needs)
    any_live = AdapterDisabled() if referenced else None  # stands for the reference, whose pass may take long
    promised = dict.fromkeys({*promised_columns(settings), *(tables or {})})
    check_needs(objective, CausalLMScorer(loaded.model, any_live, token_tables=promised), later=("moving_reference",))
    heads = build(objective.needs, loaded.model)
    other = other_reference(settings, loaded.model) if referenced and table is None else None
    trees = wants_trees(settings, training) and takes_trees(loaded.model, other)
    reference = table
    if referenced and table is None:
        how = reference_logp(settings, training, objective, len(rows))
        reference = _reference(how, settings, training, loaded, other, rows, tokenizer.pad_token_id, trees)
    made = token_tables(settings, training, objective, loaded, other, rows, tokenizer.pad_token_id)
    tables = {**(tables or {}), **made}
    check_masks(objective, tables, rows)
    scorer = CausalLMScorer(loaded.model, reference, tokenizer.pad_token_id, trees, tables, heads)
    check_needs(objective, scorer)
    return Policy(loaded, scorer, referenced and settings.reference in (None, "start"))


def reference_logp(settings: Settings, training: Any, objective: Objective, rows: int) -> str:
    """Where the reference's log-probabilities come from: cached, memory or live; one line says why where not the cache."""
    asked = "cached" if settings.cache_dir is not None else settings.reference_logp
    if reason := uncacheable(objective):
        if asked in ("cached", "memory"):
            name, value = ("cache_dir", settings.cache_dir) if settings.cache_dir else ("reference_logp", asked)
            raise AssentError(f"{name} is {value!r}, but {reason}; leave the option out")
        say(f"the reference runs live: {reason}")
        return "live"
    if asked is not None:
        return asked
    visited = training.max_steps * training.per_device_train_batch_size * training.gradient_accumulation_steps
    if 0 < visited * training.world_size < rows / 2:
        say(f"the reference runs live: max_steps reaches less than half of the {rows} rows")
        return "live"
    return "cached"


def wants_trees(settings: Settings, training: Any) -> bool:
    """Whether the settings leave the prefix-tree path open; one line says why where they do not."""
    reasons = [
        (settings.attn_implementation is not None, f"attn_implementation is {settings.attn_implementation!r}"),
        (training.torch_compile, "torch_compile is set, and trees have another shape in every step"),
        (training.use_liger_kernel, "use_liger_kernel replaces the model's forward"),
    ]
    if settings.scoring != "trees":
        return False
    for closed, reason in reasons:
        if closed:
            say(f"rows are padded, not packed into prefix trees: {reason}")
            return False
    return True


def takes_trees(model: nn.Module, reference: SecondModel | None) -> bool:
    """Make policy and reference ready for prefix trees; where one of them cannot, one line says why and rows are padded."""
    if reason := engine.prepare_all(None if reference is None else reference.model, model):
        say(f"rows are padded, not packed into prefix trees: {reason}")
    return not reason


def _reference(
    how: str, settings: Settings, training: Any, loaded: LoadedModel, other: SecondModel | None, rows: Sequence[Any],
    pad: int, trees: bool,
) -> Reference:  # fmt: skip
    """The reference: live, or its log-probabilities of all rows from the cache or from memory."""
    if how == "live":
        return other or loaded.live_reference()
    if how == "memory":
        return in_memory(training, loaded.model, other, rows, pad, trees)
    root = default_root(settings.cache_dir)
    with counting("reference log-probabilities") as progress:
        cache, built = cached(
            settings, training, loaded, other, rows, pad, root=root, trees=trees, progress=progress
        )  # fmt: skip
    say(f"reference: {built.found} sequences in the cache, {built.computed} computed ({cache.folder})")
    return built.reference


@dataclass(frozen=True)
class Start:
    """Step 0 in evaluation mode on some rows: largest |margin| in nats per sequence (None without a reference), loss.

    notes: what else the rows tell before training, in sentences.
    """

    margin: float | None
    mean_margin: float | None
    loss: float
    same: bool
    rows: int
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What it says, in words."""
        loss = f"loss {self.loss:.4f} on {self.rows} rows"
        if self.margin is None:
            return f"{loss}; the objective reads no reference"
        if self.same:
            return f"policy = reference, largest margin {self.margin:.1e} nats, {loss}"
        return (
            f"the policy is not the reference: margins up to {self.margin:.3g}, mean {self.mean_margin:.3g} "
            f"nats a sequence, {loss}"
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@torch.no_grad()
def check_start(policy: Policy, objective: Objective, state: Any, rows: Sequence[Any], autocast: Any) -> Start:
    """Measure step 0; raises AssentError when the same weights give a margin."""
    with evaluating(policy.model), autocast():
        scores = policy.scorer.scores(rows, objective.needs)
        half = policy.model.dtype in _HALF or any(torch.is_autocast_enabled(d) for d in ("cuda", "cpu"))
    loss, notes = step_loss(objective, scores, state).item(), tuple(log_odds.notes(objective, scores, state))
    if policy.scorer.reference is None:
        return Start(None, None, loss, False, len(rows), notes)
    gap = scores.log_ratio_gap if hasattr(scores, "chosen") else getattr(scores, "completions", scores).log_ratio
    start = Start(gap.abs().max().item(), gap.mean().item(), loss, policy.same, len(rows), notes)
    live = policy.scorer.reference.has_logits
    if policy.same and live and not start.margin <= (HALF_TOLERANCE if half else LIVE_TOLERANCE):
        raise AssentError(
            f"policy and reference are the same weights but their margins differ by up to {start.margin:.3g} nats; "
            "something in the model is random in evaluation mode or the two are run differently"
        )
    return start
