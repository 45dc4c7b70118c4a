"""What TRL 1.16 computes and what is written here for it: the rows of docs/names.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VERSION = "1.16.0"


SAME, DIFFERS = True, False


@dataclass(frozen=True)
class Case:
    """A trainer of TRL with its settings, an expression of ours, whether they are one loss, and what lies between them."""

    trainer: str
    settings: dict[str, Any]
    expression: str
    same: bool
    why: str

    @property
    def spelling(self) -> str:
        """The settings as text."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())

    @property
    def key(self) -> tuple[str, str, str]:
        """What a row of losses.csv is found by."""
        return self.trainer, self.spelling, self.expression


def dpo(loss_type: str | list[str], expression: str, same: bool, why: str, **settings: Any) -> Case:
    """A row of TRL's DPOTrainer."""
    return Case("DPO", {"loss_type": loss_type, **settings}, expression, same, why)


PAIRS = [
    dpo("sigmoid", "dpo(beta=0.5)", SAME, "2305.18290, eq. 7.", beta=0.5),
    dpo(
        "sigmoid", "cdpo(beta=0.5, eps=0.3)", DIFFERS,
        "TRL reads label_smoothing for robust, exo_pair and aot only, and says nothing; the smoothed loss is "
        "(1 - eps) L(stored) + eps L(swapped).",
        beta=0.5, label_smoothing=0.3,
    ),
    dpo(
        "robust", "rdpo(beta=0.5, eps=0.1)", SAME, "2403.00409: the unbiased loss.", beta=0.5, label_smoothing=0.1
    ),
    dpo(
        "robust", "rdpo(beta=0.5, eps=0.6)", DIFFERS,
        "eps lies in [0, 1/2): beyond, the sign of the loss turns round. TRL logs a warning and trains.",
        beta=0.5, label_smoothing=0.6,
    ),
    dpo("hinge", "hinge(beta=0.5)", SAME, "2309.06657, eq. 10 (RSO's hinge-norm).", beta=0.5),
    dpo(
        "hinge", "slic(delta=1.0, lam=0.1)", DIFFERS,
        "SLiC-HF (2305.10425) reads no reference and adds a likelihood term; TRL's hinge is RSO's.",
        beta=1.0,
    ),
    dpo("ipo", "ipo(tau=0.5, per='token')", SAME, "TRL divides each log-ratio by its length; its beta is tau.", beta=0.5),
    dpo(
        "ipo", "ipo(tau=0.5)", DIFFERS,
        "2310.12036, eq. 17 has the whole completion; a comment in TRL says that its authors confirmed the mean.",
        beta=0.5,
    ),
    dpo(
        "exo_pair", "exo(beta=0.5, eps=0.01)", SAME, "2402.00856, eq. 16; both refuse eps = 0.",
        beta=0.5, label_smoothing=0.01,
    ),
    dpo("nca_pair", "nca(beta=0.5)", SAME, "2402.05369, the pairwise NCA loss.", beta=0.5),
    dpo("bco_pair", "bco_pair(beta=0.5, statistic='none')", SAME, "Without the reward shift, as TRL has it since 0.29.",
        beta=0.5),
    dpo(
        "bco_pair", "bco_pair(beta=0.5)", DIFFERS,
        "2404.04656 subtracts the mean reward delta from both rewards; TRL dropped it in 0.29 under the same name.",
        beta=0.5,
    ),
    dpo("sppo_hard", "sppo(beta=0.5)", SAME, "2405.00675, eq. 4.12 with P = 1 and 0.", beta=0.5),
    dpo("sppo_hard", "0.5*sppo(beta=0.5)", DIFFERS, "The authors' code halves the loss of 2405.00675; TRL does not.", beta=0.5),
    dpo("aot", "aot(beta=0.5)", SAME, "2406.05882, the paired objective.", beta=0.5),
    dpo("aot", "smooth(aot(beta=0.5), eps=0.2)", SAME, "2406.05882: one matching of quantiles for both orders.",
        beta=0.5, label_smoothing=0.2),
    dpo("aot_unpaired", "aot_unpaired(beta=0.5)", SAME, "2406.05882, the unpaired objective.", beta=0.5),
    dpo("aot_unpaired", "smooth(aot_unpaired(beta=0.5), eps=0.2)", SAME, "2406.05882, smoothed as above.",
        beta=0.5, label_smoothing=0.2),
    dpo("apo_zero", "apo_zero(beta=0.5)", SAME, "2408.06266, eq. 7, with the constant 1 that the paper leaves out.",
        beta=0.5),
    dpo("apo_down", "apo_down(beta=0.5)", SAME, "2408.06266, eq. 8, with the constant 1 that the paper leaves out.",
        beta=0.5),
    dpo("discopop", "discopop(beta=0.5, tau=0.1)", SAME, "2406.08414, the authors' code; TRL's discopop_tau is tau.",
        beta=0.5, discopop_tau=0.1),
    dpo("sigmoid_norm", "dpo_norm(beta=2.0)", SAME, "2411.15124: each log-ratio over its length.", beta=2.0),
    dpo("sft", "sft(per='batch_token')", SAME, "The mean over all chosen tokens of the step."),
    dpo("sft", "sft()", DIFFERS, "sft() is each row's mean over its tokens, then the mean over rows: every row counts alike."),
    dpo(["sigmoid", "sft"], "dpo(beta=0.5) + sft(per='batch_token')", SAME,
        "The likelihood term of 2404.19733 as TRL takes its mean; 1.16 has no field rpo_alpha.", beta=0.5),
    dpo(
        ["sigmoid", "sft"], "rpo_average(beta=0.5, c=0.2)", DIFFERS,
        "2405.16436 takes each row's mean over its tokens; TRL's sft is the mean over the step's tokens.",
        loss_weights=[1.0, 0.2], beta=0.5,
    ),
    dpo(
        ["sigmoid", "sft"], "rpo(beta=0.5, eta=0.2)", DIFFERS,
        "2405.16436's other form weighs the whole completion's likelihood with eta beta.",
        loss_weights=[1.0, 0.2], beta=0.5,
    ),
    dpo(
        ["sigmoid", "bco_pair", "sft"],
        "0.8*dpo(beta=0.5) + 0.2*bco_pair(beta=0.5, statistic='none') + sft(per='batch_token')", SAME,
        "A weighted mix (MPO); each part keeps its own mean.",
        loss_weights=[0.8, 0.2, 1.0], beta=0.5,
    ),
    dpo("sigmoid", "f_dpo(beta=0.5, divergence='forward_kl')", SAME, "2309.16240: f'(u) = 1 - 1/u.",
        beta=0.5, f_divergence_type="forward_kl"),
    dpo("sigmoid", "f_dpo(beta=0.5, divergence='js')", SAME, "2309.16240: f'(u) = log(2 u / (1 + u)).",
        beta=0.5, f_divergence_type="js_divergence"),
    dpo("sigmoid", "f_dpo(beta=0.5, divergence='alpha', alpha=0.5)", SAME, "The two alphas agree at 1/2 alone.",
        beta=0.5, f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.5),
    dpo("sigmoid", "f_dpo(beta=0.5, divergence='alpha', alpha=0.7)", SAME, "TRL's coefficient is 1 - alpha.",
        beta=0.5, f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.3),
    dpo(
        "sigmoid", "f_dpo(beta=0.5, divergence='alpha', alpha=0.3)", DIFFERS,
        "The same number in both: 2309.16240 has f'(u) = (1 - u^-alpha) / alpha, TRL (u^(c - 1) - 1) / (c - 1).",
        beta=0.5, f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.3,
    ),
    dpo("robust", "unbiased(f_dpo(beta=0.5, divergence='js'), eps=0.1)", SAME, "2403.00409 over 2309.16240.",
        beta=0.5, label_smoothing=0.1, f_divergence_type="js_divergence"),
    dpo("sigmoid", "ld_dpo(beta=0.5, alpha=0.5)", SAME, "2409.06411; TRL weighs the tail of policy and reference.",
        beta=0.5, ld_alpha=0.5),
    dpo(
        "sigmoid", "ld_dpo(beta=0.5, alpha=0.5, reference='whole')", DIFFERS,
        "The whole reference, as in LLaMA-Factory's source; which of the two 2409.06411 means is not known.",
        beta=0.5, ld_alpha=0.5,
    ),
    dpo("sigmoid", "policy_weighted(dpo(beta=0.5), clamp=False)", SAME, "2406.11827, eq. 2, without the cut at 1.",
        beta=0.5, use_weighting=True),
    dpo("sigmoid", "wpo(beta=0.5)", DIFFERS, "2406.11827's authors cut the weight at 1; TRL does not.",
        beta=0.5, use_weighting=True),
    dpo("ipo", "policy_weighted(ipo(tau=0.5, per='token'), clamp=False)", SAME, "The weight on another loss.",
        beta=0.5, use_weighting=True),
]  # fmt: skip

LABELLED = [
    Case("KTO", {"loss_type": "kto", "beta": 0.5}, "kto(beta=0.5, z='mismatched')", SAME,
         "2402.01306: z0 is the mean log-ratio of completions put to another prompt, not below 0."),
    Case("KTO", {"loss_type": "kto", "beta": 0.5}, "kto(beta=0.5)", DIFFERS,
         "By default z0 is the mean over the step's own completions, at no further pass; 2402.01306 has mismatched ones."),
    Case("KTO", {"loss_type": "kto", "beta": 0.5, "desirable_weight": 1.5, "undesirable_weight": 0.5},
         "kto(beta=0.5, lam_d=1.5, lam_u=0.5, z='mismatched')", SAME,
         "2402.01306's lambda_D and lambda_U."),
    Case("KTO", {"loss_type": "apo_zero_unpaired", "beta": 0.5}, "apo_zero_unpaired(beta=0.5)", SAME,
         "2408.06266, eq. 7, one side a row."),
]  # fmt: skip

FREE = [
    Case("CPO", {"loss_type": "sigmoid", "beta": 0.1}, "cpo(beta=0.1, alpha=0.0) + sft(per='batch_token')", SAME,
         "TRL's likelihood term (cpo_alpha=1) is the mean over the chosen tokens of the step."),
    Case("CPO", {"loss_type": "sigmoid", "beta": 0.1}, "cpo(beta=0.1)", DIFFERS,
         "2401.08417, eq. 5 has the likelihood of the whole completion, a sum over its tokens."),
    Case("CPO", {"loss_type": "sigmoid", "beta": 0.1}, "cpo(beta=0.1, nll='token')", DIFFERS,
         "nll='token' is each row's own mean over tokens; TRL's is the mean over the step's tokens."),
    Case("CPO", {"loss_type": "sigmoid", "beta": 0.1, "label_smoothing": 0.2, "cpo_alpha": 0.0},
         "smooth(cpo(beta=0.1, alpha=0.0), eps=0.2)", SAME, "Here TRL does read label_smoothing."),
    Case("CPO", {"loss_type": "hinge", "beta": 0.1, "cpo_alpha": 0.0}, "0.1*slic(delta=10.0, lam=0.0)", SAME,
         "max(0, 1 - beta d) = beta max(0, 1/beta - d): SLiC-HF (2305.10425) times beta, delta = 1/beta."),
    Case("CPO", {"loss_type": "ipo", "beta": 0.5, "cpo_alpha": 0.0}, "ipo(tau=0.5, per='token')", DIFFERS,
         "2310.12036, eq. 17 has log-ratios; TRL's CPO has no reference, and no expression here leaves it out."),
    Case("CPO", {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 0.5, "cpo_alpha": 0.0},
         "simpo(beta=2.0, gamma=0.5)", SAME, "2405.14734, eq. 6; simpo_gamma is gamma."),
    Case("CPO", {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 0.5}, "simpo(beta=2.0, gamma=0.5)", DIFFERS,
         "TRL's default cpo_alpha=1 adds a likelihood term that 2405.14734 does not have."),
    Case("CPO", {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 0.5},
         "simpo(beta=2.0, gamma=0.5) + sft(per='batch_token')", SAME, "The same with the term written out."),
    Case("CPO", {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 0.5, "cpo_alpha": 0.0},
         "simpo(beta=2.0, gamma=1.0)", DIFFERS,
         "The authors' code has the ratio gamma / beta: its 0.5 at beta 2 is gamma = 1."),
    Case("CPO", {"loss_type": "alphapo", "beta": 2.5, "alpha": 0.25, "simpo_gamma": 0.1},
         "alphapo(beta=2.5, alpha=0.25, gamma=0.1)", SAME, "2501.03884; this name sets cpo_alpha to 0."),
    Case("CPO", {"loss_type": "alphapo", "beta": 2.5, "alpha": -0.25, "simpo_gamma": 0.1},
         "alphapo(beta=2.5, alpha=-0.25, gamma=0.1)", SAME, "The sign of alpha is the same in both."),
    Case("CPO", {"loss_type": "sigmoid", "beta": 2.5, "alpha": 0.25, "cpo_alpha": 0.0},
         "alphapo(beta=2.5, alpha=0.25, gamma=0.0)", DIFFERS,
         "With loss_type sigmoid or hinge alpha acts on whole completions, without the length normalisation of 2501.03884."),
    Case("ORPO", {"beta": 0.5}, "orpo(lam=0.5)", DIFFERS,
         "2403.07691, eq. 6 has the likelihood of the completion; TRL's counts the prompt's tokens too and is a mean "
         "over the step's tokens. Its beta is lambda."),
    Case("TPO", {"loss_type": "sigmoid", "beta": 0.1, "tpo_alpha": 0.0}, "cpo(beta=0.1, alpha=0.0)", SAME,
         "TPO without its gold answer is CPO without its likelihood term (2401.08417)."),
    Case("TPO", {"loss_type": "tpo-l", "beta": 2.0, "tpo_l_gamma": 0.5, "tpo_alpha": 0.0},
         "simpo(beta=2.0, gamma=0.5)", SAME, "TPO-L without its gold answer is SimPO (2405.14734, eq. 6)."),
]  # fmt: skip

CASES = PAIRS + LABELLED + FREE
