"""assent logic: losses as formulas.  show FORMULA, compare A B, lattice --out FILE, search [LOWER UPPER]."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

ACTIONS = {"show": (1,), "compare": (2,), "lattice": (0,), "search": (0, 2)}
"""Action -> how many losses it takes."""
ONLY = {"out": "lattice", "reference": "lattice", "antisymmetric": "search", "monotone": "search", "policy_only": "search",
        "raises_chosen": "search", "most": "search", "top": "search"}  # fmt: skip
"""Option -> the action that reads it."""


def logic(
    action: Annotated[str, typer.Argument(help="show, compare, lattice or search.")],
    losses: Annotated[
        list[str] | None,
        typer.Argument(
            help="A formula ('M_l -> M_w given one-true'), rows ('-cx-'), a name (cCPO, CPO+ref) or an objective."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="lattice: the picture, .png or .svg.")] = None,
    reference: Annotated[bool, typer.Option("--reference", help="lattice: the versions with a reference.")] = False,
    antisymmetric: Annotated[
        bool, typer.Option("--antisymmetric", help="search: exchanging the sides turns the sign.")
    ] = False,
    monotone: Annotated[
        bool | None, typer.Option("--monotone/--not-monotone", help="search: never pulls either side the wrong way.")
    ] = None,
    raises_chosen: Annotated[
        float | None, typer.Option(help="search: log p(chosen) rises at the start up to this cosine of the gradients.")
    ] = None,
    policy_only: Annotated[
        bool, typer.Option("--policy-only", help="search: the 256 losses without a reference.")
    ] = False,
    most: Annotated[
        int | None, typer.Option(help="search: most tables that are looked at; 1,000 unless given.")
    ] = None,
    top: Annotated[int | None, typer.Option(help="search: how many are shown, the cheapest; 10 unless given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show what a loss says, compare two, list and draw the lattice of the 16 named ones, or search for new ones.

    search LOWER UPPER looks at what lies between two losses (LOWER entails it, it entails UPPER), search alone at all.

    M_w and M_l say that the policy deems the chosen and the rejected completion valid, R_w and R_l that the reference does.
    """
    from assent.cli.options import json_line
    from assent.errors import AssentError, did_you_mean
    from assent.logic.standing import described, relation_facts, resolve

    given = losses or []
    if action not in ACTIONS:
        raise AssentError(f"assent logic cannot {action!r}; {did_you_mean(action, ACTIONS)}")
    if len(given) not in ACTIONS[action]:
        counts = " or ".join(map(str, ACTIONS[action]))
        raise AssentError(f"assent logic {action} takes {counts} losses; got {len(given)}")
    options = {
        "out": out, "reference": reference, "antisymmetric": antisymmetric, "monotone": monotone,
        "raises_chosen": raises_chosen, "policy_only": policy_only, "most": most, "top": top,
    }  # fmt: skip
    _check_options(action, options)
    if action == "show":
        found = described(resolve(given[0]))
        print(json_line({"schema": 1, **found}) if as_json else "\n".join(_shown(found)))
    elif action == "compare":
        found = relation_facts(*given)
        print(json_line({"schema": 1, **found}) if as_json else "\n".join(_related(found)))
    elif action == "search":
        _search([resolve(text) for text in given], options, as_json)
    else:
        _lattice(out, reference, as_json)


def _check_options(action: str, options: Mapping[str, Any]) -> None:
    """Refuse an option that the action does not read."""
    from assent.errors import AssentError

    for name, value in options.items():
        given = value is not None and (value is not False or name == "monotone")
        if given and ONLY[name] != action:
            raise AssentError(
                f"--{name.replace('_', '-')} belongs to assent logic {ONLY[name]}; leave it out of {action}"
            )


def _search(bounds: list[Any], options: Mapping[str, Any], as_json: bool) -> None:
    from assent.cli.options import json_line
    from assent.logic import equation
    from assent.logic.derive import Behaviour, search, space
    from assent.logic.tables import POLICY, VARIABLES, Table

    losses = space(
        *bounds, antisymmetric=options["antisymmetric"], variables=POLICY if options["policy_only"] else VARIABLES
    )
    monotone, cosine = options["monotone"], options["raises_chosen"]

    def keep(table: Table, pull: Behaviour) -> bool:
        return (monotone is None or pull.monotone == monotone) and (cosine is None or pull.rises(cosine))

    most, top = options["most"] or 1000, options["top"] or 10
    found = search(losses, keep, most=most)
    looked = min(most, len(losses))
    rows = [
        {
            "marks": one.table.marks, "formula": one.text, "exp_rho": equation(one.table), "cost": one.cost,
            "chosen": one.behaviour.chosen, "rejected": one.behaviour.rejected, "start": one.behaviour.start,
        }
        for one in found[:top]
    ]  # fmt: skip
    if as_json:
        print(json_line({"schema": 1, "losses": len(losses), "looked_at": looked, "kept": len(found), "found": rows}))
        return
    for row in rows:
        a, b = row["chosen"], row["rejected"]
        print(f"{row['marks']}  {row['formula']}\n  a {a[0]:.3g} to {a[1]:.3g}, b {b[0]:.3g} to {b[1]:.3g}, a / b at the start "
              f"{row['start']:.3g} or more: exp rho = {row['exp_rho']}")  # fmt: skip
    print(f"{len(losses):,} losses, {looked:,} looked at, {len(found):,} functions kept; train one with logic('MARKS')")


def _shown(found: Mapping[str, Any]) -> list[str]:
    lines = [f"{found['name'] or 'no name'}: rho = log [{found['exp_rho']}]", "", f"formula    {found['formula']}"]
    lines += [f"{key:<10} {value}" for key, value in found["structure"].items()]
    signs = {"-": "none", "c": "check", "x": "cross", "b": "both"}
    lines += ["", f"rows ({', '.join(found['variables'])}; check counts for, cross against)"]
    lines += [f"  {row}  {signs[sign]}" for row, sign in found["rows"].items() if sign != "-"]
    lines += ["", "pull on either completion: a = d rho / d log p_w, b = -d rho / d log p_l"]
    lines += [f"  p_w {w['p_w']:g}, p_l {w['p_l']:g}: a {w['a']:.3g}, b {w['b']:.3g}" for w in found["pair_weights"]]
    return [*lines, "", *_place(found)]


def _place(found: Mapping[str, Any]) -> list[str]:
    return [
        f"entailed by  {', '.join(found['entailed_by']) or 'no named loss'}",
        f"entails      {', '.join(found['entails']) or 'no named loss'}",
    ]


def _related(found: Mapping[str, Any]) -> list[str]:
    a, b = found["a"], found["b"]
    lines = [f"A  {a['text']}: {a['exp_rho']}", f"B  {b['text']}: {b['exp_rho']}", ""]
    meaning = {
        "equivalent": "A and B are equivalent: the same rows count for and against",
        "entails": "A entails B: rho of A is nowhere larger, its loss nowhere smaller",
        "is entailed by": "A is entailed by B: rho of B is nowhere larger, its loss nowhere smaller",
        "incomparable": "A and B are incomparable",
    }
    lines.append(meaning[found["kind"]])
    if found["same_function"] and found["kind"] != "equivalent":
        lines.append("yet rho is the same function of the probabilities")
    for (one, other), row in zip((("A", "B"), ("B", "A")), found["against"], strict=True):
        if row is not None:
            shown = ", ".join(f"{name} {'true' if true else 'false'}" for name, true in row.items())
            lines.append(f"{one} does not entail {other}: see the row {shown}")
    return lines


def _lattice(out: Path | None, reference: bool, as_json: bool) -> None:
    from assent.cli.options import json_line
    from assent.logic import equation, named
    from assent.logic.standing import edges

    if out is not None:
        from assent.reporting.lattice_plot import write

        write(out, reference)
    tables, found = named(reference), edges(reference)
    if as_json:
        losses = {name: {"marks": table.marks, "exp_rho": equation(table)} for name, table in tables.items()}
        print(json_line({"schema": 1, "losses": losses, "edges": found, "out": None if out is None else str(out)}))
        return
    for name, table in tables.items():
        above = ", ".join(upper for lower, upper in found if lower == name)
        print(f"{name:<10} {table.marks}  {equation(table)}" + (f"  entails {above}" if above else ""))
    print(f"{len(tables)} losses, {len(found)} edges" + (f"; drawn in {out}" if out else ""))


def standing_lines(found: Mapping[str, Any]) -> list[str]:
    """Where an objective stands, for ``assent explain``."""
    if not found["core"]:
        return [f"logic: {found['objective']} is the loss of no formula: {found['reason']}"]
    name = found["name"] or "a loss without a name"
    lines = [f"logic: {found['objective']} is {found['link']} of rho = log [{found['exp_rho']}], {name}"]
    lines.append(f"  formula      {found['formula']}")
    if found["outside"]:
        lines.append(f"  outside      {'; '.join(found['outside'])}")
    if found["condition"]:
        lines.append(f"  holds for    {found['condition']}")
    return lines + [f"  {line}" for line in _place(found)]
