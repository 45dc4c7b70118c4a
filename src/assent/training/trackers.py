"""Trackers (TensorBoard, W&B, MLflow and others) through transformers' callbacks: the run's own facts, names and alarms."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from transformers import TrainerCallback

from assent._version import __version__
from assent.errors import AssentError
from assent.training.ranks import first_rank

HINTS = {
    "wandb": "run wandb login, or set WANDB_MODE=offline to keep the run on this disk",
    "mlflow": "set MLFLOW_TRACKING_URI to a server, or to a store that this installation of mlflow can open",
}
"""What to do where a tracker is installed and cannot start."""
_MOST = 50  # entries of a setting that is written out
_LONGEST = 250  # characters of a metric's name in MLflow


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are not installed, or that have no place to write to. Raises AssentError."""
    from transformers.integrations import get_available_reporting_integrations

    here = get_available_reporting_integrations() if names else []
    for name in names:
        if name not in here:
            known = ", ".join(sorted(here)) or "none"
            raise AssentError(
                f"report_to names {name!r}; trackers installed here: {known}; install it or choose another"
            )
        if name in _OPENERS and first_rank():  # W&B may ask for a key here, before anything is loaded
            try:
                _OPENERS[name]()
            except Exception as error:
                raise _cannot(name, error) from None


def _open_wandb() -> None:
    import wandb

    mode = wandb.setup().settings.mode
    if wandb.run is None and mode not in ("offline", "disabled", "dryrun"):
        _login(os.environ.get("WANDB_API_KEY"))


@cache
def _login(key: str | None) -> None:
    """Once a process: W&B asks its server."""
    import wandb

    wandb.login(key=key)


def _open_mlflow() -> None:
    import mlflow

    mlflow.MlflowClient()


_OPENERS: dict[str, Callable[[], None]] = {"wandb": _open_wandb, "mlflow": _open_mlflow}


def _cannot(name: str, error: Exception) -> AssentError:
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    said = said if len(said) <= 240 else said[:240].rpartition(" ")[0] + " ..."
    return AssentError(f"report_to names {name!r}, which cannot start ({said}); {HINTS.get(name, 'set it up first')}")


def add_trackers(trainer: Any, alarms: Any, facts: Mapping[str, Any]) -> None:
    """Put the run's trackers last among the callbacks, each with the run's facts in its configuration.

    alarms: has ``fired``, the alarms so far.  facts: what the run was asked for, beside transformers' arguments.
    """
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    names = {kind: name for name, kind in INTEGRATION_TO_CALLBACK.items()}
    handler = trainer.callback_handler
    told = configuration(facts)
    for callback in [c for c in handler.callbacks if type(c) in names]:
        handler.callbacks.remove(callback)
        handler.callbacks.append(Tracker(callback, names[type(callback)], alarms, told))


def configuration(facts: Mapping[str, Any]) -> dict[str, Any]:
    """``assent/NAME`` -> value, for trackers; what JSON does not know is shown by its type, and None is left out."""
    plain = {k: v if isinstance(v, str | int | float | bool) else _word(v) for k, v in facts.items() if v is not None}
    return {f"assent/{name}": value for name, value in {"version": __version__, **plain}.items()}


def _word(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        if len(value) > _MOST:  # rows in memory
            return f"{type(value).__name__} of {len(value)}"
        return json.dumps(value, default=lambda inner: type(inner).__name__)
    return str(value) if type(value).__str__ is not object.__str__ else type(value).__name__


class Tracker(TrainerCallback):
    """transformers' callback of a tracker, which hears of the run's facts once and of each alarm at its step.

    The names of metrics stay those of the log; MLflow's, which forbids some characters, are written so that no two meet.
    """

    def __init__(self, inner: Any, name: str, alarms: Any, facts: Mapping[str, Any]) -> None:
        self.inner, self.name, self.alarms, self.facts = inner, name, alarms, facts
        self.told, self.opened = 0, False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.told = len(self.alarms.fired)  # those of a run that is resumed were told then
        self.opened = self.name == "wandb" and self.inner._wandb.run is None
        try:
            self.inner.on_train_begin(_Arguments(args, self.facts), state, control, **kwargs)
        except Exception as error:
            raise _cannot(self.name, error) from None

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        logs = {**(logs or {}), **self._alarms()}
        if self.name == "mlflow":
            logs = {mlflow_name(name): value for name, value in logs.items()}
        self.inner.on_log(args, state, control, logs=logs, **kwargs)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.inner.on_save(args, state, control, **kwargs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.alarms.fired[self.told :]:
            self.on_log(args, state, control, logs={}, **kwargs)
        self.inner.on_train_end(args, state, control, **kwargs)
        # The next run of this process is another one; MLflow's callback ends its own.
        if self.opened and self.inner._wandb.run is not None:
            self.inner._wandb.finish()

    def _alarms(self) -> dict[str, float]:
        new = self.alarms.fired[self.told :]
        self.told += len(new)
        return {f"alarms/{alarm.name}": 1.0 for alarm in new}


class _Arguments:
    """Training arguments whose dict and JSON carry the run's facts as well."""

    def __init__(self, args: Any, facts: Mapping[str, Any]) -> None:
        self._args, self._facts = args, facts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._args, name)

    def to_dict(self) -> dict[str, Any]:
        return {**self._args.to_dict(), **self._facts}

    def to_json_string(self) -> str:
        return json.dumps(self.to_dict(), indent=2)


def mlflow_name(name: str) -> str:
    """The name of a metric as MLflow allows it; its callback would write "анна" and "иван" both as "____".

    >>> mlflow_name("lcpo/reliability/a@b"), mlflow_name("lcpo/reliability/../x")
    ('lcpo/reliability/a_x40b', 'lcpo/reliability/_x2e_x2e/x')
    """

    def spelled(found: re.Match[str]) -> str:
        return "".join(f"_x{byte:02x}" for byte in found[0].encode("utf-8", "surrogatepass"))

    name = re.sub(r"[^0-9A-Za-z_\-. :/]", spelled, name)
    parts = [re.sub(r"\.", spelled, part) if part in (".", "..") else part or "_x" for part in name.split("/")]
    name = "/".join(parts)
    return (
        name if len(name) <= _LONGEST else f"{name[: _LONGEST - 17]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    )
