"""A judge from the words of a command line, or from whatever Python was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assent.errors import AssentError
from assent.judges.causal import causal_judge
from assent.judges.endpoint import EndpointJudge
from assent.judges.judge import Judge
from assent.judges.scalar import ScalarJudge, reward_model

FORMS = (
    "'reward:DIR_OR_HUB_ID' (a sequence-classification model), 'model:DIR_OR_HUB_ID' (a causal language model) or "
    "'endpoint:MODEL@BASE_URL' (OpenAI-compatible)"
)


def judge_of(given: Any, *, cache: Path | None = None, device: Any = None) -> Judge:
    """A judge from a Judge, a function (prompts, completions) -> scores, or a text such as "reward:DIR".

    cache: where an endpoint's answers are kept.  Raises AssentError for anything else.
    """
    if isinstance(given, Judge):
        return given
    if callable(given):
        return ScalarJudge(given, getattr(given, "__name__", "function"))
    kind, _, rest = str(given).partition(":")
    if kind == "reward" and rest:
        return reward_model(rest, device=device)
    if kind == "model" and rest:
        return causal_judge(rest, device=device)
    if kind == "endpoint" and rest:
        model, at, url = rest.partition("@")
        return EndpointJudge(model, base_url=url if at else None, cache=cache)
    raise AssentError(
        f"judge is {given!r}; expected {FORMS}, or in Python a Judge or a function of prompts and completions"
    )
