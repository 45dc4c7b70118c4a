"""From a run's settings to tokenised rows: read, split by prompt, tokenise; what happened to the rows is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assent.data.pairing import paired
from assent.data.reading import Records, read
from assent.data.report import Report
from assent.data.splitting import overlap, split_by_prompt
from assent.data.tokens import TokenExample, Tokenised, TokenPair, tokenise
from assent.data.view_tokens import with_views
from assent.errors import AssentError
from assent.objectives import Objective
from assent.robust.reliability import mode_of, read_audit
from assent.scoring.reference import Precomputed
from assent.training.arguments import Settings
from assent.training.checks import check_columns, check_labels
from assent.training.matching import made_columns
from assent.training.metrics import lcpo_terms
from assent.training.policy import tokenizer_of
from assent.training.progress import say

MAX_LOSS = 0.05
"""Largest share of rows that may be lost without ``allow_loss``."""

_KINDS = {
    "pairs": ("pairs",),
    "completions": ("sft", "pairs"),
    "labelled": ("labelled", "pairs"),
    "groups": ("groups",),
}
"""Kind of objective -> kinds of rows that it reads."""


@dataclass(frozen=True)
class Prepared:
    """Rows in tokens with their annotators' vocabulary, and where they come from.

    records, report: the training rows as read, and everything that happened to them.
    table: reference log-probabilities of the rows, where they were computed for several runs at once.
    tables: token columns that came with the rows.
    """

    rows: Sequence[Any]
    eval_rows: Sequence[Any] | None
    annotators: tuple[str, ...]
    tokenizer: Any
    records: Records
    report: Report
    max_length: int | None
    table: Precomputed | None = None
    tables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def all_rows(self) -> list[Any]:
        """Training and evaluation rows."""
        return [*self.rows, *(self.eval_rows or ())]

    def only(self, rows: Sequence[Any]) -> Prepared:
        """The same with other training rows and nothing held out."""
        return replace(self, rows=list(rows), eval_rows=None)


def prepare(
    settings: Settings, objective: Objective, seed: int, output_dir: Path | None, known: tuple[str, ...] = ()
) -> Prepared:
    """Read, split and tokenise; ``known`` is the vocabulary of a run that is continued.

    Raises AssentError for unreadable or unsuited data, and where more than 5 % of the rows would be lost.
    """
    tokenizer = tokenizer_of(settings)
    records = _read(settings, settings.data, None if output_dir is None else output_dir / "bad_rows.jsonl")
    _check_kind(records, objective)
    _check_losses(settings, records)
    held_out = None
    if settings.eval_fraction is not None:
        records, held_out = split_by_prompt(records, settings.eval_fraction, seed)
    elif settings.eval_data is not None:
        held_out = _read(settings, settings.eval_data, None)
        _check_kind(held_out, objective)
        if shared := overlap(records, held_out):
            say(f"{shared} evaluation rows have a prompt that is trained on")
    tokens = _tokenise(settings, records, tokenizer, known or None, objective, seed)
    report = records.report.merged(tokens.report)
    names, eval_rows = tokens.annotators, None
    if held_out is not None:
        held = _tokenise(settings, held_out, tokenizer, names, objective, seed)
        names, eval_rows = held.annotators, as_read(held, objective)
    for name, _, count, sentence, examples in report.table():
        say(f"data: {count} {name}: {sentence}" + (f" ({examples})" if examples else ""))
    _show_unaudited(objective, names)
    train_rows = as_read(tokens, objective)
    check_labels(objective, train_rows, records.source)
    made = made_columns(objective, [*train_rows, *(eval_rows or ())])
    check_columns(objective, train_rows, records.source, made)
    check_columns(objective, eval_rows or (), str(settings.eval_data), made)
    return Prepared(train_rows, eval_rows, names or ("*",), tokenizer, records, report, tokens.max_length)


def prepare_held_out(
    settings: Settings, objective: Objective, tokenizer: Any, names: tuple[str, ...], seed: int
) -> tuple[tuple[str, ...], list[Any] | None]:
    """The annotators' vocabulary and the rows of ``eval_data``, for runs whose other rows are made as they go."""
    if settings.eval_data is None:
        return names, None
    held_out = _from_file(settings, settings.eval_data, None)
    _check_kind(held_out, objective)
    held = _tokenise(settings, held_out, tokenizer, names, objective, seed)
    return held.annotators, as_read(held, objective)


def _read(settings: Settings, source: Any, bad_rows: Path | None) -> Records:
    records = source if isinstance(source, Records) else _from_file(settings, source, bad_rows)
    return records if settings.pairing is None else paired(records, settings.pairing)


def _from_file(settings: Settings, source: Any, bad_rows: Path | None) -> Records:
    columns = None
    if settings.columns:
        wrong = [c for c in settings.columns if c.count("=") != 1 or not all(c.split("="))]
        if wrong:
            raise AssentError(f"columns got {wrong[0]!r}; expected old=new, such as preferred=chosen")
        columns = dict(c.split("=") for c in settings.columns)
    skip = settings.bad_rows == "skip"
    return read(source, columns=columns, bad_rows=settings.bad_rows, bad_rows_path=bad_rows if skip else None)


def _check_kind(records: Records, objective: Objective) -> None:
    wanted = _KINDS.get(objective.data, ())
    if records.kind not in wanted:
        hint = "; pairing makes pairs of groups (--pairing best_worst)" if records.kind == "groups" else ""
        read_by = " or ".join(wanted) or objective.data
        raise AssentError(f"{records.source} holds {records.kind} rows; {objective!s} reads {read_by} rows{hint}")


def _check_losses(settings: Settings, records: Records) -> None:
    bad = records.report["bad rows skipped"]
    if bad > MAX_LOSS * records.n_rows and not settings.allow_loss:
        raise AssentError(
            f"{records.source}: {bad} of {records.n_rows} rows are malformed, more than {MAX_LOSS:.0%}; mend them or pass "
            "allow_loss to go on without them"
        )


def _tokenise(
    settings: Settings, records: Records, tokenizer: Any, names: tuple[str, ...] | None, objective: Objective, seed: int
) -> Tokenised:
    """Rows in tokens with the views that the objective reads."""
    tokens = tokenise(
        records, tokenizer, max_length=settings.max_length, annotators=names, max_loss_share=MAX_LOSS,
        allow_loss=settings.allow_loss,
    )  # fmt: skip
    return viewed(tokens, records, tokenizer, objective, seed)


def viewed(tokens: Tokenised, records: Records, tokenizer: Any, objective: Objective, seed: int) -> Tokenised:
    """The rows with the views that the objective reads."""
    wanted = {need for need in objective.needs if need.kind == "view"}
    if objective.data == "labelled" and records.kind == "pairs":  # cut into single completions, each with its own view
        wanted = {need._replace(name=f"{side}@{need.name}") for need in wanted for side in ("chosen", "rejected")}
    return with_views(tokens, records, tokenizer, wanted, seed=seed)


def as_read(tokens: Tokenised, objective: Objective) -> list[Any]:
    """The rows as the objective reads them: single completions are made of pairs where it reads those."""
    cut = {"completions": _imitated, "labelled": _judged}.get(objective.data)
    if cut is None or tokens.kind != "pairs":
        return list(tokens.rows)
    return [example for pair in tokens.rows for example in cut(pair)]


def _imitated(pair: TokenPair) -> list[TokenExample]:
    """Both sides by the probability that they are the better one; the rejected side only where a label is soft."""
    sides = ((pair.chosen, pair.target), (pair.rejected, 1 - pair.target))
    return [TokenExample(s, pair.weight * p, None, pair.index, pair.columns) for s, p in sides if p > 0]


def _judged(pair: TokenPair) -> list[TokenExample]:
    """Both sides, labelled with the probability that they are the better one; a view "SIDE@NAME" becomes its side's NAME."""
    sides = (("chosen", pair.chosen, pair.target), ("rejected", pair.rejected, 1 - pair.target))
    return [
        TokenExample(
            sequence, pair.weight, p, pair.index, pair.columns,
            {k.partition("@")[2]: view for k, view in pair.views.items() if k.startswith(f"{side}@")},
        )
        for side, sequence, p in sides
    ]  # fmt: skip


def _show_unaudited(objective: Objective, annotators: Sequence[str]) -> None:
    """Say which annotators an audit did not see."""
    for term, _ in lcpo_terms(objective):
        if mode_of(term.reliability) != "audit":
            continue
        found = read_audit(term.reliability[len("audit:") :])
        unknown = [name for name in annotators if name not in found]
        if unknown:
            say(
                f"{len(unknown)} annotators are not in the audit and get its mean, {found['*']:.3f}: "
                + ", ".join(unknown[:20])
            )
