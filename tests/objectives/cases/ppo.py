"""PPO from the sheet of 2406.09279, section 2, in plain float64."""

from __future__ import annotations

from math import exp, sqrt

from case import Case


def ppo(rows: list[tuple], clip: float = 0.2, value_clip: float = 0.2, vf: float = 0.1, beta: float = 0.05,
        gamma: float = 1.0, lam: float = 0.95, whiten: bool = True, old: str = "ref") -> list[float]:  # fmt: skip
    flat = []  # (group, token, advantage)
    for g, (group,) in enumerate(rows):
        for c in group:
            tokens, after, later = c["tokens"], 0.0, 0.0
            for k in reversed(range(len(tokens))):
                t = tokens[k]
                reward = -beta * (t[old] - t["ref"]) + (c["score"] if k == len(tokens) - 1 else 0.0)
                advantage = reward + gamma * later - t["reward"] + gamma * lam * after
                flat.append((g, t, advantage))
                after, later = advantage, t["reward"]
    mean = sum(a for *_, a in flat) / len(flat)
    sd = sqrt(sum((a - mean) ** 2 for *_, a in flat) / (len(flat) - 1) + 1e-6)
    total = [0.0] * len(rows)
    for g, t, a in flat:
        goal, v, v0 = a + t["reward"], t["mask"], t["reward"]
        near = v0 + min(max(v - v0, -value_clip), value_clip)
        if whiten:
            a = (a - mean) / sd
        rho = exp(t["logp"] - t[old])
        total[g] += max(-a * rho, -a * min(max(rho, 1 - clip), 1 + clip))
        total[g] += vf / 2 * max((v - goal) ** 2, (near - goal) ** 2)
    return total


def alone(group: list[dict], **fields: float) -> float:
    return ppo([(group,)], whiten=False, **fields)[0]


NO_PENALTY = {"field beta": "the tokens were drawn from the reference: its log-ratio is 0"}
CASES = [
    # all alike, values of 1 against old ones of 0 and returns of 0: six tokens of .1 / 2
    Case(
        "ppo(value='mask', old='ref_logp', old_value='reward')", ppo, 0.3, rows="groups", coupled=True, exempt=NO_PENALTY
    ),
    Case(
        "ppo(clip=0.4, value_clip=0.6, vf=0.5, beta=0.2, gamma=0.9, lam=0.7, whiten=False, value='mask', old='reward', "
        "old_value='reward')",
        lambda g: alone(g, clip=0.4, value_clip=0.6, vf=0.5, beta=0.2, gamma=0.9, lam=0.7, old="reward"),
        None, rows="groups", exempt={"huge margins": "old log-probabilities of either sign"},
    ),
    Case(
        "ppo(beta=0.0, whiten=False, value='mask', old='reward', old_value='reward')",
        lambda g: alone(g, beta=0.0, old="reward"), None, False, "groups",
        exempt={"field beta": "half of 0", "huge margins": "old log-probabilities of either sign"},
    ),
]  # fmt: skip
