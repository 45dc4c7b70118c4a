"""Random rows as plain dictionaries, for the oracles, and the same rows as scores, for the code under test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch

from assent.scores import Column, GroupScores, PairScores, Scores, Tokens

F64 = torch.float64
GRADED = ("logp", "kl", "entropy", "sum_sq", "mask")
"""What depends on the parameters, per token."""
VIEWS = {
    "rationale": ("w", "rationale"),
    "chosen@intra_better": ("w", "better"), "rejected@intra_better": ("l", "better"),
    "chosen@intra_worse": ("w", "worse"), "rejected@intra_worse": ("l", "worse"),
    "chosen@for_chosen": ("w", "own"), "rejected@for_rejected": ("l", "own"),
    "chosen@for_rejected": ("w", "other"), "rejected@for_chosen": ("l", "other"),
    "chosen|rejected": ("w", "better"), "rejected|chosen": ("l", "better"),
    "chosen|chosen": ("w", "worse"), "rejected|rejected": ("l", "worse"),
    "chosen@degraded": ("w", "own"), "rejected@degraded": ("l", "own"),
}  # fmt: skip
"""Further sequences of a pair: name of the view, and which side's dictionary holds them under which name."""


def completion(rng: random.Random, scale: float, tokens: int | None = None) -> dict[str, Any]:
    """One completion of 2 to 9 tokens around -1 nat each, whose log-ratio has about the standard deviation ``scale``."""
    count = tokens or rng.randint(2, 9)
    flat = []
    for _ in range(count):
        ref = -0.2 - rng.random() * 1.6
        flat.append(
            {
                "ref": ref, "logp": ref + scale * rng.gauss(0, 1) / count**0.5, "entropy": 0.1 + 2 * rng.random(),
                "sum_sq": 0.05 + 0.9 * rng.random(), "kl": 0.3 * rng.random(), "reward": rng.gauss(0, 1),
                "mask": rng.random(),
            }
        )  # fmt: skip
    found = {"tokens": flat, "length": count, "score": rng.gauss(0, 1), "label": float(rng.random() < 0.5)}
    return found | {name: sum(t[name] for t in flat) for name in ("logp", "ref")}


def pairs(count: int, seed: int = 0, scale: float = 1.0) -> list[tuple[dict, dict]]:
    """Pairs of completions; both sides know the pair's confidence."""
    rng = random.Random(seed)
    found = [(completion(rng, scale), completion(rng, scale)) for _ in range(count)]
    for w, l in found:
        w["confidence"] = l["confidence"] = rng.random()
        w["weight"] = l["weight"] = 0.5 + rng.random()
        w["target"], l["target"] = (p := rng.random()), 1 - p
    return _with_views(found, random.Random(seed + 1000), scale)


def _with_views(found: list[tuple[dict, dict]], rng: random.Random, scale: float) -> list[tuple[dict, dict]]:
    """The pairs with further sequences on both sides; the rationale is the pair's own."""
    for w, l in found:
        for side in (w, l):
            for name in ("better", "worse", "own", "other"):
                side[name] = _view(rng, scale)
        w["rationale"] = l["rationale"] = _view(rng, scale)
    return found


def _view(rng: random.Random, scale: float) -> dict[str, float]:
    ref = -2 - 4 * rng.random()
    return {"ref": ref, "logp": ref + scale * rng.gauss(0, 1), "length": rng.randint(2, 9), "score": rng.gauss(0, 1)}


def labelled(count: int, seed: int = 0, scale: float = 1.0) -> list[dict]:
    """Single completions; both labels occur."""
    rng = random.Random(seed)
    found = [completion(rng, scale) | {"weight": 0.5 + rng.random()} for _ in range(count)]
    found[0]["label"], found[1]["label"] = 1.0, 0.0
    return found


def groups(count: int, seed: int = 0, scale: float = 1.0) -> list[list[dict]]:
    """Groups of two to five completions."""
    rng = random.Random(seed)
    return [
        [completion(rng, scale) | {"weight": weight} for _ in range(rng.randint(2, 5))]
        for weight in (0.5 + rng.random() for _ in range(count))
    ]


MAKERS = {"pairs": pairs, "labelled": labelled, "groups": groups}


def alike(kind: str) -> Any:
    """A row where policy = reference and all sides are alike."""
    token = {"ref": -2.0, "logp": -2.0, "entropy": 1.0, "sum_sq": 0.5, "kl": 0.0, "reward": 0.0, "mask": 1.0}
    one = {
        "tokens": [dict(token) for _ in range(3)], "length": 3, "logp": -6.0, "ref": -6.0, "score": 0.0, "label": 1.0,
        "confidence": 0.5, "weight": 1.0, "target": 1.0,
    }  # fmt: skip
    view = {"logp": -6.0, "ref": -6.0, "length": 3, "score": 0.0}
    one |= dict.fromkeys(("better", "worse", "own", "other", "rationale"), view)
    return {"pairs": (one, one), "labelled": one, "groups": [one, one]}[kind]


class Built:
    """Scores of some rows with the leaves [T] that gradients reach, by name of side and value."""

    def __init__(self, rows: Sequence[Any], kind: str, *, dtype: torch.dtype = F64, weight: bool = False,
                 target: bool = False, shuffle: int | None = None, blind: bool = False) -> None:  # fmt: skip
        self.rows, self.kind, self.dtype, self.weight, self.target = rows, kind, dtype, weight, target
        self.shuffle, self.blind = shuffle, blind
        self.sides = {
            "pairs": lambda: {"chosen": [w for w, _ in rows], "rejected": [l for _, l in rows]},
            "labelled": lambda: {"": list(rows)},
            "groups": lambda: {"": [c for group in rows for c in group]},
        }[kind]()
        self.leaves = {
            (side, name): self._flat(found, name).requires_grad_()
            for side, found in self.sides.items()
            for name in GRADED
        }
        for side, found in self.sides.items():
            self.leaves[side, "score"] = self._numbers([c["score"] for c in found]).requires_grad_()
        self.further = {} if kind != "pairs" else {
            name: [(w if side == "w" else l)[key] for w, l in rows] for name, (side, key) in VIEWS.items()
        }  # fmt: skip
        for name, found in self.further.items():
            self.leaves[name, "logp"] = self._numbers([c["logp"] for c in found]).requires_grad_()
        self.scores = self.put(self.leaves)

    def put(self, leaves: dict[tuple[str, str], torch.Tensor]) -> PairScores | Scores | GroupScores:
        """The scores with other values in place of the leaves."""
        side = {name: self._side(name, found, leaves) for name, found in self.sides.items()}
        if self.kind == "labelled":
            return side[""]
        weight = [row[0]["weight"] for row in self.rows] if self.weight else None
        if self.kind == "groups":
            group = torch.tensor([i for i, row in enumerate(self.rows) for _ in row])
            score = self._numbers([c["score"] for c in self.sides[""]])
            return GroupScores(side[""], group, score, None if weight is None else self._numbers(weight))
        first = [w for w, _ in self.rows]
        column = lambda name, end: self._numbers([c[name] for c in self.sides[end]])  # noqa: E731
        gap = self._numbers([w["score"] - l["score"] for w, l in self.rows])
        return PairScores(
            side["chosen"], side["rejected"], weight=None if weight is None else self._numbers(weight),
            target=self._numbers([w["target"] for w in first]) if self.target else None,
            views={name: self._view(leaves[name, "logp"], found) for name, found in self.further.items()},
            columns={
                "confidence": Column(self._numbers([w.get("confidence", 0.5) for w in first])),
                "margin": Column(gap, "negate"),
                "score_chosen": Column(column("score", "chosen"), exchange="score_rejected"),
                "score_rejected": Column(column("score", "rejected"), exchange="score_chosen"),
            },
        )  # fmt: skip

    def _numbers(self, values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=self.dtype)

    def _flat(self, found: Sequence[dict], name: str) -> torch.Tensor:
        return self._numbers([t[name] for c in found for t in c["tokens"]])

    def _view(self, logp: torch.Tensor, found: Sequence[dict]) -> Scores:
        ref = self._numbers([float("nan") if self.blind else c["ref"] for c in found])
        score = self._numbers([c["score"] for c in found])
        length = self._numbers([c["length"] for c in found])
        logits = torch.stack([logp, score, length / 10], dim=-1)
        degree = {"degree": length % 3, "degree_chosen": logits, "degree_rejected": -logits}
        return Scores(logp, ref, length, columns={"reward": score} | degree)

    def _side(self, name: str, found: Sequence[dict], leaves: dict[tuple[str, str], torch.Tensor]) -> Scores:
        row = torch.tensor([i for i, c in enumerate(found) for _ in c["tokens"]])
        index = torch.tensor([j for c in found for j in range(len(c["tokens"]))])
        logp, ref = leaves[name, "logp"], self._flat(found, "ref")
        if self.blind:
            ref = torch.full_like(ref, float("nan"))
        total = lambda values: values.new_zeros(len(found)).index_add(0, row, values)  # noqa: E731
        extra = {
            "kl_ref": leaves[name, "kl"], "entropy": leaves[name, "entropy"], "sum_sq": leaves[name, "sum_sq"],
            "mask": leaves[name, "mask"],
        }  # fmt: skip
        values = {"row": row, "index": index, "logp": logp, "ref_logp": ref, **extra}
        columns = {"reward": self._flat(found, "reward")}
        if self.shuffle is not None:
            order = torch.randperm(len(row), generator=torch.Generator().manual_seed(self.shuffle))
            values = {k: v[order] for k, v in values.items()}
            columns = {k: v[order] for k, v in columns.items()}
        own = {"score": self._numbers([c["score"] for c in found])}
        own["reward"] = leaves[name, "score"]  # a reward model's score of the completion
        if self.kind == "labelled":
            own["label"] = self._numbers([c["label"] for c in found])
            if self.weight:
                own["weight"] = self._numbers([c["weight"] for c in found])
        return Scores(
            logp=total(logp), ref_logp=total(ref), length=self._numbers([c["length"] for c in found]),
            tokens=Tokens(**values, columns=columns), columns=own,
        )  # fmt: skip


def as_arguments(row: Any, kind: str) -> tuple[Any, ...]:
    """A row as the arguments of its oracle."""
    return row if kind == "pairs" else (row,)
