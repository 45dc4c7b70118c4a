"""The model card: what was trained on what, with which numbers, and what the run does not show."""

from __future__ import annotations

import platform
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from assent._version import __version__
from assent.training.checkpoints import write_aside

SCHEMA = 1
PACKAGES = ("torch", "transformers", "accelerate", "peft", "datasets", "bitsandbytes")
SHOWN = 50
"""Annotators in the card's table, those with most labels first; all are in reliabilities.parquet."""

TEMPLATE = """---
library_name: {{ "peft" if f.adapter else "transformers" }}
{%- if on_hub %}
base_model: {{ f.base_model|yaml }}
{%- endif %}
pipeline_tag: {{ "text-classification" if f.reward else "text-generation" }}
tags:
- assent
- preference-optimization
{%- for tag in f.tags %}
- {{ tag|yaml }}
{%- endfor %}
assent_schema: {{ schema }}
---

# {{ f.title|text }}

{{ f.base_model|code }} aligned on recorded preferences with Assent {{ f.versions.assent }}.

| | |
|---|---|
| objective | {{ f.objective|code }} |
| trained | {{ f.trained|cell }} |
| reference | {{ f.reference|cell }} |
| seed | {{ f.seed }} |
| optimiser steps | {{ f.steps }} |
| time | {{ "%.0f"|format(f.seconds) }} s |
{%- if f.start %}
| start | {{ f.start|cell }} |
{%- endif %}

## Data

| | |
|---|---|
| source | {{ f.data|code }} |
| sha256 | {{ f.data_hash|code }} |
| rows in the source | {{ f.rows_read }} |
| rows trained on | {{ f.rows_used }} |
{%- if f.rows_held_out %}
| rows held out | {{ f.rows_held_out }} |
{%- endif %}
{% if f.events %}
What happened to the rows:

| event | rows | meaning |
|---|---:|---|
{%- for event in f.events %}
| {{ event[0]|cell }} | {{ event[1] }} | {{ event[2]|cell }} |
{%- endfor %}
{% endif %}
{%- if annotators %}
## Annotators

{% if f.reliability -%}
Reliability is the estimated probability that a label of the annotator names the right order.

| annotator | labels | reliability |
|---|---:|---:|
{%- for name, labels in annotators %}
| {{ name|cell }} | {{ labels }} | {{ "%.3f"|format(f.reliability[name]) if name in f.reliability else "" }} |
{%- endfor %}
{%- else -%}
| annotator | labels |
|---|---:|
{%- for name, labels in annotators %}
| {{ name|cell }} | {{ labels }} |
{%- endfor %}
{%- endif %}
{%- if hidden %}

{{ hidden }} more annotators with fewer labels are not shown.
{%- endif %}
{% endif %}
## Results

| metric | value |
|---|---:|
{%- for name, value in f.metrics.items() %}
| {{ name|cell }} | {{ "%.4g"|format(value) }} |
{%- endfor %}

## Warnings of the run

{% for alarm in f.alarms -%}
- {{ alarm|text }}
{% else -%}
None.
{% endfor %}
{%- if f.notes %}
## Notes

{% for note in f.notes -%}
- {{ note|text }}
{% endfor -%}
{% endif %}
## Limits

{% for limit in limits -%}
- {{ limit }}
{% endfor %}
## Reproduce

```sh
{{ f.command|block }}
```

{% for name, number in f.versions.items() -%}
{{ name }} {{ number }}{{ ", " if not loop.last }}
{%- endfor %}
"""

LIMITS = {
    "always": "The model follows the preferences in the data, with the tastes and biases of those who gave them; it was "
    "not tested for truth or safety.",
    "reward": "The scores rank completions of one prompt as the preferences in the data do, with the tastes and biases of "
    "those who gave them; scores of different prompts are not compared, and truth or safety was not tested.",
    "training": "The metrics above are of pairs like those trained on; they say nothing about other prompts.",
    "lcpo": "Reliabilities are estimates: with one annotator and no gold labels they rest on the model alone, and a "
    "flexible model that learns wrong labels by heart reads them as right.",
    "no_eval": "Nothing was held out: the metrics are of the training data.",
}


@dataclass(frozen=True)
class CardFacts:
    """All that the card says.

    reward: a reward model.
    trained: words such as "all 1,234 parameters" or "LoRA".  events: (event, rows, sentence) of the data report.
    annotators: name -> labels.  reliability: name -> estimate, empty without LCPO.  start: the step-0 sentence.
    """

    title: str
    base_model: str
    objective: str
    trained: str
    reference: str
    data: str
    data_hash: str
    rows_read: int
    rows_used: int
    seed: int
    steps: int
    seconds: float
    command: str
    rows_held_out: int = 0
    adapter: bool = False
    reward: bool = False
    start: str = ""
    tags: Sequence[str] = ()
    events: Sequence[tuple[str, int, str]] = ()
    annotators: Mapping[str, int] = field(default_factory=dict)
    reliability: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    alarms: Sequence[str] = ()
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: installed_versions())


def installed_versions() -> dict[str, str]:
    """Version of Python and of each package that a run may use; those not installed are left out."""
    found = {"assent": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {"python": platform.python_version()}


def command_line(arguments: Mapping[str, Any], verb: str = "assent train") -> str:
    """The command that gives this run again; objects in memory are shown as their type."""
    words = [verb]
    for name, value in arguments.items():
        if value is None or value is False:
            continue
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
            continue
        values = value if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value) else [value]
        for one in values:
            plain = isinstance(one, str | int | float | Path)
            words.append(f"{option} {shlex.quote(str(one) if plain else f'<{type(one).__name__}>')}")
    return " \\\n  ".join(words)


def labels_per_annotator(rows: Sequence[Any], names: Sequence[str]) -> dict[str, int]:
    """Annotator -> labels on the tokenised rows, most first, then by name."""
    counts = Counter(names[label[0]] for row in rows for label in getattr(row, "labels", ()))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def render_card(facts: CardFacts) -> str:
    """The card as Markdown with its YAML head; names and texts from the data cannot break out of their place."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters |= {"cell": _text, "text": _text, "code": _code, "yaml": _yaml, "block": _block}
    limits = [LIMITS["reward" if facts.reward else "always"], LIMITS["training" if facts.rows_held_out else "no_eval"]]
    if facts.reliability:
        limits.append(LIMITS["lcpo"])
    annotators = sorted(facts.annotators.items(), key=lambda item: (-item[1], item[0]))
    shown = annotators[:SHOWN]
    template = environment.from_string(TEMPLATE)
    on_hub = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", facts.base_model) and not Path(facts.base_model).exists()
    return template.render(
        f=facts, on_hub=on_hub, annotators=shown, hidden=len(annotators) - len(shown), limits=limits, schema=SCHEMA
    )


def write_card(folder: str | Path, facts: CardFacts) -> Path:
    """Write the card as ``README.md`` into the model's directory, moved into place when complete."""
    path, text = Path(folder) / "README.md", render_card(facts)
    write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))
    return path


def _text(value: Any) -> str:
    """One line of Markdown in which nothing is markup."""
    line = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*[]|":
        line = line.replace(mark, "\\" + mark)
    return line


def _code(value: Any) -> str:
    """Inline code, also inside a table."""
    line = " ".join(str(value).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`" if line else ""


def _yaml(value: Any) -> str:
    import json

    return json.dumps(str(value), ensure_ascii=False)  # a JSON string is a YAML string


def _block(value: Any) -> str:
    return str(value).replace("```", "'''")
