"""The demo's published figures: ``python benchmarks/demo_seeds.py OUT [SEED ...]`` (default seeds 100 to 104).

Runs ``assent demo`` once per seed (a seed whose OUT/SEED/demo.json is there is not run again) and prints every seed's
figures and the targets' figures as Markdown.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean

from assent.evaluation import frontier

METHODS = ("dpo_clean", "dpo", "cdpo", "rdpo", "lcpo_online", "lcpo_crossfit", "lcpo_oracle")
HIDDEN = ("dpo", "lcpo_online", "lcpo_crossfit", "lcpo_oracle")


def run(seed: int, out: Path) -> dict:
    """The figures of a seed, from its file where that is there."""
    file = out / str(seed) / "demo.json"
    if not file.exists():
        command = ["assent", "demo", "--seed", str(seed), "--out", str(file.parent), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(file.read_text())


def column(results: list[dict], section: str, name: str, key: str = "true_reward") -> list[float]:
    return [result[section][name][key] for result in results]


def table(title: str, results: list[dict], section: str, names: tuple[str, ...]) -> list[str]:
    """One line a method: the true reward at equal KL by seed, and its mean with the standard error over seeds."""
    seeds = [str(result["seed"]) for result in results]
    lines = [f"| {title} | " + " | ".join(seeds) + " | mean (s.e.) | win rate | accuracy | KL at the end |"]
    lines.append("|---" * (len(seeds) + 5) + "|")
    for name in names:
        rewards = column(results, section, name)
        shown = " | ".join(f"{value:.2f}" for value in rewards)
        rest = [fmean(column(results, section, name, key)) for key in ("win_rate", "accuracy", "kl")]
        mean = f"{fmean(rewards):.2f} ({frontier.standard_error(rewards):.2f})"
        lines.append(f"| {name} | {shown} | {mean} | {rest[0]:.3f} | {rest[1]:.3f} | {rest[2]:.2f} |")
    return [*lines, ""]


def main() -> None:
    out = Path(sys.argv[1])
    seeds = [int(seed) for seed in sys.argv[2:]] or list(range(100, 105))
    results = [run(seed, out) for seed in seeds]
    lines = table("names known", results, "methods", METHODS)
    lines += table("names hidden", results, "single_annotator", HIDDEN)
    names = results[0]["reliability"]
    lines += ["| reliability (true) | " + " | ".join(str(s) for s in seeds) + " |", "|---" * (len(seeds) + 1) + "|"]
    for name in names:
        shown = " | ".join(f"{result['reliability'][name]['estimated']:.3f}" for result in results)
        lines.append(f"| {name} ({names[name]['true']:.2f}) | {shown} |")
    base, oracle = column(results, "methods", "dpo"), column(results, "methods", "lcpo_oracle")
    lines.append("")
    for name in ("lcpo_online", "lcpo_crossfit", "rdpo", "dpo_clean"):
        point, low, high = frontier.ratio_of_means(column(results, "methods", name), base, oracle)
        lines.append(f"- oracle's lead over DPO recovered by {name}: {point:.2f} (95 % {low:.2f} to {high:.2f})")
    pairs = zip(column(results, "single_annotator", "lcpo_crossfit"),
                column(results, "single_annotator", "lcpo_online"), strict=True)  # fmt: skip
    lead = [a - b for a, b in pairs]
    lines.append(
        f"- names hidden, cross-fitted less online: {fmean(lead):.3f}, s.e. {frontier.standard_error(lead):.3f}"
    )
    errors = [abs(v["true"] - v["estimated"]) for result in results for v in result["reliability"].values()]
    lines.append(f"- mean absolute error of the reliabilities: {fmean(errors):.3f}")
    lead = [a - b for a, b in zip(column(results, "methods", "dpo_clean"), base, strict=True)]
    lines.append(f"- DPO on clean labels less DPO: {fmean(lead):.3f}, s.e. {frontier.standard_error(lead):.3f}")
    lines.append("- seconds: " + ", ".join(f"{result['seconds']:.0f}" for result in results))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
