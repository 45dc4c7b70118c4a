"""All figures of some pairs by name, and the tables that go with them; ``docs/diagnostics.md`` explains each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from assent.diagnostics import calibration, dead, diversity, ranking
from assent.diagnostics.buckets import LENGTH_NAMES, buckets, length_places, named_places, quartile_places
from assent.diagnostics.displacement import displaced_share
from assent.diagnostics.length import Moments
from assent.diagnostics.mean import Mean
from assent.diagnostics.pairs import PairColumns
from assent.diagnostics.saturation import saturated
from assent.diagnostics.three_d import log_unseen


@dataclass(frozen=True)
class Figures:
    """values: flat name -> number, NaN where it is not defined on these pairs.  tables: calibration, buckets, transition."""

    values: dict[str, float]
    tables: dict[str, Any] = field(default_factory=dict)


def figures(
    pairs: PairColumns, *, eta: Tensor | None = None, annotators: Sequence[str] = (),
    cuts: Mapping[str, Sequence[str]] | None = None, before: Tensor | None = None,
) -> Figures:  # fmt: skip
    """Every figure that these columns can tell.

    eta [K]: reliabilities (LCPO).  annotators: their names.  cuts: further buckets, name -> one text for each pair.
    before [P]: log p(w) / p(l) of an earlier time, where there is no reference to compare the ranking with.
    """
    weight = pairs.weight
    right = calibration.agreement(pairs.margin, pairs.target)
    values = {"pairs": float(len(pairs))}
    values |= _with_error("reward/accuracy", Mean.of(right, weight))
    values |= _with_error("reward/margin", Mean.of(pairs.margin, weight))
    tables: dict[str, Any] = {}
    bins = calibration.reliability_diagram(pairs.logit, pairs.target, weight)
    values |= _calibration(pairs, bins, eta)
    tables["calibration"] = [b.to_json() for b in bins]
    if pairs.chosen is not None:
        values |= _ranking(pairs)
        now = ranking.ranked_right(pairs.chosen, pairs.rejected)
        earlier = before if pairs.ref_chosen is None else pairs.ref_chosen - pairs.ref_rejected
        if earlier is not None:
            tables["transition"] = ranking.transition(ranking.ranked_right(earlier, torch.zeros_like(earlier)), now)
    if pairs.ref_chosen is not None:
        values |= _against_reference(pairs)
    values |= {"saturation/share": Mean.of(saturated(pairs.margin).double(), weight).mean}
    values |= {"dead/identical": Mean.of(pairs.identical.double(), weight).mean}
    gap = pairs.length_chosen - pairs.length_rejected
    moments = Moments.of(pairs.margin, gap)
    values |= {"length/gap": Mean.of(gap, weight).mean, "length/correlation": moments.correlation}
    values |= {"length/slope": moments.slope}
    if pairs.kl is not None:
        values["kl/pairs"] = float(pairs.kl.sum() / (pairs.length_chosen + pairs.length_rejected).sum())
    if eta is not None:
        values |= _reliability(pairs, eta)
    tables["buckets"] = _buckets(pairs, annotators, cuts or {})
    return Figures(values, tables)


def _with_error(name: str, found: Mean) -> dict[str, float]:
    return {name: found.mean, f"{name}_se": found.standard_error}


def _calibration(pairs: PairColumns, bins: Sequence[calibration.Bin], eta: Tensor | None) -> dict[str, float]:
    found = {
        "calibration/ece": calibration.expected_calibration_error(bins),
        "calibration/overconfidence": calibration.overconfidence(bins),
        "calibration/brier": calibration.brier(pairs.logit, pairs.target, pairs.weight),
    }
    if eta is not None:
        told = calibration.label_logit(pairs.logit[pairs.pair], eta[pairs.annotator])
        labelled = calibration.reliability_diagram(told, pairs.p, pairs.label_weight)
        found["calibration/label_ece"] = calibration.expected_calibration_error(labelled)
    return found


def _ranking(pairs: PairColumns) -> dict[str, float]:
    """The policy's own ranking, raw and per token, and what the best policy could reach from this reference."""
    weight, longs = pairs.weight, (pairs.length_chosen, pairs.length_rejected)

    def accuracy(chosen: Tensor, rejected: Tensor) -> float:
        return Mean.of(ranking.ranked_right(chosen, rejected), weight).mean

    found = _with_error("ranking/accuracy", Mean.of(ranking.ranked_right(pairs.chosen, pairs.rejected), weight))
    found["ranking/normalised"] = accuracy(pairs.chosen / longs[0], pairs.rejected / longs[1])
    if bool((pairs.target == 0.5).any()):
        found["ranking/with_ties"] = Mean.of(
            ranking.ranked_with_ties(pairs.chosen / longs[0], pairs.rejected / longs[1], pairs.target), weight
        ).mean
    if pairs.ref_chosen is None:
        return found
    found["ranking/reference"] = accuracy(pairs.ref_chosen, pairs.ref_rejected)
    found["ranking/reference_normalised"] = accuracy(pairs.ref_chosen / longs[0], pairs.ref_rejected / longs[1])
    c = pairs.ref_rejected - pairs.ref_chosen
    for name, hard in (("", c), ("normalised_", pairs.ref_rejected / longs[1] - pairs.ref_chosen / longs[0])):
        best = ranking.idealised_range(hard, pairs.target)
        found |= {f"ranking/idealised_{name}{k}": v for k, v in zip(("min", "median", "max"), best, strict=True)}
    found["ranking/alignment_gap"] = found["ranking/idealised_median"] - found["ranking/accuracy"]
    wrong, now = c > 0, ranking.ranked_right(pairs.chosen, pairs.rejected)
    found["difficulty/mean"], found["difficulty/median"] = Mean.of(c, weight).mean, c.median().item()
    found["difficulty/wrong"] = Mean.of(wrong.double(), weight).mean
    found["difficulty/turned"] = Mean.of(now[wrong], weight[wrong]).mean
    found["difficulty/lost"] = Mean.of(1 - now[~wrong], weight[~wrong]).mean
    return found


def _against_reference(pairs: PairColumns) -> dict[str, float]:
    """What moved against the reference: displacement per token, and the three properties per sequence."""
    weight = pairs.weight
    chosen, rejected = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected
    now = log_unseen(pairs.chosen, pairs.rejected)
    return {
        **_with_error("displacement/chosen", Mean.of(chosen / pairs.length_chosen, weight)),
        **_with_error("displacement/rejected", Mean.of(rejected / pairs.length_rejected, weight)),
        "displacement/share": displaced_share(chosen, weight).item(),
        "three_d/drop": Mean.of(-rejected, weight).mean,
        "three_d/suppression": Mean.of(-chosen, weight).mean,
        "three_d/dispersion": Mean.of(now - log_unseen(pairs.ref_chosen, pairs.ref_rejected), weight).mean,
    }


def _reliability(pairs: PairColumns, eta: Tensor) -> dict[str, float]:
    found = {"reliability/mean": eta.mean().item(), "reliability/min": eta.min().item()}
    found["reliability/max"] = eta.max().item()
    if pairs.label_right is not None:
        told = ~pairs.label_right.isnan()  # a tie names no order
        found["noise_rate"] = Mean.of(1 - pairs.label_right[told], pairs.label_weight[told]).mean
    return found


def _buckets(pairs: PairColumns, annotators: Sequence[str], cuts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Cut -> its buckets."""

    def cut(place: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
        return [b.to_json() for b in buckets(place, names, pairs.margin, pairs.target, pairs.weight)]

    gap = pairs.length_chosen - pairs.length_rejected
    found = {"length_gap": cut(length_places(gap), LENGTH_NAMES)}
    if len(annotators) > 1:
        who = [annotators[i] for i in pairs.annotator.tolist()]
        place, names = named_places(who)
        told = buckets(place, names, pairs.margin[pairs.pair], pairs.p, pairs.label_weight)
        found["annotator"] = [b.to_json() for b in told]
    if pairs.ref_chosen is not None and len(pairs) >= 4:
        found["difficulty"] = cut(*quartile_places(pairs.ref_rejected - pairs.ref_chosen))
    return found | {name: cut(*named_places(texts)) for name, texts in cuts.items()}


def stands_still(pairs: PairColumns, earlier: Tensor | None) -> tuple[Tensor | None, dict[str, float]]:
    """Which pairs the loss moves no more [P] bool, and the weighted share of those that stood still before as well.

    earlier [P] bool: those of the look before; None at the first one.
    """
    if pairs.force is None:
        return None, {}
    now = dead.still(pairs.force)
    if earlier is None:
        return now, {}
    return now, {"dead/still": Mean.of((now & earlier).double(), pairs.weight).mean}


def sample_figures(completions: Sequence[Sequence[int]], nll: float, cut: float) -> dict[str, float]:
    """Figures of some completions (token ids): nll in nats per token, cut the share that had not ended."""
    sizes = [len(ids) for ids in completions]
    return {
        "samples/nll": nll,
        "samples/length": sum(sizes) / len(sizes),
        "samples/cut": cut,
        "samples/distinct_1": diversity.distinct(completions, 1),
        "samples/distinct_2": diversity.distinct(completions, 2),
        "samples/duplicates": diversity.duplicates(completions),
        "samples/overlap": diversity.self_overlap(completions),
    }
