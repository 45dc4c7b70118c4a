"""The stage after a round: the judge compares the round's policy with the run's start, on prompts of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from assent.data.aside import write_aside
from assent.data.prompts import Prompts, read_prompts
from assent.data.splitting import prompt_key
from assent.errors import AssentError
from assent.judges import Judge, ask
from assent.judges.win_rates import WinRate, summarise
from assent.records import Content
from assent.sampling import ModelGenerator, SamplingSettings, Texts
from assent.training.arguments import Settings
from assent.training.collect import digest, folder_of, same, sampling_of
from assent.training.policy import load
from assent.training.progress import counting, say
from assent.training.ranks import first_rank, on_first_rank

FILE, START = "win_rate.json", "start_completions.json"


def completions(
    model: nn.Module, tokenizer: Any, prompts: Prompts, samples: int, sampling: SamplingSettings,
    max_length: int | None = None, what: str = "sampling",
) -> tuple[list[list[Content]], int]:  # fmt: skip
    """``samples`` completions of each prompt, whose last ``max_length`` tokens are read, and how many were cut."""
    texts = Texts(tokenizer, model)
    with counting(what) as progress:
        ids = texts.prompt_ids(prompts.prompts, max_length)
        made = ModelGenerator(model, texts.end, progress=progress).generate(ids, samples, sampling)
    words = [texts.content(prompts.prompts[m.prompt], m) for m in made]
    return [words[i : i + samples] for i in range(0, len(words), samples)], sum(not m.ended for m in made)


@dataclass(frozen=True)
class Comparison:
    """What a run's comparisons share.  start: how the policy that the run began with is called; seed: of all draws.

    A comparison is kept in its round's folder and the start's completions beside the rounds, so that a run that goes on
    draws neither again.
    """

    settings: Settings
    prompts: Prompts
    judge: Judge
    tokenizer: Any
    output: Path
    start: str
    seed: int
    device: Any

    @classmethod
    def of(cls, settings: Settings, training: Any, trained: Prompts, **shared: Any) -> Comparison | None:
        """The comparisons that the settings ask for; None for none.  trained: the prompts that the run trains on."""
        if settings.eval_prompts is None:
            return None
        columns = dict(c.split("=") for c in settings.columns) if settings.columns else None
        prompts = read_prompts(settings.eval_prompts, columns)
        if repeated := prompts.report["prompts repeated"]:
            say(f"eval_prompts: {repeated} are repeated and compared once")
        if seen := len({*map(prompt_key, prompts.prompts)} & {*map(prompt_key, trained.prompts)}):
            say(
                f"eval_prompts: {seen} of {len(prompts)} are trained on too; win rates on them say nothing of new prompts"
            )
        return cls(settings, prompts, seed=training.seed, device=training.device, **shared)

    def file(self, number: int) -> Path:
        return folder_of(self.output, number) / FILE

    def missing(self, rounds: int) -> list[int]:
        """Which of the first ``rounds`` rounds, from 1, have no comparison."""
        return [number + 1 for number in range(rounds) if not self.file(number).exists()]

    def after(self, number: int, name: str, model: Callable[[], nn.Module]) -> WinRate:
        """The comparison after a round: made by the first rank where it is not there, told on all.

        name: how the policy is called.  model: gives it, and is called where it is needed.
        Raises AssentError for a comparison that was made in another way, and where the judge answers nothing.
        """

        def look() -> dict[str, Any]:
            with torch.random.fork_rng(devices=[]):  # a model that is loaded draws, and training must not see that
                made = lambda: self._compared(number, name, model())  # noqa: E731
                return self._kept(self.file(number), made, {"judge": self.judge.name})

        found = WinRate.from_json(on_first_rank(look))
        say(f"{folder_of(self.output, number).name}: {found.sentence()}")
        return found

    def _compared(self, number: int, name: str, policy: nn.Module) -> dict[str, Any]:
        start = self._kept(self.output / "rounds" / START, self._start, {})
        round_name = folder_of(self.output, number).name
        made, cut = self._completions(policy, f"{round_name}: sampling for the win rate")
        own, others = ([text for some in side for text in some] for side in (made, start["completions"]))
        before = self.judge.tally.copy()
        verdicts = ask(self.judge, self.prompts.prompts, own, others)
        found = summarise(
            verdicts, own, others, 1, policy=name, against=self.start, judge=self.judge.name, cut=(cut, start["cut"]),
            tally=self.judge.tally.since(before),
        )  # fmt: skip
        return found.to_json() | {"round": number + 1}

    def _start(self) -> dict[str, Any]:
        """What the run's first policy says to the prompts."""
        policy = load(self.settings).model.to(self.device)
        made, cut = self._completions(policy, "the start: sampling for the win rate")
        return {"schema": 1, "completions": made, "cut": cut}

    def _completions(self, policy: nn.Module, what: str) -> tuple[list[list[Content]], int]:
        sampling, longest = sampling_of(self.settings, self.seed), self.settings.max_length
        return completions(policy, self.tokenizer, self.prompts, 1, sampling, longest, what)

    def _kept(self, path: Path, make: Callable[[], dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
        """The content of a file that was made in the same way, or made now.  asked: what of that is its own."""
        asked = asked | {
            "start": self.start, "eval_prompts": digest(self.prompts.prompts),
            "sampling": asdict(sampling_of(self.settings, self.seed)), "max_length": self.settings.max_length,
        }  # fmt: skip
        if path.exists():
            told = json.loads(path.read_text(encoding="utf-8"))
            if told.get("schema") != 1:
                raise AssentError(f"{path} has schema {told.get('schema')!r}; this version reads 1: update assent")
            same(told, asked, path)
            return told
        told = make() | asked
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, lambda aside: aside.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8"))
        return json.loads(json.dumps(told))


def saved(settings: Settings, place: Path, device: Any) -> nn.Module:
    """The policy that a round of this run left in a directory."""
    whole = {"lora_r": None, "lora_alpha": None, "lora_dropout": None, "lora_target_modules": None, "adapter": None}
    return load(replace(settings, model=str(place), **whole)).model.to(device)


def log(trainer: Any, number: int, found: WinRate, folder: Path | None = None) -> None:
    """Put a comparison into the metrics log, once.  folder: where the state of a run that has ended is written again."""
    if any(h.get("round") == number + 1 and "win_rate" in h for h in trainer.state.log_history):
        return
    trainer.log({"round": number + 1, **found.metrics()})
    if folder is not None and first_rank():
        write_aside(folder / "trainer_state.json", lambda aside: trainer.state.save_to_json(str(aside)))


def between(comparison: Comparison, number: int, trainer: Any) -> None:
    """Compare the policy of one long run with which round ``number`` begins, the round before being over.

    A run that goes on within a round says nothing: its policy has moved since.
    """
    if number == 0 or trainer.state.global_step % max(len(trainer.sampler), 1):
        return
    name = str(comparison.file(number - 1).parent)
    found = comparison.after(number - 1, name, lambda: trainer.accelerator.unwrap_model(trainer.model))
    log(trainer, number - 1, found)
