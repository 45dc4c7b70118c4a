"""One optimiser step of the real code on fake tensors: scorer, objective, backward, clipping and optimiser as they will run.

The model is built from its configuration; no weight is read.  Scores and losses are real numbers without a meaning, so that
objectives run as they are; what the model would compute for them is fake, and a ledger keeps its memory and its operations.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from assent.objectives import Objective, RunInfo
from assent.objectives.base import Need
from assent.scoring import attention, engine, loading, lora
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.forward import TokenValues, causal_lm_of, evaluating
from assent.scoring.loading import LoadedModel
from assent.scoring.reference import SecondModel, _by_prompt
from assent.scoring.tree import pack
from assent.training.arguments import Settings
from assent.training.batches import rows_only
from assent.training.ledger import Ledger, Op
from assent.training.policy import lora_of
from assent.training.step import Step, denominators

KINDS = ("weights", "reference", "gradients", "optimizer", "activations", "head", "other")
"""What memory is for.  head: the output layer's tiles and the logits that it keeps."""


@dataclass
class Simulated:
    """What a simulated run needs.

    peak: most bytes alive at once, parts by kind then.  rows: operations of the typical micro-batch, mean over ``shares`` of
    it; calls: their number, views included.  update: operations of clipping and optimiser.  reference: operations of a
    forward without gradients.
    """

    trees: bool
    parameters: int
    trainable: int
    peak: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    rows: Counter[Op] = field(default_factory=Counter)
    calls: int = 0
    shares: int = 1
    update: Counter[Op] = field(default_factory=Counter)
    reference: Counter[Op] = field(default_factory=Counter)

    def saw(self, ledger: Ledger) -> None:
        """Take in a peak."""
        if ledger.peak > self.peak:
            self.peak, self.parts = ledger.peak, {k: v for k, v in ledger.parts.items() if v}


class Simulation:
    """A run's model, optimiser and scorer on fake tensors.

    how: where the reference's log-probabilities come from: "none", "known" (cached or in memory) or "live".
    Raises what the model's own code raises where it cannot run without values.
    """

    def __init__(self, settings: Settings, training: Any, objective: Objective, how: str, annotators: tuple[str, ...],
                 trees: bool) -> None:  # fmt: skip
        self.settings, self.training, self.objective = settings, training, objective
        self.ledger, self.fake = Ledger(), FakeTensorMode(allow_non_fake_inputs=True)
        self.state = objective.init(RunInfo(annotators))
        with torch.device("meta"):  # adapters are put on there: modules of fake tensors cannot be moved
            loaded = _policy(settings)
            reference = self._reference(how, loaded)
        model = self.model = loaded.model
        with self.running("weights"):
            _fake(model)
        if isinstance(reference, SecondModel):
            with self.running("reference"):
                _fake(reference.model)
        models = [model, *([reference.model] if isinstance(reference, SecondModel) else [])]
        self.trees = trees and all(_bind_trees(one) for one in models)
        self.scorer = _Scorer(model, reference, 0, self.trees)
        object.__setattr__(self.scorer, "simulation", self)
        for one in models:
            _watch_head(one, self.ledger)
        if training.gradient_checkpointing:
            with warnings.catch_warnings():
                warnings.filterwarnings(
                    "ignore", category=FutureWarning
                )  # the name of the method, which Trainer calls too
                model.gradient_checkpointing_enable(training.gradient_checkpointing_kwargs)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        for parameter in self.trained:
            parameter.register_post_accumulate_grad_hook(lambda p: self.ledger.relabel(p.grad, "gradients"))
        model.train()

    @contextlib.contextmanager
    def running(self, kind: str) -> Iterator[None]:
        """Everything inside is fake and counted."""
        with warnings.catch_warnings(), self.fake, self.ledger, self.ledger.of(kind):
            warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
            yield

    def _reference(self, how: str, loaded: LoadedModel) -> Any:
        if how == "none":
            return None
        if how == "known":
            return _Known()
        if self.settings.reference in (None, "start"):
            return loaded.live_reference()
        other = dataclasses.replace(self.settings, model=self.settings.reference, adapter=None, lora_r=None)
        return SecondModel(_policy(other, merge=True).model)

    # ---- running --------------------------------------------------------------------------------------

    def run(
        self, batches: Sequence[Sequence[Any]], typical: Sequence[Sequence[Any]], passed: Sequence[Any] = ()
    ) -> Simulated:
        """A step after the first one on ``batches``, and its operations on the micro-batches ``typical``.

        passed: sequences of a forward without gradients, before training.
        """
        sizes = (sum(p.numel() for p in some) for some in (self.model.parameters(), self.trained))
        found = Simulated(self.trees, *sizes, shares=len(typical))
        self.ledger.clear()
        if passed:
            self._pass(passed)
            found.saw(self.ledger)
            found.reference = self.ledger.ops
        with self.running("optimizer"):
            optimizer = self._optimizer()
            for parameter in self.trained:
                parameter.grad = torch.empty_like(parameter)
                self.ledger.relabel(parameter.grad, "gradients")
            optimizer.step()
            optimizer.zero_grad()
        self.ledger.clear()
        self._score(batches)
        found.saw(self.ledger)
        self.ledger.clear()
        with self.running("optimizer"):
            if self.training.max_grad_norm:
                torch.nn.utils.clip_grad_norm_(self.trained, self.training.max_grad_norm)
            optimizer.step()
            found.saw(self.ledger)
            optimizer.zero_grad()
        found.update = self.ledger.ops
        self.ledger.clear()
        self._score(typical)
        found.rows, found.calls = self.ledger.ops, self.ledger.dispatched
        return found

    def _score(self, batches: Sequence[Sequence[Any]]) -> None:
        rows = [row for batch in batches for row in batch]
        step = Step(self.objective, self.state, self.scorer_of, lambda loss: loss.backward())
        step.run(batches, denominators(self.objective, rows_only(rows)), len(rows))

    def scorer_of(self, rows: Sequence[Any]) -> Any:
        """Scores of rows, with autocast as in the run."""
        return self.scorer.scores(rows, self.objective.needs)

    def _pass(self, sequences: Sequence[Any]) -> None:
        """A batch of the pass that computes the reference's log-probabilities."""
        batch = pack(sequences, _by_prompt(sequences)) if self.trees else self.scorer._batch(sequences, ())
        with evaluating(self.model), torch.no_grad(), self.running("activations"), self.autocast():
            engine.values(self.model, self.faked(batch))

    def autocast(self) -> contextlib.AbstractContextManager:
        """Mixed precision as the run has it."""
        half = torch.bfloat16 if self.training.bf16 else torch.float16 if self.training.fp16 else None
        return contextlib.nullcontext() if half is None else torch.autocast("cpu", dtype=half)

    def faked(self, batch: Any) -> Any:
        """A batch whose tensors have no values."""
        values = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch) if f.init}
        return dataclasses.replace(
            batch, **{k: self.fake.from_tensor(v) for k, v in values.items() if isinstance(v, Tensor)}
        )

    def backward(self, values: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        """The model's backward pass, called by the real one."""
        pairs = [(v, g) for v, g in zip(values, gradients, strict=True) if g is not None and v.requires_grad]
        with self.running("head"):
            torch.autograd.backward([v for v, _ in pairs], [self.fake.from_tensor(g) for _, g in pairs])

    def _optimizer(self) -> Any:
        from transformers import Trainer

        cls, options = Trainer.get_optimizer_cls_and_kwargs(self.training, self.model)
        return cls(self.trained, **options)


class _Known:
    """A reference whose log-probabilities are known: there is nothing to compute."""

    name, has_logits = "known", False

    def logp(self, policy: nn.Module, batch: Any, sequences: Sequence[Any]) -> Tensor:
        return torch.zeros(len(batch.target))


class _Scorer(CausalLMScorer):
    """The scorer whose forward is fake and whose values are real: -1 nat a token, which suits every objective."""

    def _forward(
        self, batch: Any, sequences: Sequence[Any], kinds: set[str]
    ) -> tuple[TokenValues, Tensor | None]:  # fmt: skip
        simulation: Simulation = self.simulation
        with simulation.running("activations"), simulation.autocast():
            found, ref_logp = super()._forward(simulation.faked(batch), sequences, kinds)
        names = [name for name, value in found._asdict().items() if value is not None]
        anchor = torch.zeros((), requires_grad=True)
        real = _Bridge.apply(simulation, anchor, [getattr(found, name) for name in names])
        return TokenValues(**dict(zip(names, real, strict=True))), None if ref_logp is None else -torch.ones_like(
            real[0].detach()
        )

    def _token_columns(self, batch: Any, sequences: Sequence[Any], needs: frozenset[Need]) -> dict[str, Tensor]:
        """Columns are tables, read at no cost that matters."""
        return {need.name: torch.zeros(len(batch.target)) for need in needs if need.kind == "token_column"}


class _Bridge(torch.autograd.Function):
    """Real numbers in place of fake values; the gradient that comes back starts the fake backward pass."""

    @staticmethod
    def forward(ctx: Any, simulation: Simulation, anchor: Tensor, values: list[Tensor]) -> tuple[Tensor, ...]:
        ctx.simulation, ctx.values = simulation, values
        return tuple(torch.full(v.shape, -1.0, dtype=v.dtype) for v in values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, None, None]:
        values, ctx.values = ctx.values, None
        ctx.simulation.backward(values, gradients)
        return None, None, None


# ---- models ---------------------------------------------------------------------------------------------


def _policy(settings: Settings, merge: bool = False) -> LoadedModel:
    """The policy as ``policy.load`` makes it, from configurations alone; merge: an adapter leaves no trace."""
    from transformers import AutoConfig, AutoModelForCausalLM

    spec, source, adapter = lora_of(settings), settings.model, settings.adapter
    if isinstance(source, nn.Module):
        config, base = source.config, "a model in memory"
        dtype = source.dtype
    else:
        if lora.is_adapter(source):
            adapter, source = source, lora.base_of(source)
        base = str(source)
        loading._check_reachable(base, "config.json")
        config = AutoConfig.from_pretrained(source, trust_remote_code=settings.trust_remote_code)
        adapted = spec is not None or adapter is not None
        dtype = loading._torch_dtype(settings.dtype or ("auto" if adapted and not merge else "float32"))
        dtype = (config.dtype or torch.float32) if dtype == "auto" else dtype
    loading._zero_dropout_of(config)
    options = {"attn_implementation": settings.attn_implementation} if settings.attn_implementation else {}
    model = AutoModelForCausalLM.from_config(
        config, dtype=dtype, trust_remote_code=settings.trust_remote_code, **options
    )
    model.config.use_cache = False
    stage = "full"
    if adapter is not None and not merge:
        peft = lora.require_peft()
        known = peft.PeftConfig.from_pretrained(str(adapter))
        known.inference_mode, stage = False, "continued"
        model = peft.get_peft_model(model, known)
    elif spec is not None:
        model, stage = lora.fresh_adapter(model, spec), "fresh"
    loading._without_dropout(model, keep_lora=spec.dropout if spec else None)
    return LoadedModel(model, stage, base, base)


def _fake(model: nn.Module) -> None:
    """Turn the parameters and buffers of a model without memory into fake tensors on the CPU; what is tied stays tied."""
    known: dict[int, Tensor] = {}
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is None:
                    continue
                if id(tensor) not in known:
                    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
                    known[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if name in module._parameters else made
                table[name] = known[id(tensor)]
        if isinstance(module, nn.Linear):  # the head takes weights that can be sliced, as shards can: so can these
            module.weight.to_local = module.weight.clone


def _bind_trees(model: nn.Module) -> bool:
    """``engine.prepare`` without its probe, whose values nobody knows here."""
    inner = causal_lm_of(model)
    if engine.unsuited(model, inner):
        return False
    attention.register()
    inner.set_attn_implementation(attention.NAME)
    inner.forward = MethodType(engine._forward_of(type(inner)), inner)
    return True


def _watch_head(model: nn.Module, ledger: Ledger) -> None:
    """Tell the ledger what the output layer allocates, forward and, until its input's gradient is known, backward."""
    head = causal_lm_of(model).get_output_embeddings()
    before: list[str] = []

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        before.append(ledger.kind)
        ledger.kind = "head"
        if inputs[0].requires_grad:
            inputs[0].register_hook(leave_backward)

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        ledger.kind = before.pop()

    def leave_backward(gradient: Tensor) -> None:
        ledger.kind = "activations"

    head.register_forward_pre_hook(enter)
    head.register_forward_hook(leave)
