"""Training runs of the demo, in this process or spread over worker processes of one thread each."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from typing import Any

import torch
from torch import Tensor

from assent.evaluation.measure import Judge
from assent.objectives import parse
from assent.worlds import loops
from assent.worlds.embedded import World


@dataclass(frozen=True)
class Task:
    """One run: an objective on a data set of the stage, on all pairs or on the given rows alone.

    rows: None for all pairs; else train on these alone and answer with the margins of all, without evaluation.
    epochs: None for the stage's.
    """

    name: str
    data: str
    objective: str
    rows: tuple[int, ...] | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Answer:
    """What a task leaves: its curve, the last reliabilities by name, margins [P] in nats, and samples of the end."""

    name: str
    curve: list[dict[str, float]] = field(default_factory=list)
    reliability: dict[str, float] = field(default_factory=dict)
    margin: Tensor | None = None
    samples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Stage:
    """Everything the runs of one world share."""

    world: World
    judge: Judge
    data: Mapping[str, loops.Encoded]
    loop: loops.LoopConfig

    @classmethod
    def of(cls, world: World, loop: loops.LoopConfig) -> Stage:
        """The stage of a world: its noisy rows with names, with names hidden, and the same rows without a flip."""
        kinds = {"named": world.pairs, "hidden": world.anonymous_pairs, "clean": world.clean_pairs}
        names = tuple(world.panel)
        data = {
            kind: loops.encode(pairs, world.tokenizer, world.reference, None if kind == "hidden" else names)
            for kind, pairs in kinds.items()
        }
        return cls(world, Judge.of(world), data, loop)

    def steps(self, task: Task) -> int:
        """Optimiser steps of a task."""
        pairs = len(self.data[task.data]) if task.rows is None else len(task.rows)
        return self._loop(task).steps(pairs)

    def _loop(self, task: Task) -> loops.LoopConfig:
        return self.loop if task.epochs is None else replace(self.loop, epochs=task.epochs)

    def run(self, task: Task, progress: Callable[[int, int], None] | None = None) -> Answer:
        """Carry out a task."""
        data, reference = self.data[task.data], self.world.reference
        objective = parse(task.objective)
        if task.rows is not None:
            rows = torch.tensor(task.rows)
            run = loops.train(reference, data.select(rows), objective, self._loop(task), progress=progress)
            return Answer(task.name, margin=loops.margins(run.policy, data))
        run = loops.train(reference, data, objective, self._loop(task), self.judge, progress)
        eta = run.state.get("eta")
        return Answer(
            task.name,
            [{"step": 0, **self.judge.start()}, *run.curve],
            {} if eta is None else dict(zip(run.annotators, eta.tolist(), strict=True)),
            loops.margins(run.policy, data),
            self.judge.sample(run.policy),
        )


_stage: Stage | None = None
_ticks: Any = None


def _prepare(stage: Stage, ticks: Any) -> None:
    global _stage, _ticks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    _stage, _ticks = stage, ticks


def _carry_out(slot: int, task: Task) -> Answer:
    assert _stage is not None

    def tick(step: int, steps: int) -> None:
        _ticks[slot] = step

    return _stage.run(task, tick)


class Runner:
    """Carries out tasks on one stage; ``progress(name, step, steps)`` is called as they advance."""

    def __init__(self, stage: Stage, progress: Callable[[str, int, int], None], pool: Any = None, ticks: Any = None):
        self.stage, self.progress, self.pool, self.ticks = stage, progress, pool, ticks
        self.used = 0

    def start(self, tasks: Sequence[Task]) -> Callable[[], list[Answer]]:
        """Begin tasks (at once where there are workers) and return the call that waits for their answers, in order."""
        if self.pool is None:
            return lambda: [self._alone(task) for task in tasks]
        slots = range(self.used, self.used + len(tasks))
        self.used += len(tasks)
        pending = [self.pool.apply_async(_carry_out, (i, t)) for i, t in zip(slots, tasks, strict=True)]
        return lambda: self._wait(list(zip(slots, tasks, pending, strict=True)))

    def _alone(self, task: Task) -> Answer:
        return self.stage.run(task, lambda step, steps: self.progress(task.name, step, steps))

    def _wait(self, begun: list[tuple[int, Task, Any]]) -> list[Answer]:
        for _, _, pending in begun:
            while not pending.ready():
                self._report(begun)
                pending.wait(0.2)
        self._report(begun)
        return [pending.get() for _, _, pending in begun]

    def _report(self, begun: list[tuple[int, Task, Any]]) -> None:
        for slot, task, _ in begun:
            self.progress(task.name, self.ticks[slot], self.stage.steps(task))


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C, imports included; this one sees it when the block ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start unblocks the signal again, so it comes first
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def runner(
    stage: Stage, workers: int = 0, progress: Callable[[str, int, int], None] = lambda name, step, steps: None
) -> Iterator[Runner]:
    """A :class:`Runner` with ``workers`` processes; 0 runs everything here, one task after the other."""
    if workers == 0:
        yield Runner(stage, progress)
        return
    import torch.multiprocessing as multiprocessing

    context = multiprocessing.get_context("spawn")
    ticks = context.Array("i", 64, lock=False)
    pool = None
    try:
        with _deaf_to_interrupts():
            pool = context.Pool(workers, initializer=_prepare, initargs=(stage, ticks))
        yield Runner(stage, progress, pool, ticks)
    finally:
        if pool is not None:
            pool.terminate()
            pool.join()
