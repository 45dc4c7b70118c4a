"""The kinds of rows, which columns tell them, and one row of each turned into what it means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assent.data import dialogue, fields
from assent.data.fields import Malformed
from assent.data.report import Report
from assent.errors import AssentError, did_you_mean
from assent.records import ANONYMOUS, Content, Example, Group

_COMMON = ("prompt", "weight", "tools", "annotator")
_JUDGED = (*_COMMON, "margin", "rationale", "gold", "logit")
REQUIRED: dict[str, tuple[str, ...]] = {
    "pairs": ("chosen", "rejected"),
    "judgements": ("response_a", "response_b", "p_b"),
    "groups": ("prompt", "completions"),
    "labelled": ("prompt", "completion", "label"),
    "sft": ("prompt", "completion"),
}
"""Kind -> columns it cannot do without; a file is of the first kind whose columns it has."""
OPTIONAL: dict[str, tuple[str, ...]] = {
    "pairs": (*_JUDGED, "p_chosen", "score_chosen", "score_rejected", "rejected_prompt"),
    "judgements": (*_JUDGED, "score_a", "score_b"),
    "groups": ("scores", "ranks", "weight", "tools"),
    "labelled": ("weight", "tools", "annotator"),
    "sft": ("weight", "tools", "annotator"),
}
_ELSEWHERE = {
    "question": "prompt", "instruction": "prompt", "input": "prompt", "query": "prompt", "context": "prompt",
    "accepted": "chosen", "winner": "chosen", "preferred": "chosen", "rejected_response": "rejected",
    "loser": "rejected", "dispreferred": "rejected", "output_1": "response_a", "output_2": "response_b",
    "response_0": "response_a", "response_1": "response_b", "output": "completion", "response": "completion",
    "answer": "completion", "kto_tag": "label", "responses": "completions", "rank": "ranks",
}  # fmt: skip
SHORT = 200
"""Further columns of text are kept up to this many characters."""


@dataclass(slots=True)
class Judged:
    """One judgement: ``first`` is preferred with probability p >= 1/2; ``row`` is its position in the input."""

    row: int
    prompt: Content
    first: Content
    second: Content
    p: float = 1.0
    annotator: str = ANONYMOUS
    weight: float = 1.0
    gold: bool = False
    second_prompt: Content | None = None
    margin: float | None = None
    logit: float | None = None
    score_first: float | None = None
    score_second: float | None = None
    rationale: str | None = None
    tools: list[Any] | None = None
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of one source mean.

    plain: further columns kept as they are.  sides: name -> (column of the first side, column of the second side);
    ``NAME_a``/``NAME_b``, ``NAME_chosen``/``NAME_rejected`` and ``chosen_NAME``/``rejected_NAME`` belong together.
    kept, left_out: further columns met so far.
    """

    kind: str
    renames: Mapping[str, str]
    typed: bool
    plain: tuple[str, ...] = ()
    sides: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)

    def rename(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row under Assent's column names."""
        return {self.renames.get(k, k): v for k, v in row.items()} if self.renames else row


def rename_columns(names: Sequence[str], columns: Mapping[str, str] | None, where: str) -> dict[str, str]:
    """Checked ``--columns old=new``: old is there, and new is not there under its own name."""
    columns = dict(columns or {})
    for old, new in columns.items():
        if old not in names:
            raise AssentError(f"{where}: --columns {old}={new}: no column {old!r}; {did_you_mean(old, names)}")
        if new in names and new not in columns and new != old:
            raise AssentError(
                f"{where}: --columns {old}={new}: a column {new!r} is there already; rename it too (--columns {new}=other)"
            )
    if len(set(columns.values())) != len(columns):
        raise AssentError(f"{where}: --columns gives two columns the same name: {columns}")
    return {old: new for old, new in columns.items() if old != new}


def detect(names: Iterable[str], kind: str | None, where: str) -> str:
    """The kind of the rows from their columns, or the asked kind if the columns allow it."""
    names = list(names)
    if kind is not None:
        if kind not in REQUIRED:
            raise AssentError(f"kind {kind!r} is unknown; {did_you_mean(kind, REQUIRED)}")
        absent = [c for c in REQUIRED[kind] if c not in names]
        if kind == "groups" and not {"scores", "ranks"} & set(names):
            absent.append("scores")
        if absent:
            raise _absent(kind, absent, names, where)
        return kind
    for name, required in REQUIRED.items():
        if all(c in names for c in required) and (name != "groups" or {"scores", "ranks"} & set(names)):
            return name
    nearest = min(REQUIRED, key=lambda k: (_distance(k, names), list(REQUIRED).index(k)))
    absent = [c for c in REQUIRED[nearest] if c not in names]
    raise _absent(nearest, absent or ["scores"], names, where)


def _candidate(column: str, kind: str, names: list[str]) -> str | None:
    """A column of the source that looks as if it were ``column`` under another name."""
    free = [n for n in names if n not in REQUIRED[kind]]
    other = next((n for n in free if _ELSEWHERE.get(n.lower()) == column or n.lower() == column), None)
    if other is None:
        guess = did_you_mean(column, free)
        other = guess.split("'")[1] if guess.startswith("did you mean") else None
    return other


def _distance(kind: str, names: list[str]) -> float:
    """Share of the kind's columns that are absent; those under another name count half."""
    cost = [0.0 if c in names else 0.5 if _candidate(c, kind, names) else 1.0 for c in REQUIRED[kind]]
    return sum(cost) / len(cost)


def _absent(kind: str, absent: list[str], names: list[str], where: str) -> AssentError:
    hints = [f"--columns {old}={column}" for column in absent if (old := _candidate(column, kind, names))]
    hint = f"; did you mean {' '.join(hints)}?" if hints else "; rename with --columns old=new"
    needs = ", ".join(REQUIRED[kind]) + (", scores or ranks" if kind == "groups" else "")
    return AssentError(
        f"{where}: missing column {', '.join(map(repr, absent))} ({kind} rows need {needs}); "
        f"it has {', '.join(names) or 'none'}{hint}"
    )


def layout(names: Sequence[str], kind: str, renames: Mapping[str, str], typed: bool) -> Layout:
    """Sort the columns of a source into known ones, sided ones and plain ones."""
    known = set(REQUIRED[kind]) | set(OPTIONAL[kind])
    rest = [n for n in names if n not in known]
    sides: dict[str, tuple[str, str]] = {}
    if kind in ("pairs", "judgements"):
        ends = ("_a", "_b") if kind == "judgements" else ("_chosen", "_rejected")
        for name in rest:
            if name.endswith(ends[0]) and (other := name[: -len(ends[0])] + ends[1]) in rest:
                sides[name[: -len(ends[0])]] = (name, other)
            if kind == "pairs" and name.startswith("chosen_") and (other := "rejected_" + name[7:]) in rest:
                sides[name[7:]] = (name, other)
    sided = {c for two in sides.values() for c in two}
    return Layout(kind, renames, typed, tuple(n for n in rest if n not in sided), sides)


def further(row: Mapping[str, Any], plan: Layout, report: Report, index: int) -> dict[str, Any]:
    """The row's further columns: numbers and short text; sided ones as NAME_chosen (first side) and NAME_rejected."""
    out: dict[str, Any] = {}
    wanted = [(name, name) for name in plan.plain]
    for base, (first, second) in plan.sides.items():
        wanted += [(first, f"{base}_chosen"), (second, f"{base}_rejected")]
    for column, name in wanted:
        value = row.get(column)
        if value is None:
            continue
        if not plan.typed:
            value = _from_text(value)
        if isinstance(value, float) and not math.isfinite(value):
            report.add("columns without a value", index, column)
        elif isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= SHORT):
            out[name] = value
            _once(plan.kept, column, "columns kept", report)
        else:
            _once(plan.left_out, column, "columns left out", report)
    return out


def _once(known: set[str], column: str, event: str, report: Report) -> None:
    if column not in known:
        known.add(column)
        report.add(event, detail=column)


def _from_text(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


def parse_judged(row: Mapping[str, Any], index: int, plan: Layout, report: Report) -> Judged | None:
    """A pair or a judgement; None where two equal responses were compared (counted)."""
    judgement = plan.kind == "judgements"
    names = ("response_a", "response_b") if judgement else ("chosen", "rejected")
    first, second = (_content(row, name, plan, report, index) for name in names)
    p = _probability(row, "p_b" if judgement else "p_chosen", judgement)
    p = 1.0 - p if judgement else p  # that the first one, response_a or chosen, is better
    if _same(first, second) and fields.missing(row.get("rejected_prompt")):
        if judgement:
            report.add("identical completions", index)
            return None
        raise Malformed("rejected", "equals 'chosen': such a pair says nothing")
    prompt, other, first, second = _prompts(row, first, second, plan, report, index)
    sign = -1.0 if judgement else 1.0  # margin and logit of a judgement speak for b, as p_b does
    scores = [_number(row, c) for c in (("score_a", "score_b") if judgement else ("score_chosen", "score_rejected"))]
    margin, logit = (None if (v := _number(row, c)) is None else sign * v for c in ("margin", "logit"))
    tools = _tools(row, prompt)
    out = Judged(
        index, prompt, first, second, p, fields.annotator(row.get("annotator"), "annotator"), _weight(row),
        _gold(row, plan), other, margin, logit, scores[0], scores[1], _rationale(row), tools, further(row, plan, report, index),
    )  # fmt: skip
    for name, content in zip(names, (first, second), strict=True):
        if not fields.plain(content).strip():
            report.add("completion empty", index, name)
    if p == 0.5:
        report.add("ties", index)
    if p < 0.5:
        if not judgement:
            report.add("order turned", index)
        out = turned(out)
        if judgement:
            out.p = float(row["p_b"])  # as it was given, without the rounding of 1 - (1 - p)
    return out


def turned(judged: Judged) -> Judged:
    """The same judgement told the other way round."""
    j = judged
    negate = lambda x: None if x is None else -x  # noqa: E731
    prompt, other = (j.prompt, None) if j.second_prompt is None else (j.second_prompt, j.prompt)
    return Judged(
        j.row, prompt, j.second, j.first, 1.0 - j.p, j.annotator, j.weight, j.gold, other, negate(j.margin),
        negate(j.logit), j.score_second, j.score_first, j.rationale, j.tools, _turn_columns(j.columns),
    )  # fmt: skip


def _turn_columns(columns: dict[str, Any]) -> dict[str, Any]:
    def other(name: str) -> str:
        if name.endswith("_chosen"):
            return name[:-7] + "_rejected"
        return name[:-9] + "_chosen" if name.endswith("_rejected") else name

    return {other(name): value for name, value in columns.items()}


def _same(a: Content, b: Content) -> bool:
    return a == b


def _prompts(
    row: Mapping[str, Any], first: Content, second: Content, plan: Layout, report: Report, index: int
) -> tuple[Content, Content | None, Content, Content]:
    """(prompt, the second side's own prompt or None, first, second), all in one form."""
    given = row.get("prompt")
    if given is None:
        if isinstance(first, str) and isinstance(second, str):
            prompt, first, second = dialogue.split_text(first, second, report, index)
            return prompt, None, first, second
        if isinstance(first, str) or isinstance(second, str):
            raise Malformed("prompt", "missing, and one completion is text while the other is messages")
        prompt, first, second = dialogue.split_messages(list(first), list(second), report, index)
        return prompt, None, first, second
    prompt = _content(row, "prompt", plan, report, index)
    if fields.missing(row.get("rejected_prompt")):
        prompt, (first, second) = dialogue.align(prompt, [first, second], report, index)
        return prompt, None, first, second
    other = _content(row, "rejected_prompt", plan, report, index)
    prompt, (first,) = dialogue.align(prompt, [first], report, index)
    other, (second,) = dialogue.align(other, [second], report, index)
    return prompt, None if other == prompt else other, first, second


def _content(row: Mapping[str, Any], column: str, plan: Layout, report: Report, index: int) -> Content:
    value, parsed = fields.content(row.get(column), column, typed=plan.typed)
    if parsed:
        report.add("parsed from text", index, column)
    return value


def _probability(row: Mapping[str, Any], column: str, required: bool) -> float:
    value = row.get(column)
    if fields.missing(value):
        if required:
            raise Malformed(column, "missing; expected a probability between 0 and 1")
        return 1.0
    return fields.number(value, column, low=0.0, high=1.0)


def _number(row: Mapping[str, Any], column: str) -> float | None:
    value = row.get(column)
    return None if fields.missing(value) else fields.number(value, column)


def _weight(row: Mapping[str, Any]) -> float:
    value = row.get("weight")
    return 1.0 if fields.missing(value) else fields.number(value, "weight", low=0.0)


def _gold(row: Mapping[str, Any], plan: Layout) -> bool:
    value = row.get("gold")
    return False if fields.missing(value) else fields.boolean(value, "gold", typed=plan.typed)


def _tools(row: Mapping[str, Any], prompt: Content) -> list[Any] | None:
    found = fields.tools(row.get("tools"), "tools")
    if found and isinstance(prompt, str):
        raise Malformed("tools", "given beside a text prompt; tools need messages, which a chat template can render")
    return found


def _rationale(row: Mapping[str, Any]) -> str | None:
    value = row.get("rationale")
    if fields.missing(value):
        return None
    if not isinstance(value, str):
        raise Malformed("rationale", f"{fields.shown(value)} is {fields.kind_of(value)}; expected text")
    return value


def parse_example(row: Mapping[str, Any], index: int, plan: Layout, report: Report) -> Example:
    """A completion to imitate (sft) or one with a label, true for desirable (labelled)."""
    prompt, completion = (_content(row, name, plan, report, index) for name in ("prompt", "completion"))
    prompt, (completion,) = dialogue.align(prompt, [completion], report, index)
    label = fields.boolean(row.get("label"), "label", typed=plan.typed) if plan.kind == "labelled" else None
    if not fields.plain(completion).strip():
        report.add("completion empty", index, "completion")
    return Example(
        prompt, completion, label, _weight(row), index, fields.annotator(row.get("annotator"), "annotator"),
        further(row, plan, report, index), _tools(row, prompt),
    )  # fmt: skip


def parse_group(row: Mapping[str, Any], index: int, plan: Layout, report: Report) -> Group:
    """Several completions of one prompt with scores (higher is better) or ranks (1 is best)."""
    prompt = _content(row, "prompt", plan, report, index)
    given = fields.sequence(row.get("completions"), "completions", typed=plan.typed)
    if len(given) < 2:
        raise Malformed("completions", f"{len(given)} completions; expected at least two")
    completions = [fields.content(c, "completions")[0] for c in given]
    prompt, completions = dialogue.align(prompt, completions, report, index)
    column = "ranks" if row.get("scores") is None else "scores"
    values = fields.sequence(row.get(column), column, typed=plan.typed)
    if len(values) != len(given):
        raise Malformed(column, f"{len(values)} {column} for {len(given)} completions; expected as many")
    sign = -1.0 if column == "ranks" else 1.0
    scores = tuple(sign * fields.number(v, column) for v in values)
    return Group(
        prompt, tuple(completions), scores, _weight(row), index, further(row, plan, report, index),
        _tools(row, prompt),
    )  # fmt: skip
