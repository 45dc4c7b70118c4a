"""What the figures of ``diagnostics.jsonl`` are called on a page and what they say: one short sentence beside each number."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

from assent.reporting.page import number, percent
from assent.reporting.text import visible


class Metric(NamedTuple):
    """name: as the page writes it.  unit: "" where the number has none.  says: what it is, and what is normal."""

    name: str
    unit: str
    says: str

    def shown(self, value: float | None) -> str:
        """The number in its unit."""
        if self.unit == "share":
            return percent(value, 1)
        digits = 0 if self.unit in ("pairs", "tokens") else 3
        return number(value, digits)


GROUPS: Mapping[str, tuple[str, Mapping[str, Metric]]] = {
    "reward": ("What the objective rewards", {
        "reward/accuracy": Metric("ranked as labelled", "share",
            "Pairs whose implicit reward is higher for the chosen side. Half at the start; near 100 % on training pairs is "
            "learning by heart."),
        "reward/margin": Metric("margin", "nats", "Mean of chosen less rejected implicit reward; rises slowly."),
    }),
    "ranking": ("What the policy would write", {
        "ranking/accuracy": Metric("ranked by log-probability", "share",
            "Pairs whose chosen side is the likelier text. Stays near the reference's for long: few pairs are turned."),
        "ranking/normalised": Metric("the same per token", "share",
            "Higher than the raw share where chosen sides are longer."),
        "ranking/with_ties": Metric("with ties", "share",
            "Where raters tie, both sides must be about as likely per token; else as above."),
        "ranking/exact_order": Metric("whole order right", "share",
            "Groups whose whole order by log-probability is that of their scores; far below that of pairs."),
        "ranking/exact_order_normalised": Metric("whole order right, per token", "share",
            "The same by log-probability per token."),
        "ranking/reference": Metric("under the reference", "share",
            "The same share before training; often below one half."),
        "ranking/reference_normalised": Metric("under the reference, per token", "share",
            "The same share per token before training."),
        "ranking/idealised_min": Metric("idealised, least", "share",
            "Pairs that the exact optimum would rank right, at the largest beta tried."),
        "ranking/idealised_median": Metric("idealised, median", "share",
            "Pairs that the exact optimum would rank right, median over beta from 0.01 to 10."),
        "ranking/idealised_max": Metric("idealised, most", "share",
            "Pairs that the exact optimum would rank right, at the smallest beta tried."),
        "ranking/idealised_normalised_min": Metric("idealised per token, least", "share",
            "As above, ranked by log-probability per token, at the largest beta."),
        "ranking/idealised_normalised_median": Metric("idealised per token, median", "share",
            "As above, ranked per token, median over beta."),
        "ranking/idealised_normalised_max": Metric("idealised per token, most", "share",
            "As above, ranked per token, at the smallest beta."),
        "ranking/alignment_gap": Metric("alignment gap", "share",
            "Idealised median less the policy's own share: what the method leaves on the table."),
        "difficulty/mean": Metric("difficulty, mean", "nats per sequence",
            "How much likelier the reference finds the rejected side; above 0 it is wrong at the start."),
        "difficulty/median": Metric("difficulty, median", "nats per sequence", "The same, of the middle pair."),
        "difficulty/wrong": Metric("wrong at the start", "share", "Pairs that the reference ranks wrong; about half."),
        "difficulty/turned": Metric("turned", "share",
            "Of those, how many the policy ranks right now; often below 10 %."),
        "difficulty/lost": Metric("lost", "share", "Of the pairs that were right, how many are wrong now; near 0."),
    }),
    "calibration": ("Whether margins can be trusted", {
        "calibration/ece": Metric("calibration error (ECE)", "probability",
            "Mean gap between the stated probability and the share of labels that agree; below 0.1 is good. LCPO rests on it."),
        "calibration/overconfidence": Metric("overconfidence", "probability",
            "The same with its sign: above 0 the margins promise too much."),
        "calibration/brier": Metric("Brier score", "",
            "Squared error of the stated probability: 0.25 knows nothing, lower is better."),
        "calibration/label_ece": Metric("calibration error of labels", "probability",
            "The same against each label, allowing for its annotator's reliability."),
    }),
    "displacement": ("Where the probability goes", {
        "displacement/chosen": Metric("chosen side moved", "nats per token",
            "Mean change of its log-probability from the reference; should stay above −0.1."),
        "displacement/rejected": Metric("rejected side moved", "nats per token",
            "The same for the rejected side, which falls."),
        "displacement/share": Metric("chosen side less likely", "share",
            "Pairs whose chosen side is now less likely than under the reference; below half."),
        "three_d/drop": Metric("drop", "nats per sequence", "How far the rejected side fell; should not run away."),
        "three_d/suppression": Metric("suppression", "nats per sequence",
            "How far the chosen side fell; at or below 0 is good."),
        "three_d/dispersion": Metric("dispersion", "nats per sequence",
            "Probability that went to neither side; about 0 for long texts, whose probabilities are tiny."),
        "kl/pairs": Metric("KL to the reference", "nats per token",
            "Of the next token over the whole vocabulary, along the pairs (reference to policy); grows slowly, below 1."),
    }),
    "pairs": ("Pairs that teach nothing, and length", {
        "saturation/share": Metric("saturated", "share", "Pairs with less than 1 % of their gradient left."),
        "dead/identical": Metric("identical sides", "share", "Both sides are the same tokens: nothing can be learnt."),
        "dead/still": Metric("without gradient", "share", "No gradient at this look and the one before."),
        "length/gap": Metric("length gap", "tokens", "Chosen less rejected, mean; a fact of the data."),
        "length/correlation": Metric("length and margin", "correlation",
            "Pearson's, of margin and length gap; beyond 0.3 length is being rewarded."),
        "length/slope": Metric("reward per token", "nats per token", "Least squares of margin on length gap; near 0."),
        "repeated/prompts": Metric("prompts trained on", "share",
            "Held-out pairs whose prompt is also trained on; should be 0."),
    }),
    "entanglement": ("Gradients of both sides", {
        "entanglement/cosine": Metric("cosine of the two gradients", "cosine",
            "Of log-probabilities of chosen and rejected; near 1 a step that lowers one side lowers the other too."),
        "entanglement/norm_ratio": Metric("size of the two gradients", "ratio",
            "Rejected over chosen, geometric mean; above 1 the rejected side decides where both go."),
        "entanglement/share_ideal": Metric("one up, one down", "share",
            "Pairs whose next step, by its gradients, raises the chosen side and lowers the rejected one."),
        "entanglement/share_both_down": Metric("both down", "share", "Pairs whose next step lowers both sides."),
        "entanglement/share_both_up": Metric("both up", "share", "Pairs whose next step raises both sides."),
        "entanglement/share_reversed": Metric("reversed", "share",
            "Pairs whose next step raises the rejected side alone."),
        "entanglement/share_still": Metric("still", "share", "Pairs whose next step moves neither side."),
        "entanglement/predicted_chosen": Metric("predicted change, chosen", "nats per unit of learning rate",
            "To first order, of one step on the pair alone."),
        "entanglement/predicted_rejected": Metric("predicted change, rejected", "nats per unit of learning rate",
            "The same of the rejected side."),
        "entanglement/pairs": Metric("pairs looked at", "pairs", "Gradients are costly, so few pairs are looked at."),
    }),
    "samples": ("What it writes now", {
        "samples/nll": Metric("negative log-likelihood", "nats per token",
            "Of its likeliest completions; at 0 the policy has lost its choice."),
        "samples/entropy": Metric("entropy", "nats per token", "Of the next token along them; falls slowly."),
        "samples/length": Metric("length", "tokens", "Mean, cut at 32."),
        "samples/cut": Metric("not ended", "share", "Completions still going after 32 tokens."),
        "samples/distinct_1": Metric("distinct words", "share",
            "Different tokens of all tokens; falls when all answers sound alike."),
        "samples/distinct_2": Metric("distinct word pairs", "share", "The same of pairs of tokens."),
        "samples/duplicates": Metric("duplicates", "share", "Completions that another prompt has too; should be 0."),
        "samples/overlap": Metric("overlap", "share", "Token pairs of a completion found in the others; below half."),
    }),
    "labels": ("Labels", {
        "noise_rate": Metric("noise rate", "share", "Mean of 1 − P(a label is right), as the run sees it."),
        "reliability/mean": Metric("reliability, mean", "share",
            "Over annotators; all near 100 % late in a run is drift."),
        "reliability/min": Metric("reliability, least", "share", "Of the least reliable annotator."),
        "reliability/max": Metric("reliability, most", "share", "Of the most reliable annotator."),
    }),
    "start": ("At the start", {
        "start/margin": Metric("largest starting margin", "nats per sequence",
            "Should be 0 where training starts from the reference."),
        "start/gap": Metric("distance from the reference", "nats per token",
            "Mean change of log-probability at step 0; should be 0 where training starts from the reference."),
    }),
}  # fmt: skip


def grouped(keys: Set[str]) -> list[tuple[str, list[tuple[str, Metric]]]]:
    """The figures that are there, under their headings in the page's order; unknown ones last, under their own names."""
    left = {key for key in keys if not key.endswith("_se") and key != "pairs"}
    out = []
    for prefix, (title, metrics) in GROUPS.items():
        rows = [(key, metric) for key, metric in metrics.items() if key in left]
        rows += [
            (key, _named(key))
            for key in sorted(left - metrics.keys())
            if key.startswith(f"{prefix}/") and not _known(key)
        ]
        left -= {key for key, _ in rows}
        if rows:
            out.append((title, rows))
    if left:
        out.append(("Further figures", [(key, _named(key)) for key in sorted(left)]))
    return out


def _known(key: str) -> bool:
    return any(key in metrics for _, metrics in GROUPS.values())


def _named(key: str) -> Metric:
    return Metric(visible(key.replace("_", " ")), "", "")
