"""LCPO inside an online loop with annotators of mixed quality: ``online_noise.py OUT [SEED ...] [--rounds 60] [--pool mixed]``.

The embedded world's reference draws two completions of a prompt in every round; a pool of annotators labels the pair (one
label, a fifth of the pairs two); one pass over the round, and the policy draws again.  The same loop runs with plain DPO, with
LCPO and with a pool that is always right (the clean judge); what is asked is LCPO's share of the clean judge's gain over plain
DPO, in the true reward at the end of the loop (mean of the last five saved policies).  Noise slows plain DPO down more
than it leads it astray, so the rewards at the largest KL that all runs reached stand beside them.  Default seeds: 100 to 104.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from assent import train
from assent.evaluation import frontier
from assent.judges import AnnotatorPool, ScalarJudge
from assent.worlds import language
from online_methods import curve, start, true_reward

PANELS = {
    "mixed": {"anna": 0.95, "ben": 0.90, "carla": 0.65, "deniz": 0.50, "emil": 0.25},
    "uniform": dict.fromkeys(("anna", "ben", "carla", "deniz", "emil"), 0.65),
}
PROMPTS, BATCH, BETA, LAST = 128, 64, 0.1, 5
LOOP = {
    "source": "online", "rounds": 60, "round_prompts": PROMPTS, "samples": 2, "pairing": "random",
    "max_new_tokens": language.LONGEST, "max_length": 64, "per_device_train_batch_size": BATCH, "learning_rate": 5e-4,
    "warmup_steps": 0, "save_steps": 20, "lr_scheduler_type": "constant", "disable_tqdm": True, "use_cpu": True,
}  # fmt: skip


def arms(panel: dict[str, float]) -> dict[str, tuple[str, dict[str, float]]]:
    """Objective and pool of each run."""
    dpo, clean = f"dpo(beta={BETA})", dict.fromkeys(panel, 1.0)
    told, noise = json.dumps(panel), round(1 - fmean(panel.values()), 6)
    return {
        "DPO, clean judge": (dpo, clean),
        "DPO": (dpo, panel),
        "LCPO": (f"lcpo({dpo})", panel),
        "LCPO, cross-fitted": (f"lcpo({dpo}, reliability='crossfit')", panel),
        "LCPO, told the truth": (f"lcpo({dpo}, reliability={told})", panel),
        "rDPO, told the mean": (f"rdpo(beta={BETA}, eps={noise})", panel),
    }


def runs(seed: int, out: Path, panel: dict[str, float]) -> dict[str, Any]:
    """The curve of every arm, and the reliabilities that LCPO ended with."""
    _, measure, files = start(seed, out)
    truth = ScalarJudge(true_reward, "true reward")
    found: dict[str, Any] = {}
    for name, (objective, reliability) in arms(panel).items():
        file = out / f"{name}.json"
        same = out.parents[1] / "mixed" / out.name / file.name
        if reliability == dict.fromkeys(panel, 1.0) and same.exists():
            file = same  # annotators who are never wrong are the same in every pool
        if not file.exists():
            judge = AnnotatorPool(truth, reliability, seed=seed, twice=0.2)
            asked = LOOP | {"judge": judge, "seed": seed}
            train(str(files["model"]), str(files["prompts"]), objective, out / name, **asked)
            state = json.loads((out / name / "trainer_state.json").read_text())["log_history"]
            eta = {
                k.rsplit("/", 1)[1]: v for line in state for k, v in line.items() if k.startswith("lcpo/reliability/")
            }
            file.write_text(json.dumps({"curve": curve(out / name, measure), "reliability": eta}))
        found[name] = json.loads(file.read_text())
    return found


def table(name: str, seeds: list[int], results: list[dict[str, Any]]) -> None:
    """One line an arm: reward at the end by seed, and at equal KL; the shares; reliabilities."""
    panel = PANELS[name]
    kl = [frontier.common_kl({arm: told["curve"] for arm, told in found.items()}) for found in results]
    print(
        f"\n| {name} pool: reward at the end | " + " | ".join(map(str, seeds)) + " | mean (s.e.) | KL | at equal KL |"
    )
    print("|---" * (len(seeds) + 4) + "|")
    ends, equal = {}, {}
    for arm in arms(panel):
        curves = [found[arm]["curve"] for found in results]
        ends[arm] = [fmean(point["true_reward"] for point in c[-LAST:]) for c in curves]
        equal[arm] = [frontier.at_kl(c, k, "true_reward") for c, k in zip(curves, kl, strict=True)]
        shown = " | ".join(f"{value:.2f}" for value in ends[arm])
        mean = f"{fmean(ends[arm]):.2f} ({frontier.standard_error(ends[arm]):.2f})"
        last = fmean(fmean(point["kl"] for point in c[-LAST:]) for c in curves)
        print(f"| {arm} | {shown} | {mean} | {last:.2f} | {fmean(equal[arm]):.2f} |")
    print("\nequal KL: " + ", ".join(f"{k:.2f}" for k in kl) + " nats")
    for arm in list(ends)[2:]:
        share, low, high = frontier.ratio_of_means(ends[arm], ends["DPO"], ends["DPO, clean judge"])
        print(f"share of the clean judge's gain, {arm}: {share:.2f} (95 % {low:.2f} to {high:.2f})")
    for one in panel:
        told = ", ".join(f"{found['LCPO']['reliability'][one]:.2f}" for found in results)
        print(f"- {one} ({panel[one]:.2f}): {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("seeds", type=int, nargs="*", default=range(100, 105))
    parser.add_argument("--rounds", type=int, default=LOOP["rounds"])
    parser.add_argument("--pool", choices=list(PANELS), nargs="*", default=list(PANELS))
    asked = parser.parse_args()
    LOOP["rounds"] = asked.rounds
    torch.set_num_threads(1)
    for name in asked.pool:
        found = [runs(seed, asked.out / name / str(seed), PANELS[name]) for seed in asked.seeds]
        table(name, list(asked.seeds), found)


if __name__ == "__main__":
    main()
