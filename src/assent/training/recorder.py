"""What the model thought of every pair, on disk after each epoch: logits, posteriors, margins, reliabilities."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from assent.diagnostics.pairs import pairwise_part
from assent.objectives.parts import within
from assent.scores import PairScores
from assent.training.batches import Filler
from assent.training.checkpoints import write_aside
from assent.training.metrics import lcpo_terms

SCHEMA = 1
COLUMNS = ("pair", "step", "target", "weight", "margin", "logit", "posterior", "logp_chosen", "logp_rejected")
COLUMNS += ("ref_logp_chosen", "ref_logp_rejected", "length_chosen", "length_rejected")
PART = "assent_pairs.unfinished"
"""The unfinished epoch's pairs (Parquet) inside a checkpoint; not to be taken for an epoch of their own."""


class Recorder(TrainerCallback):
    """Writes ``pairs-epoch-N.parquet``, one line a pair, and ``reliabilities.parquet``, one line an annotator and epoch.

    An observer of the trainer (called with rows, scores and the objective's state) and one of its callbacks.
    pair: index among the records.  step: the optimiser step it was part of, from 1.  margin: chosen less rejected implicit
    reward, nats.  logit: log-odds that the loss gives the stored order, nats.  posterior: P(stored order is right) given
    the labels; null without LCPO.  Values are those that the step trained on.
    """

    def __init__(self, output_dir: str | Path, trainer: Any) -> None:
        self.folder, self.trainer = Path(output_dir), trainer
        self.term, self.key = pairwise_part(trainer.objective)
        self.blocks: list[tuple[Sequence[int], int, Tensor]] = []
        self.reliabilities: list[dict[str, Any]] = []
        self.labels = Counter(a for row in trainer.train_dataset.rows for a, *_ in getattr(row, "labels", ()))

    def __call__(self, rows: Sequence[Any], scores: Any, state: Mapping[str, Tensor]) -> None:
        """Keep the numbers of one micro-batch; fillers are left out."""
        if isinstance(scores, PairScores):
            real = [i for i, row in enumerate(rows) if not isinstance(row, Filler)]
            values = self._values(scores, state)[:, real]
            self.blocks.append(([rows[i].index for i in real], self.trainer.state.global_step + 1, values))

    @torch.no_grad()
    def _values(self, scores: PairScores, state: Mapping[str, Tensor]) -> Tensor:
        """COLUMNS from "target" on, one row each [11, P] float32; NaN where there is none."""
        ones = scores.ones().detach()
        chosen, rejected = self.trainer.objective.rewards(scores)
        logit, posterior = torch.full_like(ones, torch.nan), torch.full_like(ones, torch.nan)
        if self.term is not None:
            inner = within(state, self.key)
            if hasattr(self.term, "posterior"):
                logit, posterior = self.term.logit(scores, inner), self.term.posterior(scores, inner)
            else:
                logit = self.term.induced_logit(scores, inner)
        given = [scores.target, scores.weight, chosen - rejected, logit, posterior]
        sides = (scores.chosen, scores.rejected)
        given += [side.logp for side in sides] + [side.ref_logp for side in sides] + [side.length for side in sides]
        fill = (ones, ones) + (ones * torch.nan,) * 9
        return torch.stack([(f if g is None else g.detach()).float() for g, f in zip(given, fill, strict=True)])

    # ---- the trainer's calls --------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """On resuming: the reliabilities of the epochs before, and the pairs of the unfinished one."""
        import pyarrow.parquet as pq

        self.blocks, self.reliabilities = [], []
        done = state.epoch or 0.0
        if state.global_step and (file := self.folder / "reliabilities.parquet").is_file():
            rows = pq.read_table(file).to_pylist()
            self.reliabilities = [row for row in rows if row["epoch"] <= done + 1e-9]
        part = self.folder / f"checkpoint-{state.global_step}" / PART
        if state.global_step and args.process_index == 0 and part.is_file():
            table = pq.read_table(part).to_pydict()
            columns = [[torch.nan if v is None else v for v in table[name]] for name in COLUMNS[2:]]
            for i, (pair, step) in enumerate(zip(table["pair"], table["step"], strict=True)):
                self.blocks.append(([pair], step, torch.tensor([[column[i]] for column in columns])))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The pairs of the unfinished epoch go into the checkpoint; after a whole epoch there are none."""
        table = self._gathered()
        folder = self.folder / f"checkpoint-{state.global_step}"
        if table is not None and state.is_world_process_zero and folder.is_dir() and table.num_rows:
            self._write(table, folder / PART)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.stopping:  # the epoch is not whole; its pairs go into the checkpoint
            return
        epoch = max(1, math.ceil((state.epoch or 1) - 1e-6))  # max_steps may end within one
        table = self._gathered()
        self.blocks = []
        self._add_reliabilities(epoch)
        if not state.is_world_process_zero:
            return
        if table is not None and table.num_rows:
            self._write(table, self.folder / f"pairs-epoch-{epoch}.parquet")
        if self.reliabilities:
            import pyarrow as pa

            self._write(pa.Table.from_pylist(self.reliabilities), self.folder / "reliabilities.parquet")

    # ---- tables ---------------------------------------------------------------------------------------

    def _add_reliabilities(self, epoch: int) -> None:
        for number, (_, key) in enumerate(lcpo_terms(self.trainer.objective)):
            eta = within(self.trainer.objective_state, key)["eta"].double().cpu().tolist()
            for i, (name, value) in enumerate(zip(self.trainer.annotators, eta, strict=True)):
                row = {"epoch": epoch, "term": number, "annotator": name, "labels": self.labels[i]}
                self.reliabilities.append({**row, "reliability": value})

    def _gathered(self) -> Any:
        """The pairs so far as a table in the order of ``pair``, over all ranks; None where nothing was scored."""
        import pyarrow as pa

        pairs = [pair for block in self.blocks for pair in block[0]]
        steps = [step for block in self.blocks for _ in block[0] for step in (block[1],)]
        empty = torch.zeros(len(COLUMNS) - 2, 0)
        values = torch.cat([empty, *(block[2].cpu() for block in self.blocks)], 1)
        mine = (pairs, steps, values)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            everyone: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(everyone, mine)
        else:
            everyone = [mine]
        pair = torch.tensor([p for part in everyone for p in part[0]], dtype=torch.int64)
        step = torch.tensor([s for part in everyone for s in part[1]], dtype=torch.int64)
        values = torch.cat([part[2] for part in everyone], 1)
        order = torch.argsort(pair, stable=True)
        columns = {"pair": pair[order].numpy(), "step": step[order].numpy()}
        for name, column in zip(COLUMNS[2:], values[:, order].numpy(), strict=True):
            columns[name] = pa.array(column, from_pandas=True)  # NaN is null
        return pa.table(columns)

    def _write(self, table: Any, path: Path) -> None:
        import pyarrow.parquet as pq

        facts = {"assent.schema": str(SCHEMA), "assent.objective": str(self.trainer.objective)}
        table = table.replace_schema_metadata(facts)
        write_aside(path, lambda aside: pq.write_table(table, aside))
