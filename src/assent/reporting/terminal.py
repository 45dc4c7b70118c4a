"""The same results in a terminal: short tables on stderr or stdout, shared by the verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assent.reporting import audit_page, demo_page
from assent.reporting.page import count, duration, number, percent
from assent.reporting.text import short

_ROWS = 20  # annotators shown


def audit(result: Any, console: Any = None) -> None:
    """Print an audit: verdict, interval, what it rests on, annotators, flags, decision.

    result: as `audit_page.write` takes it. console: a rich Console, one on stdout by default.
    """
    console = console or _console()
    data = audit_page.view(result)
    console.print(f"\n[bold]{_plain(audit_page.verdict(data))}[/bold]")
    low, high = data.get("noise_rate_low"), data.get("noise_rate_high")
    interval = f", 95 % interval {percent(low, 1)} to {percent(high, 1)}" if low is not None else ""
    console.print(
        f"noise rate {percent(data['noise_rate'], 1)}{interval}; {count(data['labels'])} labels on "
        f"{count(data['pairs'])} pairs; the estimate rests on {_plain(data.get('rests_on', 'model'))}"
    )
    if data.get("plain_dpo"):
        console.print(_plain(data["plain_dpo"]))
    console.print(_annotators(data))
    rest = len(data.get("annotators", {})) - _ROWS
    if rest > 0:
        console.print(f"and {count(rest)} more annotators")
    decision = data.get("decision") or {}
    if decision:
        names = {"keep": "keep", "look": "look at", "drop": "drop"}
        console.print("; ".join(f"{names[k]} {count(decision.get(k, 0))}" for k in names))
    flags = data.get("flags") or {}
    if flags:
        console.print("flags: " + ", ".join(f"{_plain(k).replace('_', ' ')} {count(n)}" for k, n in flags.items()))
    if data.get("seconds") is not None:
        console.print(f"took {duration(data['seconds'])}")


def _annotators(data: Mapping[str, Any]) -> Any:
    table = _table("annotator", "labels", "reliability", "95 % interval")
    rows = sorted(data.get("annotators", {}).items(), key=lambda item: item[1]["reliability"])
    for name, a in rows[:_ROWS]:
        known = a.get("low") is not None
        interval = f"{percent(a['low'], 1)} – {percent(a['high'], 1)}" if known else "–"
        table.add_row(_plain(short(name, 32)), count(a["labels"]), percent(a["reliability"], 1), interval)
    return table


def demo(result: Mapping[str, Any], console: Any = None) -> None:
    """Print a demo's result: one table of methods, the single annotator apart, the shares recovered."""
    console = console or _console()
    console.print(f"\n[bold]{_plain(demo_page.verdict(result))}[/bold]")
    wide = console.width >= 100
    table = _table("method", *(["is told"] if wide else []), "reward", "gain", "win rate", "ranked", "KL")
    _methods(table, result["methods"], wide)
    console.print(table)
    if result.get("single_annotator"):
        console.print("the names hidden (a single annotator):")
        table = _table("method", "reward", "gain", "win rate", "ranked", "KL")
        _methods(table, result["single_annotator"], False)
        console.print(table)
    console.print(
        "reward (true), gain and KL in nats per sequence; reward, gain and win rate at one KL for all methods"
    )
    for name, share in (result.get("oracle_gap_recovered") or {}).items():
        title = demo_page.demo_plots.known(name)[0]
        shown = percent(share) if share is not None else "not measurable: the lead is within the noise"
        console.print(f"of the oracle's lead over DPO, recovered by {_plain(title)}: {shown}")
    if result.get("seconds") is not None:
        console.print(f"took {duration(result['seconds'])}")


def _methods(table: Any, methods: Mapping[str, Mapping[str, float]], told: bool) -> None:
    for row in demo_page.rows(methods):
        table.add_row(
            _plain(row["title"]), *([row["told"]] if told else []), number(row["true_reward"]), number(row["gain"]),
            percent(row["win_rate"], 1), percent(row["accuracy"], 1), number(row["kl"]),
            style="bold" if row["name"] == "lcpo_crossfit" else None,
        )  # fmt: skip


def _table(first: str, *others: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="left" if name == "is told" else "right")
    return table


def _plain(text: object) -> str:
    """Text that is not markup of rich and sends no escape sequence to the terminal."""
    from rich.markup import escape

    return escape(short(text, 400))


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)
