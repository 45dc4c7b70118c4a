"""Sample results for the page tests: the shapes of the real ones, made up, with and without hostile text."""

from __future__ import annotations

import numpy as np

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<svg onload=alert(1)> {{ 7*7 }} {% raw %} & \" ' ` \u202egnihton\u202c <!-- ]]> javascript:alert(1) "
    "<a href='http://evil.example/'>x</a> \x00\x07 \ud800 $\\frac{1}{0}$"
)


def audit(annotators: int = 6, hostile: bool = False, labels: int = 4000, seed: int = 0) -> dict:
    """An audit's view with `annotators` annotators; with `hostile`, every text from outside tries to break out."""
    random = np.random.default_rng(seed)
    eta = np.linspace(0.96, 0.35, annotators)
    names = [f"{HOSTILE[:60]} {k}" if hostile else f"annotator {k + 1}" for k in range(annotators)]
    who = random.integers(0, annotators, labels)
    right = random.random(labels) < eta[who]
    p = 1 / (1 + np.exp(-(np.where(right, 1, -1) * 2.2 + random.normal(0, 1.6, labels))))
    bad = HOSTILE if hostile else ""
    doubts = [
        {
            "row": int(i), "pair": int(i), "annotator": names[who[i]], "p_correct": float(p[i]),
            "logit": float(np.log(p[i] / (1 - p[i]))), "length_gap": 120.0,
            "flags": ["length_driven"] if i % 3 == 0 else (["contradiction", "near_duplicate"] if i % 5 == 0 else []),
            "prompt": f"What should I look for when I buy a used bicycle? {bad}",
            "chosen": f"Look at the frame first: cracks there are the end of it. {bad}" + " Then the chain." * int(i % 90),
            "rejected": [{"role": "assistant", "content": f"A bicycle has two wheels. {bad}"}],
        }
        for i in np.argsort(p)[:30]
    ]  # fmt: skip
    noise = float(1 - p.mean())
    half = 1.96 * 0.6 / np.sqrt(labels)
    return {
        "source": bad + "preferences.jsonl", "scorer": "text", "command": "assent audit preferences.jsonl --out audit",
        "pairs": labels - 500, "labels": labels, "ties": 12, "noise_rate": noise,
        "noise_rate_low": noise - half, "noise_rate_high": noise + half, "rests_on": "agreement",
        "decision": {"keep": int((p > 0.6).sum()), "look": int(((p <= 0.6) & (p >= 0.2)).sum()), "drop": int((p < 0.2).sum())},
        "plain_dpo": "Plain DPO would lose much here. Train with lcpo(dpo(), reliability='audit:audit').",
        "annotators": {
            n: {"labels": int((who == k).sum()), "reliability": float(eta[k]), "low": float(eta[k] - 0.04),
                "high": float(min(1, eta[k] + 0.035)), "agreement": float(0.25 + 0.55 * eta[k] + random.normal(0, 0.01))}
            for k, n in enumerate(names)
        },
        "flags": {"length_driven": 310, "contradiction": 120, "near_duplicate": 44, "cycle": 3},
        "p_correct": p, "length_gap": random.normal(60, 220, labels).round(), "suspicious": doubts, "seconds": 12.3,
        "notes": [],
    }  # fmt: skip


def demo(seed: int = 0, hostile: bool = False) -> dict:
    """A demo's result with the keys of ``assent demo --json`` and what its page shows besides."""
    random = np.random.default_rng(seed)
    names = ("dpo_clean", "lcpo_oracle", "lcpo_crossfit", "lcpo_online", "rdpo", "cdpo", "dpo")
    ends = dict(zip(names, (4.4, 3.9, 3.8, 2.1, 2.6, 1.95, 1.84), strict=True))
    curves, methods = {}, {}
    for k, (name, end) in enumerate(ends.items()):
        t = np.linspace(0, 1, 9)
        reward = 0.3 + (end - 0.3) * (1 - np.exp(-3 * t)) / 0.95 - (0.5 * t**3 if end < 3 else 0)
        curves[name] = [
            {
                "step": int(100 * a),
                "kl": float((6 + 0.5 * k) * a),
                "true_reward": float(r),
                "loss": float(0.69 - 0.3 * a),
            }
            for a, r in zip(t, reward, strict=True)
        ]
        methods[name] = {"true_reward": end, "gain": end - 0.3, "win_rate": 0.5 + end / 12}
        methods[name] |= {"kl": 6 + 0.5 * k, "accuracy": 0.6 + end / 15}
    true = [0.95, 0.9, 0.85, 0.7, 0.6, 0.3]
    names = ["anna", "ben", "chloe", "dmitri", "eve", "felix"]
    bad = HOSTILE if hostile else ""
    return {
        "schema": 1, "seed": seed, "methods": methods,
        "single_annotator": {k: methods[k] for k in ("dpo", "lcpo_online", "lcpo_crossfit")},
        "oracle_gap_recovered": {"lcpo_online": 0.126, "lcpo_crossfit": 0.951},
        "reliability": {
            n + bad: {"true": t, "estimated": min(1.0, t + float(random.normal(0, 0.02)))}
            for n, t in zip(names, true, strict=True)
        },
        "reliability_online": {n + bad: 0.9 + 0.1 * t for n, t in zip(names, true, strict=True)},
        "single_reliability": {"true": 0.717, "lcpo_crossfit": 0.731, "lcpo_online": 0.982},
        "seconds": 208.4, "equal_kl": 6.0, "curves": curves,
        "posteriors": {"right": random.beta(6, 1.2, 3000).tolist(), "wrong": random.beta(1.2, 4, 1100).tolist()},
        "samples": [
            {"prompt": f"the old harbour {bad}", "reference": "is a grey stone and a small boat " + bad,
             "dpo": "is is is a quiet boat",
             "lcpo_crossfit": {"text": "is a quiet harbour with a warm light " + bad, "reward": 2.31}},
            {"prompt": "my sister", "reference": "reads the letter", "dpo": "sings", "lcpo_crossfit": "writes a kind letter"},
        ],
        "audit": {"noise_rate": 0.281, "noise_rate_low": 0.262, "noise_rate_high": 0.301},
    }  # fmt: skip


def run_folder(path, seed: int = 0, hostile: bool = False, objective: str = "lcpo(dpo(beta=0.1))", steps: int = 200):
    """A training run's output directory, as far as its report reads it; returns its path."""
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(seed)
    bad = HOSTILE if hostile else ""
    history = []
    for step in range(5, steps + 1, 5):
        t = step / steps
        entry = {
            "step": step, "epoch": 2 * t, "loss": 0.69 * np.exp(-t) + float(random.normal(0, 0.01)), "grad_norm": 1 + t,
            "rewards/accuracies": 0.5 + 0.4 * t, "rewards/margins": 1.2 * t, "logps/chosen": -40 - 5 * t,
            "logps/rejected": -42 - 12 * t, "lcpo/noise_rate": 0.3 - 0.05 * t, "lcpo/reliability/anna": 0.9 + 0.05 * t,
            "lcpo/reliability/ben" + bad[:40]: 0.9 - 0.3 * t,
        }  # fmt: skip
        history.append(entry)
        if step % 50 == 0:
            history.append({"step": step, "eval_loss": 0.7 - 0.2 * t, "eval_rewards/accuracies": 0.5 + 0.2 * t})
    history.append({"step": steps, "train_runtime": 754.0, "train_loss": float("nan")})
    path.mkdir(parents=True)
    state = {"global_step": steps, "epoch": 2.0, "log_history": history}
    (path / "trainer_state.json").write_text(json.dumps(state))
    (path / "assent_state.json").write_text(json.dumps({"schema": 1, "objective": objective, "annotators": []}))
    alarms = [{"name": "falling", "step": 150, "sentence": "chosen log-probability falls " + bad}]
    (path / "alarms.json").write_text(json.dumps({"schema": 1, "alarms": alarms}))
    (path / "README.md").write_text("# A model card\n" + bad.encode("utf-8", "replace").decode())
    for epoch in (1, 2):
        posterior = [*random.beta(3 + epoch, 1.5, 500), None]
        pq.write_table(pa.table({"pair": range(501), "posterior": posterior}), path / f"pairs-epoch-{epoch}.parquet")
    rows = [
        {"epoch": e, "term": 0, "annotator": n + bad.encode("utf-8", "replace").decode(), "labels": 40, "reliability": r}
        for e, anna, ben in ((1, 0.92, 0.8), (2, 0.95, 0.6)) for n, r in (("anna", anna), ("ben", ben))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), path / "reliabilities.parquet")
    return path
