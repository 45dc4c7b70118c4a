"""Sampling by vLLM from a policy that lies on disk, checked against the same policy in memory.

The backend says what it drew each token from; the model in memory says what the policy gives, and what should have been drawn
from. A backend that reports other probabilities than it draws from would bias importance ratios, and nothing would show it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.sampling.draws import shaped
from assent.sampling.generation import Completion
from assent.sampling.settings import SamplingSettings
from assent.scoring.forward import at_least_float32, device_of, evaluating

TOLERANCE = 2e-2
"""Nats per token: mean absolute difference of log-probabilities that is put down to another engine's rounding."""
OUTSIDE = 1.0
"""Nats that a token counts which should never have been drawn."""
MEMORY = 0.5
"""Share of the GPU's memory that vLLM takes unless told: the policy in memory needs the rest."""
BATCH = 8


@dataclass(frozen=True)
class VLLMGenerator:
    """Samples through vLLM's offline engine, which is started for each call and goes when it is done.

    place: directory or hub name of the whole policy.  model: the same policy in memory, which scores what was drawn.
    end: ids that end a completion.  memory: share of the GPU's memory.  progress: told sequences done and their total.
    """

    place: str
    model: nn.Module
    end: frozenset[int]
    memory: float = MEMORY
    name: str = "vllm"
    progress: Callable[[int, int], Any] | None = None

    def generate(self, prompts: Sequence[np.ndarray], count: int, settings: SamplingSettings) -> list[Completion]:
        """As ``ModelGenerator.generate``: logp is the model's own, drawn_logp is vLLM's.

        Raises AssentError where vLLM is missing, gives no log-probabilities, or gives others than the model's.
        """
        if count < 1:
            raise AssentError(f"{count} completions of each prompt were asked for; expected at least 1")
        if empty := [i for i, ids in enumerate(prompts) if len(ids) == 0]:
            raise AssentError(
                f"prompt {empty[0]} has no token to start from; give text or a tokenizer with a begin token"
            )
        drawn = self._drawn(prompts, count, settings)
        found: list[Completion] = []
        told, due = [], []
        for start in range(0, len(drawn), BATCH):
            part = drawn[start : start + BATCH]
            heads = [prompts[(start + k) // count] for k in range(len(part))]
            scores = self._scored(heads, [ids for ids, _ in part], settings)
            for k, ((ids, reported), (own, expected)) in enumerate(zip(part, scores, strict=True)):
                prompt, sample = divmod(start + k, count)
                told.append(reported)
                due.append(expected)
                certain = (
                    settings.temperature == 0
                )  # vLLM then reports the policy's own, and draws one token for certain
                found.append(
                    Completion(
                        prompt, sample, ids, own, np.zeros(len(ids)) if certain else reported, int(ids[-1]) in self.end
                    )
                )
        self._agree(np.concatenate(told), np.concatenate(due))
        return found

    def _drawn(
        self, prompts: Sequence[np.ndarray], count: int, settings: SamplingSettings
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids int32 [T] and vLLM's log-probabilities [T] of each completion, prompt by prompt."""
        try:
            from vllm import LLM, SamplingParams
        except ImportError as error:
            raise AssentError("sampling by vllm needs it installed; pip install 'assent[vllm]'") from error
        asked = [
            SamplingParams(
                n=1, temperature=settings.temperature, top_p=settings.top_p, top_k=settings.top_k or -1,
                max_tokens=settings.max_new_tokens, seed=seed_of(ids, sample, settings.seed), logprobs=0,
                stop_token_ids=sorted(self.end), ignore_eos=True, detokenize=False,
            )
            for ids in prompts
            for sample in range(count)
        ]  # fmt: skip
        given = [{"prompt_token_ids": ids.tolist()} for ids in prompts for _ in range(count)]
        engine = LLM(
            model=self.place, skip_tokenizer_init=True, dtype=_dtype(self.model), max_num_seqs=settings.batch_size,
            gpu_memory_utilization=self.memory, logprobs_mode="processed_logprobs", generation_config="vllm",
        )  # fmt: skip
        found = [_read(out.outputs[0]) for out in engine.generate(given, asked, use_tqdm=False)]
        del engine  # its memory is the training's again
        if len(found) != len(asked):
            raise AssentError(f"vllm gave {len(found)} completions and {len(asked)} were asked for; look at its log")
        if self.progress is not None:
            self.progress(len(found), len(asked))
        return found

    @torch.no_grad()
    def _scored(
        self, prompts: Sequence[np.ndarray], completions: Sequence[np.ndarray], settings: SamplingSettings
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """The model's log-probabilities [T] of each completion, and those that vLLM should report of its draws."""
        whole = [np.concatenate([p, c]) for p, c in zip(prompts, completions, strict=True)]
        ids = np.zeros((len(whole), max(map(len, whole))), np.int64)
        for row, some in zip(ids, whole, strict=True):  # padding on the right, where nothing looks
            row[: len(some)] = some
        with evaluating(self.model):
            logits = self.model(input_ids=torch.from_numpy(ids).to(device_of(self.model))).logits
        found = []
        for row, p, c in zip(logits, prompts, completions, strict=True):
            own = torch.log_softmax(at_least_float32(row[len(p) - 1 : len(p) + len(c) - 1]), -1)
            expected = own if settings.temperature == 0 else shaped(own, settings)
            found.append((_at(own, c), _at(expected, c)))
        return found

    def _agree(self, told: np.ndarray, expected: np.ndarray) -> None:
        """Refuse log-probabilities of vLLM [T] that are not those of the distribution that was to be drawn from."""
        gap = np.where(np.isfinite(expected), np.abs(told - expected), OUTSIDE).mean()
        if not gap <= TOLERANCE:  # NaN is refused too
            raise AssentError(
                f"vllm's log-probabilities of {self.place} differ from the model's own by {gap:.3g} nats a token on average; "
                f"expected at most {TOLERANCE:g}: take a vllm that honours logprobs_mode and dtype, or generator model"
            )


def seed_of(prompt: np.ndarray, sample: int, seed: int) -> int:
    """The seed of one completion, below 2^31: a function of the run's seed, the prompt and the sample's number."""
    digest = hashlib.blake2b(np.ascontiguousarray(prompt, "<i8").tobytes(), digest_size=8)
    digest.update(f"{seed} {sample}".encode())
    return int.from_bytes(digest.digest(), "little") >> 33


def _read(output: Any) -> tuple[np.ndarray, np.ndarray]:
    """Ids and log-probabilities of a CompletionOutput."""
    if not output.token_ids or output.logprobs is None or len(output.logprobs) != len(output.token_ids):
        raise AssentError(
            f"vllm gave {len(output.token_ids)} tokens and {len(output.logprobs or [])} log-probabilities of a completion; "
            "expected one of each token: take a vllm that gives them, or generator model"
        )
    values = [at[token].logprob for token, at in zip(output.token_ids, output.logprobs, strict=True)]
    return np.array(output.token_ids, np.int32), np.array(values)


def _dtype(model: nn.Module) -> str:
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def _at(log_probs: Tensor, ids: np.ndarray) -> np.ndarray:
    """[T, V] at the tokens [T]."""
    places = torch.from_numpy(ids.astype(np.int64)).to(log_probs.device)
    return log_probs.gather(-1, places[:, None]).squeeze(-1).double().cpu().numpy()
