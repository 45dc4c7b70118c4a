"""``assent plan``: what a run will need and how long it will take, before it, and what each knob would change.

One optimiser step runs on fake tensors (``simulate``), which tells the memory; its operations are timed on this machine with
their own shapes (``probe``), which tells the time.  Where a model cannot run without values, a closed form takes over and
is named.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from assent.errors import AssentError
from assent.objectives import Objective, parse
from assent.scoring.loading import check_vocabulary
from assent.scoring.table import batches as pass_batches
from assent.scoring.table import distinct
from assent.training.arguments import Settings, resolve
from assent.training.batches import StepSampler, planned_steps
from assent.training.budget import Bundle, Dealer
from assent.training.caching import TOKENS_PER_BATCH
from assent.training.estimate import closed_form
from assent.training.knobs import variants as variants_of
from assent.training.metrics import lcpo_terms
from assent.training.policy import reference_logp, wants_trees
from assent.training.prepare import Prepared, prepare
from assent.training.probe import Probe
from assent.training.simulate import Simulated, Simulation
from assent.training.source_settings import only_of_files

PROBE_SECONDS = 10.0
"""How long operations are timed in all."""
BASE_SHARE = 0.6
"""Share of it that goes to the run itself; the rest to what only the knobs bring."""
CALL_SECONDS = 6e-6
"""What Python, modules and autograd add to every operation, views included."""
RESIDENT, RETAINED = 40_000_000, 145_000_000
"""CPU: bytes of code, tokenizer and buffers beside the tensors, and the most that the C library keeps in pieces of what is
allocated and freed in every step: measured once over the cases of benchmarks/plan.py, the same for all runs."""
WORTH = 1.05
"""A knob is worth a word from this speed on, as a multiple of the run's."""
CHANGING = frozenset({"lora_r", "optim", "dtype"})
"""Knobs that change what is trained."""
INDEX_BYTES, SHARD_BYTES, HEADER_BYTES = 40, 32, 512
"""Bytes of a sequence in the index in memory, of its key and place in the cache's files, and of a file's header."""


@dataclass(frozen=True)
class Knob:
    """An argument with another value, and the run it would give."""

    name: str
    value: Any
    peak_bytes: int
    tokens_per_second: float

    @property
    def remark(self) -> str:
        """What else the knob does, as the end of a sentence; empty where loss and gradient stay as they are."""
        return ", and train another thing" if self.name in CHANGING else ""

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {
            "value": self.value if isinstance(self.value, bool | int | float | str) else str(self.value)
        }


@dataclass(frozen=True)
class Plan:
    """A run as predicted.

    peak_bytes: resident memory above what the process holds before the model is loaded (CPU), or what the allocator
    reserves (CUDA); parts: by what it is for.  tokens: packed ones, a prompt once per tree.  seconds: of the whole run;
    reference_seconds, cache_bytes: of the pass that fills the reference cache when it is empty.
    how: "simulated", or why a closed form stands in.
    """

    peak_bytes: int
    parts: dict[str, int]
    tokens_per_second: float
    pairs_per_second: float
    rows: int
    steps: int
    tokens_per_step: float
    seconds: float
    reference_seconds: float
    cache_bytes: int
    device: str
    available_bytes: int | None
    how: str = "simulated"
    largest_micro_batch: int = 0
    largest_row: int = 0
    knobs: tuple[Knob, ...] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        told = {name: value for name, value in vars(self).items() if name != "knobs"}
        return {"schema": 1, **told, "knobs": [knob.to_json() for knob in self.knobs]}

    def text(self) -> str:
        """The plan as a few lines and a table of the knobs."""
        parts = ", ".join(f"{k} {_size(v)}" for k, v in sorted(self.parts.items(), key=lambda item: -item[1]))
        free = "" if self.available_bytes is None else f" of {_size(self.available_bytes)} free"
        lines = [
            f"peak memory  {_size(self.peak_bytes)}{free} on {self.device}: {parts}",
            f"speed        {self.tokens_per_second:,.0f} tokens/s, {self.pairs_per_second:,.2f} rows/s",
            f"run          {self.steps:,} steps on {self.rows:,} rows, {self.tokens_per_step:,.0f} tokens a step, "
            f"{_time(self.seconds)}, of which {_time(self.reference_seconds)} for the reference's pass",
            f"cache        {_size(self.cache_bytes)}",
        ]
        if self.how != "simulated":
            lines.append(f"a closed form, not a simulation: {self.how}")
        if self.knobs:
            lines += ["", f"{'knob':<44} {'peak memory':>16} {'tokens/s':>16}"]
        for knob in self.knobs:
            memory, speed = knob.peak_bytes / self.peak_bytes - 1, knob.tokens_per_second / self.tokens_per_second - 1
            lines.append(
                f"{knob.name + '=' + str(knob.value):<44} {_size(knob.peak_bytes):>9} {memory:>+6.0%} "
                f"{knob.tokens_per_second:>9,.0f} {speed:>+6.0%}"
            )
        return "\n".join([*lines, "", self.advice()])

    def advice(self) -> str:
        """Which knob to turn, in a sentence; those that leave loss and gradient as they are come first."""
        free = math.inf if self.available_bytes is None else self.available_bytes
        fit = [knob for knob in self.knobs if knob.peak_bytes <= free]
        if self.peak_bytes > free:
            if best := _fastest(fit):
                return f"it does not fit; {best.name}={best.value} makes it fit at the least cost in speed{best.remark}"
            what = (
                "no single knob makes it fit: turn several"
                if self.knobs
                else "without --no-knobs the plan says what helps"
            )
            return f"it does not fit; {what}, or take a smaller model"
        best = _fastest([knob for knob in fit if knob.tokens_per_second > WORTH * self.tokens_per_second])
        if best is None:
            return f"it fits, and no knob makes it faster by more than {WORTH - 1:.0%}" if self.knobs else "it fits"
        gain = best.tokens_per_second / self.tokens_per_second - 1
        return f"it fits; {best.name}={best.value} would make it {gain:.0%} faster{best.remark}"


def _fastest(knobs: Sequence[Knob]) -> Knob | None:
    """The fastest of those that change nothing but cost, else the fastest of all."""
    same = [knob for knob in knobs if not knob.remark]
    return max(same or knobs, key=lambda knob: knob.tokens_per_second, default=None)


def plan(model: Any, data: Any, objective: str | Objective = "dpo()", output_dir: str = "", *, knobs: bool = True,
         probe_seconds: float = PROBE_SECONDS, **arguments: Any) -> Plan:  # fmt: skip
    """Predict memory and time of ``train`` with the same arguments; nothing is written and no weight is read.

    knobs: also predict the run with one argument changed, for each argument that matters.  probe_seconds: how long
    operations are timed at most.  Raises AssentError where ``train`` would refuse the arguments, and for sharded runs.
    """
    if not probe_seconds > 0:
        raise AssentError(f"probe_seconds is {probe_seconds}; expected a positive number, 10 by default")
    objective = parse(objective)
    arguments = {"model": model, "data": data, **arguments}
    settings, training = resolve(arguments, objective, output_dir or "unused")
    only_of_files(settings, "plan")
    for name in ("fsdp", "deepspeed"):
        if getattr(training, name):
            raise AssentError(f"{name} is set, and plan knows one process with a whole model; leave it out of the plan")
    if any(need.kind == "reward" for need in objective.needs):
        raise AssentError(f"{objective!s} trains a reward model, and plan knows policies; start with a small max_steps")
    if headed := sorted(str(need) for need in objective.needs if need.kind in ("mask", "head")):
        raise AssentError(
            f"{objective!s} trains {headed[0]}, whose passes plan does not know; plan the objective without it"
        )
    prepared = prepare(settings, objective, training.seed, None)
    probe = Probe(training.device)
    found = _predict(
        settings, training, objective, prepared, probe, BASE_SHARE * probe_seconds if knobs else probe_seconds
    )
    if not knobs:
        return found
    variants, tried = variants_of(settings, training, objective, found), []
    for number, (name, value, changes) in enumerate(variants):
        budget = max(0.0, probe_seconds - probe.spent) / (len(variants) - number)
        with contextlib.suppress(AssentError), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of argument names that transformers will change
            settings, training = resolve({**arguments, **changes}, objective, output_dir or "unused")
            other = _predict(settings, training, objective, prepared, probe, budget)
            tried.append(Knob(name, value, other.peak_bytes, other.tokens_per_second))
    return replace(found, knobs=tuple(tried))


# ---- one run --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deal:
    """An epoch cut into micro-batches (rows), and the packed tokens of each, step by step."""

    steps: list[list[list[Any]]]
    tokens: list[list[int]]
    largest_row: int

    @classmethod
    def of(cls, training: Any, rows: Sequence[Any], trees: bool) -> Deal:
        a = training
        size = a.per_device_train_batch_size
        dealer = Dealer(rows, a.world_size, size, getattr(a, "max_tokens_per_batch", None), trees)
        sampler = StepSampler(
            len(rows), size * a.gradient_accumulation_steps, a.seed if a.data_seed is None else a.data_seed,
            shuffle=getattr(a, "train_sampling_strategy", "random") == "random", drop_last=a.dataloader_drop_last,
            rank=a.process_index, ranks=a.world_size, deal=dealer,
        )  # fmt: skip
        bundles = [Bundle.of_row(row, place, trees) for place, row in enumerate(rows)]
        steps, tokens = [], []
        for share in sampler:
            numbers = iter([n if n >= 0 else -1 - n for n in share])
            cut = [[next(numbers) for _ in range(size)] for size in share.sizes]
            steps.append([[rows[n] for n in batch] for batch in cut])
            tokens.append([Bundle.of([bundles[n] for n in batch]).tokens for batch in cut])
        if not steps:
            raise AssentError(f"{len(rows)} rows make no whole step; give more rows or leave dataloader_drop_last out")
        return cls(steps, tokens, max(bundle.tokens for bundle in bundles))

    @property
    def micro_batches(self) -> int:
        return sum(map(len, self.tokens))

    @property
    def total(self) -> int:
        """Tokens of an epoch."""
        return sum(map(sum, self.tokens))

    def worst(self) -> list[list[Any]]:
        """The largest first micro-batch of a step and, where steps have several, the largest second one."""
        found = []
        for place in range(2):
            known = [(t[place], i) for i, t in enumerate(self.tokens) if len(t) > place]
            if known:
                found.append(self.steps[max(known)[1]][place])
        return found

    def typical(self) -> tuple[list[Any], int]:
        """The micro-batch whose tokens are nearest the mean, and its tokens."""
        mean = self.total / self.micro_batches
        flat = [(abs(t - mean), i, j) for i, step in enumerate(self.tokens) for j, t in enumerate(step)]
        _, i, j = min(flat)
        return self.steps[i][j], self.tokens[i][j]


def _predict(
    settings: Settings, training: Any, objective: Objective, prepared: Prepared, probe: Probe, budget: float
) -> Plan:
    """One run, without knobs."""
    referenced = any(need.kind == "reference" for need in objective.needs)
    how = reference_logp(settings, training, objective, len(prepared.all_rows)) if referenced else "none"
    runs = _runs(settings, objective)
    if how == "cached" and any(term.mode == "crossfit" for term, _ in lcpo_terms(objective)):
        how = "memory"  # the folds share one table
    trees = wants_trees(settings, training)
    try:
        if settings.load_in_4bit:
            raise ValueError("4-bit weights are made when they are read")
        simulation = Simulation(settings, training, objective, "known" if how in ("cached", "memory") else how,
                                prepared.annotators, trees)  # fmt: skip
        check_vocabulary(simulation.model, prepared.tokenizer)
        trees = simulation.trees
        deal = Deal.of(training, prepared.rows, trees)
        batch, tokens = deal.typical()
        passed, passes = _pass(settings, prepared, trees, how)
        several = objective.couples != "no" and max(map(len, deal.tokens)) > 1
        found = simulation.run(deal.worst(), [batch, batch] if several else [batch], passed)
        why = "simulated"
        del simulation
    except AssentError:
        raise
    except Exception as error:  # the model's own code, which may do anything that needs values
        why = " ".join(str(error).split())[:160] or type(error).__name__
        deal = Deal.of(training, prepared.rows, trees)
        batch, tokens = deal.typical()
        passed, passes = _pass(settings, prepared, trees, how)
        found = closed_form(settings, training, deal.worst(), batch, passed, trees, live=how == "live")
    return _timed(training, prepared, probe, budget, how, deal, tokens, passes, found, why, runs)


def _timed(
    training: Any, prepared: Prepared, probe: Probe, budget: float, how: str, deal: Deal, tokens: int, passes: float,
    found: Simulated, why: str, runs: int,
) -> Plan:  # fmt: skip
    """The plan of a run, from what a simulated step needs and how fast its operations are here.

    tokens: of the typical micro-batch.  passes: forwards like the simulated one that all rows take.  runs: see _runs.
    """
    probe.measure(found.rows + found.update + found.reference, budget)
    row_seconds = (probe.of(found.rows) + CALL_SECONDS * found.calls) / found.shares
    epoch = row_seconds * deal.total / tokens + len(deal.steps) * probe.of(found.update)
    steps = runs * planned_steps(training, len(deal.steps))
    forward = probe.of(found.reference) + CALL_SECONDS * sum(found.reference.values())
    known = how in ("cached", "memory")
    reference = passes * forward if known else 0.0
    evaluated = len(prepared.eval_rows or ()) / len(prepared.all_rows) * math.ceil(steps / len(deal.steps))
    cache_bytes, table_bytes = _cache(prepared) if known else (0, 0)
    peak, parts = _resident(training, found, table_bytes)
    ranks = training.world_size
    seconds = steps * epoch / len(deal.steps) + reference + evaluated * passes * forward
    return Plan(
        peak_bytes=peak,
        parts=parts,
        tokens_per_second=ranks * deal.total / epoch,
        pairs_per_second=len(prepared.rows) / epoch,
        rows=len(prepared.rows),
        steps=steps,
        tokens_per_step=ranks * deal.total / len(deal.steps),
        seconds=seconds,
        reference_seconds=reference,
        cache_bytes=cache_bytes if how == "cached" else 0,
        device=str(training.device),
        available_bytes=available(training.device),
        how=why,
        largest_micro_batch=max(map(max, deal.tokens)),
        largest_row=deal.largest_row,
    )


def _runs(settings: Settings, objective: Objective) -> int:
    """Runs of as many steps: one, and with cross-fitting two folds more for each round."""
    rounds = [term.rounds for term, _ in lcpo_terms(objective) if term.mode == "crossfit"]
    return 1 + 2 * rounds[0] if rounds and settings.crossfit_scorer in (None, "policy") else 1


def _pass(settings: Settings, prepared: Prepared, trees: bool, how: str) -> tuple[list[Any], float]:
    """The largest batch of the pass that computes the reference's log-probabilities, and how many of its size there are.

    Evaluation takes the same forward; where there is neither, nothing.
    """
    if how not in ("cached", "memory") and not prepared.eval_rows:
        return [], 0.0
    sequences, keys, owner = distinct(prepared.all_rows)
    size = settings.max_tokens_per_batch or TOKENS_PER_BATCH
    cut = list(pass_batches(sequences, size, owner if trees else None, keys))
    tokens = [
        _packed([sequences[i] for i in batch]) if trees else sum(len(sequences[i].ids) for i in batch) for batch in cut
    ]
    largest = max(range(len(cut)), key=tokens.__getitem__)
    return [sequences[i] for i in cut[largest]], sum(tokens) / tokens[largest]


def _packed(sequences: Sequence[Any]) -> int:
    """Tokens of sequences as trees: a prompt once."""
    prompts = {s.ids[: s.prompt_length].tobytes(): s.prompt_length for s in sequences}
    return sum(prompts.values()) + sum(len(s.ids) - s.prompt_length for s in sequences)


def _cache(prepared: Prepared) -> tuple[int, int]:
    """Bytes of the reference's log-probabilities of all rows: in the cache's files, and of their index in memory."""
    sequences, _, _ = distinct(prepared.all_rows)
    values = 4 * sum(int(sum(s.mask)) for s in sequences)
    return values + SHARD_BYTES * len(sequences) + HEADER_BYTES, values + INDEX_BYTES * len(sequences)


def _resident(training: Any, found: Simulated, table: int) -> tuple[int, dict[str, int]]:
    """The peak as the process shows it, with its parts.

    CUDA: the allocator's peak.  CPU: with code and buffers, and what the C library keeps of memory that comes and goes.
    """
    parts = dict(found.parts)
    if table:
        parts["reference"] = parts.get("reference", 0) + table
    if training.device.type == "cpu":
        lasting = sum(found.parts.get(kind, 0) for kind in ("weights", "reference", "optimizer"))
        parts["allocator"] = RESIDENT + min(RETAINED, max(0, found.peak - lasting))
    return sum(parts.values()), parts


def available(device: torch.device) -> int | None:
    """Bytes that a run may use now; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    return None


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
