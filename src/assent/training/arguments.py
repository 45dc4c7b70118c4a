"""A run's arguments: Assent's own, and every training argument of transformers with defaults that suit preferences."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assent.errors import AssentError, did_you_mean
from assent.training.look_settings import LookSettings, check_looks
from assent.training.source_settings import SourceSettings, check_source

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from assent.objectives import Objective


def _arg(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class Settings(LookSettings, SourceSettings):
    """Assent's own arguments; all others belong to ``transformers.TrainingArguments``."""

    model: Any = _arg(None, "policy to train: a directory or hub id of a causal language model")
    data: Any = _arg(None, "preferences: a file (.jsonl .json .csv .parquet, .gz), a datasets directory or a hub id")
    objective: Any = _arg(None, "what to minimise, such as 'lcpo(dpo(beta=0.1))' or 'simpo() + 0.1*sft()'")
    eval_data: Any = _arg(None, "held-out preferences to evaluate on")
    eval_fraction: float | None = _arg(None, "share of prompts held out of --data for evaluation, such as 0.1")
    columns: list[str] | None = _arg(None, "names of data columns, as old=new; may be repeated")
    bad_rows: str = _arg("fail", "what to do with malformed rows: fail, or skip (counted, written to bad_rows.jsonl)")
    allow_loss: bool = _arg(False, "go on although more than 5 % of the rows are lost")
    pairing: str | None = _arg(
        None, "make pairs of groups: best_worst, ranked (all of different scores), success_length, success_length_hard"
    )
    max_length: int = _arg(1024, "longest prompt with completion in tokens; longer prompts are cut, counted and shown")
    max_tokens_per_batch: int | None = _arg(None, "cut a step into micro-batches of so many tokens, not into rows")
    scoring: str = _arg("trees", "how rows are scored: trees (each prompt once, packed) or padded")
    reference: str | None = _arg(None, "the fixed model: a path or hub id, or 'start' for the policy as it starts")
    reference_logp: str | None = _arg(
        None, "the reference's log-probabilities: cached on disk (the default), once in memory, or live in every step"
    )
    cache_dir: str | None = _arg(None, "directory of the reference cache; $ASSENT_CACHE or ~/.cache/assent/reference")
    guide: str | None = _arg(None, "a second model whose token log-probabilities are the token column 'guide'")
    token_columns: Any = _arg(
        None, "Python only: {name: function of a token sequence} for objectives that read token columns"
    )
    update: str = _arg(
        "sum",
        "how gradients become a step: sum; normalised_pair (each side's gradient at length 1); extragradient (source online: a "
        "half step, fresh samples, the step)",
    )
    head_learning_rate: float | None = _arg(
        None, "learning rate of trainable masks and heads; the policy's unless given"
    )
    head_weight_decay: float | None = _arg(None, "weight decay of trainable masks and heads; 0.01 unless given")
    tokenizer: Any = _arg(None, "tokenizer, where it does not lie with the model")
    chat_template: str | None = _arg(None, "file with a chat template, where the tokenizer has none")
    dtype: str | None = _arg(
        None, "number format of the weights; float32 when all are trained, the model's own under LoRA"
    )
    attn_implementation: str | None = _arg(None, "attention kernel, as transformers names it: sdpa, eager, ...")
    trust_remote_code: bool = _arg(False, "run code that a hub repository brings along")
    load_in_4bit: bool = _arg(False, "hold the frozen weights in 4 bits (needs LoRA and assent[quantized])")
    lora_r: int | None = _arg(None, "train a LoRA adapter of this rank and leave the weights alone")
    lora_alpha: float | None = _arg(None, "scale of the adapter; twice the rank unless given")
    lora_dropout: float | None = _arg(None, "dropout on the adapter's input; 0 unless given")
    lora_target_modules: list[str] | None = _arg(None, "modules that get an adapter; all linear ones unless given")
    adapter: str | None = _arg(None, "continue training this adapter; its start is the reference")
    merge: bool = _arg(False, "merge the adapter into the weights at the end and save the whole model")
    crossfit_scorer: Any = _arg(None, "where cross-fitting takes its margins: policy (two folds, the default) or text")
    resume: bool = _arg(False, "continue the run in the output directory from its last complete checkpoint")


DEFAULTS: dict[str, Any] = {
    "num_train_epochs": 1.0,
    "logging_steps": 10,
    "logging_first_step": True,
    "logging_nan_inf_filter": False,
    "save_strategy": "epoch",
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "report_to": "none",
    "remove_unused_columns": False,
    "dataloader_pin_memory": False,
    "label_names": [],
    "disable_tqdm": False,
    "seed": 0,
}
"""Where a run's defaults differ from those of transformers.  ``warmup_steps`` below 1 is a share of all steps."""

LEARNING_RATES = {
    ("preference", False): 1e-6, ("preference", True): 1e-5, ("sft", False): 2e-5, ("sft", True): 2e-4,
    ("reward", False): 1e-5, ("reward", True): 1e-4,
}  # fmt: skip
"""(kind of objective, LoRA) -> learning rate where none is given."""

NOT_READ: dict[str, str] = {
    "label_smoothing_factor": "smooth the preferences with smooth(OBJECTIVE, eps) instead",
    "average_tokens_across_devices": "every term is already divided by the count of the whole step over all ranks",
    "include_for_metrics": "metrics are computed from the scores",
    "batch_eval_metrics": "metrics are computed from the scores",
    "prediction_loss_only": "metrics are computed from the scores",
    "eval_accumulation_steps": "evaluation keeps scores, not predictions",
    "eval_do_concat_batches": "evaluation keeps scores, not predictions",
    "eval_use_gather_object": "evaluation keeps scores, not predictions",
    "include_num_input_tokens_seen": "rows are padded inside the scorer",
    "length_column_name": "rows are not grouped by length",
    "label_names": "the rows' labels are the annotators' judgements",
    "remove_unused_columns": "rows are not columns of tensors",
    "logging_nan_inf_filter": "a loss that is not finite stops the run",
    "do_train": "train always trains",
    "do_eval": "give --eval-data or --eval-fraction",
    "do_predict": "train does not predict",
    "ignore_data_skip": "a resumed run always continues at the right row",
    "resume_from_checkpoint": "write --resume; the last complete checkpoint of the output directory is taken",
    "accelerator_config": "the rows of a step are dealt out by the trainer itself",
    "enable_jit_checkpoint": "a signal already saves a checkpoint",
    "parallelism_config": "rows are only split over ranks",
    "local_rank": "the launcher sets it",
}
"""Arguments of transformers that this trainer would not read, and what to do instead."""


def training_fields() -> dict[str, Any]:
    """The fields of transformers.TrainingArguments by name."""
    from transformers import TrainingArguments

    return {f.name: f for f in fields(TrainingArguments) if f.init}


def setting_fields() -> dict[str, Any]:
    """The fields of Settings by name."""
    return {f.name: f for f in fields(Settings)}


def check_names(names: Sequence[str], where: str = "train") -> None:
    """Refuse names that nothing reads, with the nearest known ones."""
    known = {*setting_fields(), *training_fields()} - NOT_READ.keys()
    for name in names:
        if name in NOT_READ:
            raise AssentError(f"{where} does not read {name!r}: {NOT_READ[name]}")
        if name not in known:
            raise AssentError(f"{where} has no argument {name!r}; {did_you_mean(name, known)}")


def read_config(path: str) -> dict[str, Any]:
    """The arguments in a YAML file, by name with underscores."""
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise AssentError(f"the configuration {path!r} cannot be read ({error.strerror}); give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = f" at line {error.problem_mark.line + 1}" if getattr(error, "problem_mark", None) else ""
        raise AssentError(f"the configuration {path!r} is not YAML{line}; write one 'name: value' a line") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(k, str) for k in content):
        raise AssentError(f"the configuration {path!r} holds a {type(content).__name__}; expected 'name: value' lines")
    content = {name.replace("-", "_"): value for name, value in content.items()}
    check_names(list(content), f"the configuration {path!r}")
    return coerce(content)


def read_options(words: Sequence[str]) -> dict[str, Any]:
    """``--name value``, ``--name=value`` and bare ``--flag`` words as a dict; a repeated name gives a list."""
    found: dict[str, list[str]] = {}
    name = None
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found.setdefault(name, [])
            if value or "=" in word:
                found[name].append(value)
        elif name is None:
            raise AssentError(f"train got {word!r} without a name; write --name {word}")
        else:
            found[name].append(word)
    check_names(list(found))
    return coerce({k: True if not v else v[0] if len(v) == 1 else v for k, v in found.items()})


def coerce(values: Mapping[str, Any]) -> dict[str, Any]:
    """Texts turned into the type of their field; a value that does not fit is refused by name."""
    from transformers import HfArgumentParser, TrainingArguments

    class Parser(HfArgumentParser):
        def error(self, message: str) -> Any:
            told = re.sub(r"^argument (--[a-z0-9_]+)[^:]*", r"\1", message)
            raise AssentError(f"train: {told}")

    parser = Parser([Settings, TrainingArguments], add_help=False, allow_abbrev=False)
    as_they_are = {name for name, f in setting_fields().items() if f.type in ("Any", Any)} | {"output_dir"}
    out = {}
    for name, value in values.items():
        if value is None or name in as_they_are:
            out[name] = value
            continue
        words = [_word(v) for v in (value if isinstance(value, list) else [value])]
        words = [f"--{name}={words[0]}"] if len(words) == 1 else [f"--{name}", *words]
        out[name] = getattr(parser.parse_args(words), name)
    return out


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, dict) else str(value)


def resolve(arguments: Mapping[str, Any], objective: Objective, output_dir: str) -> tuple[Settings, TrainingArguments]:
    """Settings and training arguments with all defaults filled in; refuses what would not be read."""
    from transformers import TrainingArguments

    check_names(list(arguments))
    own = {k: v for k, v in arguments.items() if k in setting_fields()}
    settings = Settings(**own)
    given = {k: v for k, v in arguments.items() if k not in own and k != "output_dir"}
    if "per_device_eval_batch_size" not in given and "per_device_train_batch_size" in given:
        given["per_device_eval_batch_size"] = given["per_device_train_batch_size"]
    values = {**DEFAULTS, "learning_rate": default_rate(objective, settings), **_evaluation(settings, given), **given}
    for kind in ("save", "eval"):  # a number of steps says that steps are meant
        if f"{kind}_steps" in given:
            values[f"{kind}_strategy"] = given.get(f"{kind}_strategy", "steps")
    if "bf16" not in given and "fp16" not in given:
        values["bf16"] = _bf16(given)
    try:
        training = TrainingArguments(output_dir=str(output_dir), **values)
        _ = training.device  # the process group starts here, where there are several ranks
    except (ValueError, TypeError, ImportError) as error:
        raise AssentError(f"train: {' '.join(str(error).split())}") from None
    if training.deepspeed:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()  # else models load as shards, whose sizes nothing can be checked against
    _check_sense(settings, training, objective)
    for name in ("max_tokens_per_batch", "update", "head_learning_rate", "head_weight_decay"):
        setattr(training, name, getattr(settings, name))  # the trainer reads them beside its own
    return settings, training


def _bf16(given: Mapping[str, Any]) -> bool:
    """Mixed precision where the accelerator has bfloat16: weights stay float32, matrix products do not."""
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported() and not given.get("use_cpu"))


def _evaluation(settings: Settings, given: Mapping[str, Any]) -> dict[str, Any]:
    held_out = settings.eval_data is not None or settings.eval_fraction is not None
    never = ("no", "IntervalStrategy.NO")
    asked = next((n for n in ("eval_steps", "eval_strategy") if str(given.get(n, "no")) not in never), "")
    if asked and not held_out:
        raise AssentError(f"{asked} is set and there is nothing to evaluate on; give --eval-data or --eval-fraction")
    return {"eval_strategy": "epoch"} if held_out else {}


def default_rate(objective: Objective, settings: Settings) -> float:
    """The learning rate where none is given: by kind of objective, and by whether an adapter is trained."""
    kind = "sft" if objective.data == "completions" else "preference"
    if any(need.kind == "reward" for need in objective.needs):
        kind = "reward"
    return LEARNING_RATES[kind, settings.lora_r is not None or settings.adapter is not None]


def _check_sense(settings: Settings, training: TrainingArguments, objective: Objective) -> None:
    """Refuse options that the objective or the other options leave unread, and values out of range."""
    lora = settings.lora_r is not None
    adapted = lora or settings.adapter is not None
    order = getattr(training, "train_sampling_strategy", "random")
    wrong = [
        (
            settings.eval_data is not None and settings.eval_fraction is not None,
            "eval_data and eval_fraction are both given; give one of them",
        ),
        (
            settings.eval_fraction is not None and not 0 < settings.eval_fraction < 1,
            f"eval_fraction is {settings.eval_fraction}; expected a share between 0 and 1",
        ),
        (settings.max_length < 2, f"max_length is {settings.max_length}; expected at least 2 tokens"),
        (
            settings.max_tokens_per_batch is not None and settings.max_tokens_per_batch < 1,
            f"max_tokens_per_batch is {settings.max_tokens_per_batch}; expected at least 1 token",
        ),
        (
            settings.max_tokens_per_batch is not None and training.auto_find_batch_size,
            "auto_find_batch_size looks for a number of rows and max_tokens_per_batch sets a number of tokens; give one",
        ),
        (settings.scoring not in ("trees", "padded"), f"scoring is {settings.scoring!r}; expected 'trees' or 'padded'"),
        (settings.bad_rows not in ("fail", "skip"), f"bad_rows is {settings.bad_rows!r}; expected 'fail' or 'skip'"),
        (
            lora and settings.adapter is not None,
            "lora_r makes a new adapter and adapter continues one; give one of them",
        ),
        (lora and settings.lora_r < 1, f"lora_r is {settings.lora_r}; expected a rank of at least 1"),
        (settings.merge and settings.load_in_4bit, "an adapter cannot be merged into 4-bit weights; leave out merge"),
        (settings.load_in_4bit and not adapted, "4-bit weights cannot be trained; add lora_r or adapter"),
        (
            bool(training.deepspeed) and training.gradient_accumulation_steps > 1,
            "deepspeed is given gradient_accumulation_steps above 1, which its engine counts as steps of its own; set it to 1 "
            "and cut the step with max_tokens_per_batch",
        ),
        (
            order not in ("random", "sequential"),
            f"train_sampling_strategy is {order!r}; expected 'random' or 'sequential'",
        ),
    ]
    for name in ("lora_alpha", "lora_dropout", "lora_target_modules"):
        wrong.append((getattr(settings, name) is not None and not lora, f"{name} is read only with lora_r; add lora_r"))
    for bad, sentence in wrong:
        if bad:
            raise AssentError(sentence)
    check_source(settings)
    check_looks(settings, any(need.kind == "reward" for need in objective.needs))
    _check_numbers(training)
    _check_objective(settings, objective)


def _check_numbers(training: TrainingArguments) -> None:
    """Refuse numbers of transformers' own arguments that would train nothing or stop late, and trackers that cannot start."""
    from assent.training.trackers import check_trackers

    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        if getattr(training, name) < 1:
            raise AssentError(f"{name} is {getattr(training, name)}; expected at least 1")
    for name in ("learning_rate", "weight_decay"):
        if not 0 <= getattr(training, name) < float("inf"):
            raise AssentError(f"{name} is {getattr(training, name)}; expected a finite number of at least 0")
    if training.max_steps < 1 and not 0 < training.num_train_epochs < float("inf"):
        raise AssentError(f"num_train_epochs is {training.num_train_epochs}; expected more than 0, or give max_steps")
    check_trackers(training.report_to or ())


def _check_objective(settings: Settings, objective: Objective) -> None:
    """Refuse options that this objective does not read."""
    from assent.training.reward_run import check_reward

    check_reward(objective, settings.source)
    referenced = any(need.kind == "reference" for need in objective.needs)
    for name in ("reference", "reference_logp", "cache_dir"):
        if getattr(settings, name) is not None and not referenced:
            raise AssentError(
                f"{name} is {getattr(settings, name)!r} and {objective!s} reads no reference; leave the option out"
            )
    if settings.reference_logp not in (None, "cached", "memory", "live"):
        raise AssentError(f"reference_logp is {settings.reference_logp!r}; expected 'cached', 'memory' or 'live'")
    if settings.cache_dir is not None and settings.reference_logp not in (None, "cached"):
        raise AssentError(f"cache_dir is not read with reference_logp={settings.reference_logp!r}; give one of them")
    fitted = any(getattr(part, "reliability", None) == "crossfit" for part in objective.walk())
    if settings.crossfit_scorer is not None and not fitted:
        raise AssentError(
            f"crossfit_scorer is {settings.crossfit_scorer!r} and {objective!s} is not cross-fitted; "
            "write lcpo(..., reliability='crossfit') or leave the option out"
        )
    _check_extensions(settings, objective)
    if settings.crossfit_scorer not in (None, "policy", "text") and not callable(settings.crossfit_scorer):
        raise AssentError(f"crossfit_scorer is {settings.crossfit_scorer!r}; expected 'policy' or 'text'")


def _check_extensions(settings: Settings, objective: Objective) -> None:
    """Refuse what token columns, heads and updates are given where nothing reads them."""
    read = {need.name for need in objective.needs if need.kind == "token_column"}
    headed = any(need.kind in ("mask", "head") for need in objective.needs)
    functions = settings.token_columns if settings.token_columns is not None else {}
    if not isinstance(functions, Mapping) or not all(callable(function) for function in functions.values()):
        raise AssentError(f"token_columns is {functions!r}; expected {{name: function of a token sequence}}")
    given = [*(["guide"] if settings.guide is not None else []), *functions]
    for name in given:
        if name not in read:
            known = ", ".join(sorted(read)) or "none"
            raise AssentError(
                f"token column {name!r} is given and {objective!s} reads none of that name (it reads: {known})"
            )
    if settings.guide is not None and "guide" in functions:
        raise AssentError("guide and token_columns both give the token column 'guide'; give one of them")
    for name in ("head_learning_rate", "head_weight_decay"):
        value = getattr(settings, name)
        if value is not None and not headed:
            raise AssentError(f"{name} is {value} and {objective!s} trains no mask or head; leave the option out")
        if value is not None and not 0 <= value < float("inf"):
            raise AssentError(f"{name} is {value}; expected a finite number of at least 0")
    if settings.update not in ("sum", "normalised_pair", "extragradient"):
        known = "'sum' or 'normalised_pair', or 'extragradient' with source 'online'"
        raise AssentError(f"update is {settings.update!r}; expected {known}")
    others = sorted(str(need) for need in objective.needs if need.kind in ("mask", "head", "view"))
    if settings.update == "normalised_pair" and (objective.data != "pairs" or others):
        what = f"reads {others[0]}" if others else f"reads {objective.data} rows"
        raise AssentError(
            f"update='normalised_pair' needs a chosen and a rejected side alone, and {objective!s} {what}"
        )
