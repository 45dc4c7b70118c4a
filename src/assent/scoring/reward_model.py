"""How a checkpoint becomes a reward model: a causal one gets a fresh head, a reward model keeps its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from assent.errors import AssentError
from assent.scoring.reward import pad_of

ENDING = "ForSequenceClassification"
HEADS = ("score", "classifier")
"""Names of the module that gives the score, as transformers and PEFT know them."""


def has_head(config: Any, name: str = "") -> bool:
    """Whether this is the configuration of a trained classifier; name: the model's class, where it is in memory."""
    names = [name] if name else getattr(config, "architectures", None) or ()
    return any(name.endswith(ENDING) for name in names)


def wanted(config: Any, source: str, reward: bool, name: str = "") -> bool:
    """Whether a fresh head is needed; name: as for ``has_head``.

    Raises AssentError for a classifier with several outputs, and for any where a policy is to be trained.
    """
    headed = has_head(config, name)
    if headed and not reward:
        raise AssentError(
            f"{source} is a reward model, which gives no log-probabilities; give a causal language model, or train it with "
            "bradley_terry()"
        )
    if headed and config.num_labels != 1:
        raise AssentError(
            f"{source} is a classifier with {config.num_labels} outputs; expected a reward model (one output) or a causal "
            "language model"
        )
    return reward and not headed


def not_of_head(names: Iterable[str]) -> list[str]:
    """The weights among these that are not the head's."""
    return [name for name in names if name.split(".")[0] not in HEADS]


def from_causal(model: nn.Module) -> nn.Module:
    """A reward model of a causal language model in memory: its body copied, under a fresh head."""
    import copy

    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(model.config)
    config.num_labels = 1
    try:
        made = AutoModelForSequenceClassification.from_config(config, dtype=model.dtype)
    except ValueError as error:
        name = type(model).__name__
        raise AssentError(f"transformers knows no reward model of the kind of {name}; give a causal model") from error
    made.base_model.load_state_dict(model.base_model.state_dict())
    made.name_or_path = model.name_or_path
    return made.to(model.device)


def fresh_note(model: nn.Module) -> str:
    """What to say of a head that was drawn."""
    head = next(getattr(model, name) for name in HEADS if hasattr(model, name))
    return (
        f"the reward head is fresh: {sum(p.numel() for p in head.parameters()):,} random weights on the model's states"
    )


def settle_padding(model: nn.Module, tokenizer: Any, fresh: bool) -> tuple[int, list[str]]:
    """The padding token, set in the model's configuration, and what to say of it.

    A trained head keeps the one that it was trained with; a fresh one takes the tokenizer's.
    """
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    own, notes = pad_of(model.config), []
    if fresh or own is None or own < 0:
        config.pad_token_id = own = tokenizer.pad_token_id
    if own != tokenizer.pad_token_id:
        notes.append(
            f"the reward model pads with token {own} and the tokenizer with {tokenizer.pad_token_id}: scores of batches "
            "that the tokenizer padded are read at the wrong place"
        )
    if own == tokenizer.eos_token_id:
        notes.append(
            "padding and EOS are one token: the score is read at the token before the EOS, as transformers does"
        )
    return own, notes
