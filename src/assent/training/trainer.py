"""The trainer: transformers.Trainer whose batch is the whole optimiser step of a rank."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments

from assent.errors import AssentError
from assent.objectives import Objective, RunInfo, combine, partial_sums
from assent.scoring.forward import evaluating
from assent.scoring.table import sequences_of
from assent.training.batches import Rows, StepSampler, identity, planned_steps, rows_only
from assent.training.budget import Dealer
from assent.training.checkpoints import grown, load_state, save_state
from assent.training.extragradient import EXTRAGRADIENT, HalfSteps
from assent.training.gather import concatenate, first_rows, on_ranks
from assent.training.heads import HeadKeeper
from assent.training.interrupt import Interrupt
from assent.training.metrics import Metrics
from assent.training.moving import Moving
from assent.training.progress import say
from assent.training.step import Step, all_reduce, denominators

Observer = Callable[[Sequence[Any], Any, Mapping[str, Tensor]], None]
"""Told (rows, scores, objective's state) of every micro-batch that is trained on, once."""


Refresh = Callable[[int, Any], tuple[list[Any], Mapping[str, Any]]]
"""(epoch, the trainer) -> that epoch's rows, as many in each, and their token columns."""


class PreferenceTrainer(Trainer):
    """Minimises an objective over tokenised rows; checkpoints, trackers, adapters and launchers are transformers'.

    A batch holds ``per_device_train_batch_size * gradient_accumulation_steps`` rows, one optimiser step of a rank; it is
    run in micro-batches of ``per_device_train_batch_size`` rows, or of ``args.max_tokens_per_batch`` tokens where that is
    set, which change neither loss nor gradient.
    scorer: rows -> scores, with ``on(model)``.  annotators: their names in vocabulary order.
    observers: see Observer.  refresh: makes the rows of every epoch, where they depend on the policy.
    interrupt: when it is asked, the run saves a checkpoint and stops.
    Raises AssentError at the first loss that is not finite, before the parameters have moved.
    """

    def __init__(
        self, model: Any, args: TrainingArguments, rows: Sequence[Any], *, scorer: Any, objective: Objective,
        annotators: tuple[str, ...] = RunInfo().annotators, eval_rows: Sequence[Any] | None = None,
        observers: Sequence[Observer] = (), interrupt: Interrupt | None = None, on_nonfinite: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        self.rows_per_rank = args.per_device_train_batch_size * args.gradient_accumulation_steps
        args.gradient_accumulation_steps = 1  # the micro-batches are run here, inside one step of the loop
        if args.n_gpu > 1:
            args._n_gpu = 1  # DataParallel would split rows from their step; several devices need a launcher
        self.scorer, self.objective, self.annotators = scorer, objective, annotators
        self.observers, self.interrupt, self.on_nonfinite = list(observers), interrupt or Interrupt(), on_nonfinite
        self.stopping = False
        self.refresh: Refresh | None = None
        self.metrics, self._sums = Metrics(objective), None  # the sums of a step that has not moved the state yet
        super().__init__(
            model, args, data_collator=identity, train_dataset=Rows(rows),
            eval_dataset=None if eval_rows is None else Rows(eval_rows), **kwargs,
        )  # fmt: skip
        _check_sharding(args, self.accelerator)
        sharded = self.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
        self.moving = Moving(objective, getattr(scorer, "reference", None), sharded)
        self.heads = HeadKeeper(getattr(scorer, "heads", None), sharded)
        _check_update(args, sharded)
        self.half_steps = HalfSteps(args)
        self.objective_state = self._placed(objective.init(RunInfo(annotators)))
        self.add_callback(_Loop(self))

    def run(self, checkpoint: Path | None = None) -> None:
        """Train, from a checkpoint where one is given; a run that is complete is loaded and not trained further."""
        if checkpoint is None:
            self.train()
            self._take_best()
            return
        self.restore(checkpoint)
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        self.half_steps.load(checkpoint, state.global_step)
        if state.global_step < planned_steps(self.args, len(self.step_sampler())):
            if not any(
                any(checkpoint.glob(name)) for name in ("optimizer*", "global_step*")
            ):  # sharded ones are folders
                raise AssentError(
                    f"{str(checkpoint)!r} holds the model only (save_only_model), so the run cannot be continued exactly; "
                    "train from it as a model instead"
                )
            self.train(resume_from_checkpoint=str(checkpoint))
            self._take_best()
        else:
            self._load_from_checkpoint(str(checkpoint))
            self.state = state

    def _take_best(self) -> None:
        """Where transformers loaded the best checkpoint's weights, its state of the objective belongs to them."""
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            self.restore(Path(self.state.best_model_checkpoint))

    # ---- rows -----------------------------------------------------------------------------------------

    def step_sampler(self) -> StepSampler:
        """The order of the rows on this rank, and how they are cut into micro-batches."""
        a = self.args
        return StepSampler(
            len(self.train_dataset), self.rows_per_rank, a.seed if a.data_seed is None else a.data_seed,
            shuffle=getattr(a, "train_sampling_strategy", "random") == "random", drop_last=a.dataloader_drop_last,
            rank=a.process_index, ranks=a.world_size, deal=self.dealer(),
        )  # fmt: skip

    def dealer(self) -> Dealer:
        """Who deals a step's rows to ranks and micro-batches."""
        budget = getattr(self.args, "max_tokens_per_batch", None)
        trees = getattr(self.scorer, "trees", False)
        return Dealer(self.train_dataset.rows, self.args.world_size, self._train_batch_size, budget, trees)

    def get_train_dataloader(self) -> DataLoader:
        """Whole steps in the order of ``step_sampler``; no row is repeated to even out ranks."""
        self.sampler = self.step_sampler()
        if larger := self.sampler.deal.larger_rows():
            say(
                f"{len(larger)} of {len(self.train_dataset)} rows are larger than max_tokens_per_batch "
                f"({self.sampler.deal.budget}, the largest row {max(larger)}) and run alone"
            )
        a = self.args
        return DataLoader(
            self.train_dataset, batch_sampler=self.sampler, collate_fn=identity, generator=torch.Generator(),
            num_workers=a.dataloader_num_workers, prefetch_factor=a.dataloader_prefetch_factor,
            persistent_workers=a.dataloader_persistent_workers,
        )  # fmt: skip

    def get_total_train_batch_size(self, args: TrainingArguments) -> int:
        """Rows of an optimiser step over all ranks."""
        return self.rows_per_rank * args.world_size

    def floating_point_ops(self, inputs: Sequence[Any]) -> int:
        """Six per parameter and token."""
        tokens = sum(len(s.ids) for row in inputs for s in sequences_of(row))
        return 6 * tokens * sum(p.numel() for p in self.model.parameters())

    def renew(self, epoch: int) -> None:
        """Take the rows of this epoch, where they are made as the run goes."""
        if self.refresh is not None:
            rows, tables = self.refresh(epoch, self)
            self.train_dataset.rows[:] = rows
            self.scorer = replace(self.scorer, token_tables={**self.scorer.token_tables, **tables})

    # ---- a step ---------------------------------------------------------------------------------------

    def _score(self, model: Any, rows: Sequence[Any]) -> Any:
        with self.accelerator.autocast():
            return self.scorer.on(model).scores(rows, self.objective.needs)

    def training_step(self, model: Any, inputs: Sequence[Any], num_items_in_batch: Any = None) -> Tensor:
        """Gradients of the whole step's loss; gives this rank's part times the number of ranks, which logging averages."""
        model.train()
        if callable(getattr(self.optimizer, "train", None)):
            self.optimizer.train()
        device = self.args.device
        blank = rows_only(inputs, device)
        step = Step(
            objective=self.objective,
            state=self.objective_state,
            score=partial(self._score, model),
            backward=self.accelerator.backward,
            ranks=self.args.world_size,
            hold=partial(self._hold, model),
            check=partial(self._check, inputs=inputs),
            observe=self._observe,
            sides=self._sided_parameters(model),
        )
        self.heads.before_step()
        totals = all_reduce(denominators(self.objective, blank).to(device))
        outcome = step.run(inputs.micro_batches(), totals, inputs.real)
        self.heads.after_backward(self.args.world_size)
        self._sums = outcome.sums
        return (outcome.loss * self.args.world_size).to(device)

    def _sided_parameters(self, model: Any) -> list[Tensor] | None:
        """What the normalised pair update normalises over; None for the ordinary sum."""
        if getattr(self.args, "update", "sum") != "normalised_pair":
            return None
        return [p for p in model.parameters() if p.requires_grad]

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """transformers' optimizer, with a group of their own for masks and heads."""
        optimizer = super().create_optimizer(*args, **kwargs)
        rate = getattr(self.args, "head_learning_rate", None)
        rate = self.args.learning_rate if rate is None else rate
        self.heads.add_group(optimizer, rate, getattr(self.args, "head_weight_decay", None))
        return optimizer

    def create_scheduler(self, num_training_steps: int, *args: Any, **kwargs: Any) -> Any:
        """transformers' schedule, over whole updates."""
        if self.lr_scheduler is not None:
            return self.lr_scheduler
        updates = self.half_steps.updates(num_training_steps)
        return self.half_steps.paced(super().create_scheduler(updates, *args, **kwargs))

    @contextmanager
    def _hold(self, model: Any) -> Iterator[None]:
        """A micro-batch before the last: ranks exchange no gradients, and DeepSpeed's engine makes no step."""
        accumulation = self.accelerator.gradient_state
        before = accumulation.sync_gradients
        accumulation._set_sync_gradients(False)
        try:
            with self.accelerator.no_sync(model):
                yield
        finally:
            accumulation._set_sync_gradients(before)

    def _observe(self, rows: Sequence[Any], scores: Any) -> None:
        self.metrics.add(scores, self.objective_state)
        for observer in self.observers:
            observer(rows, scores, self.objective_state)

    def _check(self, loss: Tensor, inputs: Sequence[Any]) -> None:
        """Agree over ranks whether the loss is finite and whether somebody asked to stop."""
        flags = torch.stack([
            (~torch.isfinite(loss)).float(),
            torch.tensor(float(self.interrupt.asked), device=loss.device),
        ])  # fmt: skip
        broken, asked = (all_reduce(flags) > 0).tolist()
        self.stopping = self.stopping or asked
        if broken:
            where = self.on_nonfinite(inputs) if self.on_nonfinite else None
            saved = f"; its rows are in {where}" if where else ""
            raise AssentError(
                f"the loss of step {self.state.global_step + 1} is not finite{saved}; "
                "lower the learning rate or look at these rows"
            )

    def update_state(self) -> None:
        """Move the objective's state by the step's statistics; half steps and what the optimiser skipped leave it alone."""
        sums, self._sums = self._sums, None
        skipped = self.accelerator.optimizer_step_was_skipped or self.half_steps.half(self.state.global_step)
        if sums is None or skipped:
            return
        if names := sorted(sums):
            flat = all_reduce(torch.cat([sums[n].reshape(-1).double() for n in names]))
            parts = flat.split([sums[n].numel() for n in names])
            sums = {n: part.reshape(sums[n].shape).to(sums[n]) for n, part in zip(names, parts, strict=True)}
        self.objective_state = self._placed(self.objective.update(self.objective_state, sums))
        self.moving.after_step(self.model, self.objective_state)

    def _placed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.detach().to(self.args.device) for name, value in state.items()}

    # ---- evaluation and logging -----------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Loss and metrics over held-out rows, reduced as one step; the objective's state does not move."""
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        rows = data if isinstance(data, Rows) else Rows(data)
        a, started = self.args, time.time()
        sampler = StepSampler(len(rows), a.eval_batch_size, 0, shuffle=False, rank=a.process_index, ranks=a.world_size)
        metrics, kept, sums = Metrics(self.objective), [], 0.0
        model = self.accelerator.unwrap_model(
            self.model
        )  # every rank runs as many batches, so that shards can be gathered
        coupled = self.objective.couples != "no"
        with evaluating(model):
            for numbers in sampler:
                batch = identity([rows[i] for i in numbers])
                scores = self._score(model, batch)
                metrics.add(scores, self.objective_state)
                if coupled:
                    kept.append(first_rows(scores, batch.real))
                else:
                    parts = partial_sums(self.objective, scores, self.objective_state)
                    sums = sums + torch.stack([torch.stack([p.numerator, p.denominator]).double() for p in parts])
        if coupled:
            kept = [part for part in kept if part is not None]
            whole = concatenate(on_ranks(concatenate(kept) if kept else None)[0])
            loss = combine(partial_sums(self.objective, whole, self.objective_state)).item()
        else:
            sums = all_reduce(sums)
            terms = self.objective.terms()
            loss = sum((t.coefficient * n / d.clamp_min(1e-30)).item() for t, (n, d) in zip(terms, sums, strict=True))
        seconds = time.time() - started
        found = {"loss": loss, **metrics.read(), "runtime": round(seconds, 4),
                 "samples_per_second": round(len(rows) / seconds, 3)}  # fmt: skip
        output = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(output)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, output)
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Training logs carry the metrics since the last log and the reliabilities now."""
        if "loss" in logs or "train_loss" in logs:
            logs |= self.metrics.read()
            logs |= self.metrics.reliabilities(self.objective_state, self.annotators)
        super().log(logs, start_time)

    # ---- checkpoints ----------------------------------------------------------------------------------

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The model's files, and beside them the objective's state with the annotators' names."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            save_state(folder, self.objective_state, self.annotators, str(self.objective))
            self.moving.save(folder)
            self.heads.save(folder)
            self.half_steps.save(folder)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Gathered shards no longer share memory: a weight with two names is written once, as a single process does."""
        seen: set[int] = set()
        for name, parameter in self.model.named_parameters(remove_duplicate=False) if state_dict else ():
            if id(parameter) in seen:
                state_dict.pop(name, None)
            seen.add(id(parameter))
        super()._save(output_dir, state_dict)

    def restore(self, checkpoint: Path) -> None:
        """Take the objective's state from a checkpoint; names that are new keep their start."""
        state, names, objective = load_state(checkpoint)
        if objective != str(self.objective):
            raise AssentError(
                f"{str(checkpoint)!r} was trained with {objective}, this run asks for {self.objective!s}; "
                "resume with the same objective or choose another directory"
            )
        self.moving.load(checkpoint)
        self.heads.load(checkpoint)
        fresh = self.objective.init(RunInfo(self.annotators))
        self.objective_state = self._placed(grown(state, names, fresh, self.annotators))


class _Loop(TrainerCallback):
    """The trainer's own places in the loop."""

    def __init__(self, trainer: PreferenceTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        epoch = state.global_step // max(len(self.trainer.sampler), 1)
        self.trainer.sampler.set_epoch(epoch)
        self.trainer.renew(epoch)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.half_steps.put_back(state.global_step, self.trainer.optimizer)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.half_steps.keep(state.global_step, self.trainer.optimizer)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.update_state()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if self.trainer.stopping:
            control.should_save = control.should_training_stop = True
        return control


def _check_update(args: TrainingArguments, sharded: bool) -> None:
    """Refuse updates that need whole gradients and weights, of which no step is skipped, where these are not at hand."""
    update = getattr(args, "update", "sum")
    if update in ("normalised_pair", EXTRAGRADIENT) and (sharded or args.fp16):
        what = "shards gradients" if sharded else "scales gradients (fp16)"
        raise AssentError(f"update={update!r} reads whole gradients and this run {what}; use DDP and bf16 or float32")


def _check_sharding(args: TrainingArguments, accelerator: Any) -> None:
    """Refuse FSDP where accelerate would copy the whole model to every rank, and shards that would not be saved whole."""
    asked = args.fsdp or os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")
    if asked and accelerator.distributed_type != DistributedType.FSDP:
        where = f"{accelerator.distributed_type.value}, {accelerator.device.type}"
        raise AssentError(
            f"fsdp is set and accelerate does not shard here ({where}); run several processes on accelerators, or leave "
            "fsdp out"
        )
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and "FULL" not in str(plugin.state_dict_type):
        raise AssentError("fsdp saves shards (state_dict_type), not a model; set state_dict_type to FULL_STATE_DICT")
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    whole = "stage3_gather_16bit_weights_on_model_save"
    if plugin is not None and plugin.zero_stage == 3 and not plugin.deepspeed_config["zero_optimization"].get(whole):
        raise AssentError(f"deepspeed's stage 3 saves shards, not a model; set zero_optimization.{whole} to true")
