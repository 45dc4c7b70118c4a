"""Sampling by vLLM against a stand-in of its public interface that draws from the checkpoint on disk, as vLLM does."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from assent import AssentError, train
from assent.sampling import ModelGenerator, SamplingSettings, rounds
from assent.sampling.vllm import VLLMGenerator, seed_of
from assent.training.arguments import Settings
from assent.training.source_settings import check_source

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import count_a, largest_difference, save_model_and_prompts, small_model

PLAIN = SamplingSettings(max_new_tokens=8, seed=3, batch_size=5)
PROMPTS = [np.array([1, 5, 9], np.int32), np.array([1, 7], np.int32), np.array([1, 5, 9, 30, 11], np.int32)]
END = frozenset({2, 10})


@dataclass
class SamplingParams:
    """The fields that are asked for; any other name is refused, as vLLM refuses it."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 16
    seed: int | None = None
    logprobs: int | None = None
    stop_token_ids: list[int] = field(default_factory=list)
    ignore_eos: bool = False
    detokenize: bool = True


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool = True


class LLM:
    """Temperature, top-k and nucleus as vLLM orders them; one generator a request; log-probabilities by ``logprobs_mode``."""

    started: list[dict] = []  # noqa: RUF012
    mode: str | None = None
    silent = False

    def __init__(
        self, model: str, *, skip_tokenizer_init: bool = False, dtype: str = "auto", max_num_seqs: int = 256,
        gpu_memory_utilization: float = 0.9, logprobs_mode: str = "raw_logprobs", generation_config: str = "auto",
    ) -> None:  # fmt: skip
        from transformers import AutoModelForCausalLM

        LLM.started.append({"model": model, "dtype": dtype, "seqs": max_num_seqs, "memory": gpu_memory_utilization})
        assert skip_tokenizer_init and generation_config == "vllm"
        self.logprobs_mode = LLM.mode or logprobs_mode
        self.model = AutoModelForCausalLM.from_pretrained(model)

    def generate(self, prompts, sampling_params, use_tqdm=True):
        return [
            RequestOutput(p["prompt_token_ids"], [self._one(p["prompt_token_ids"], some)])
            for p, some in zip(prompts, sampling_params, strict=True)
        ]

    @torch.no_grad()
    def _one(self, prompt: list[int], asked: SamplingParams) -> CompletionOutput:
        assert asked.n == 1 and asked.ignore_eos and not asked.detokenize and asked.top_k >= -1
        generator = torch.Generator().manual_seed(asked.seed)
        ids, told = [], []
        while len(ids) < asked.max_tokens and not (ids and ids[-1] in asked.stop_token_ids):
            logits = self.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, -1]
            raw = processed = logits.log_softmax(-1)
            if asked.temperature > 0:
                scaled = logits / asked.temperature
                if asked.top_k > 0:
                    scaled[scaled < scaled.topk(asked.top_k).values[-1]] = -torch.inf
                order = scaled.argsort()  # from the least likely: what sums to at most 1 - top_p goes
                gone = scaled.softmax(-1)[order].cumsum(-1) <= 1 - asked.top_p
                gone[-1] = False
                scaled[order[gone]] = -torch.inf
                processed = scaled.log_softmax(-1)
                token = int(torch.multinomial(processed.exp(), 1, generator=generator))
            else:
                token = int(raw.argmax())
            ids.append(token)
            values = processed if self.logprobs_mode == "processed_logprobs" else raw
            told.append({token: Logprob(values[token].item())})
        reason = "stop" if ids[-1] in asked.stop_token_ids else "length"
        return CompletionOutput(0, "", ids, None if LLM.silent or asked.logprobs is None else told, reason)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> type[LLM]:
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(LLM, "started", [])
    monkeypatch.setattr(LLM, "mode", None)
    monkeypatch.setattr(LLM, "silent", False)
    return LLM


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model_and_prompts(tmp_path_factory.mktemp("files"))


def generator(files: Path, seed: int = 0) -> VLLMGenerator:
    return VLLMGenerator(str(files / "model"), small_model(seed), END)


def own_logp(prompt: np.ndarray, ids: np.ndarray) -> torch.Tensor:
    """[T, V] of the policy where the completion's tokens stand, one sequence at a time."""
    whole = torch.tensor([[*prompt.tolist(), *ids.tolist()]])
    with torch.no_grad():
        return small_model()(input_ids=whole).logits[0, len(prompt) - 1 : -1].log_softmax(-1)


def test_greedy_equals_the_model_s_own_decoding(backend: type[LLM], files: Path) -> None:
    settings = SamplingSettings(max_new_tokens=8, temperature=0.0)
    found = generator(files).generate(PROMPTS, 2, settings)
    expected = ModelGenerator(small_model(), END).generate(PROMPTS, 2, settings)
    for a, b in zip(found, expected, strict=True):
        assert (a.prompt, a.sample, a.ids.tolist(), a.ended) == (b.prompt, b.sample, b.ids.tolist(), b.ended)
        np.testing.assert_allclose(a.logp, b.logp, atol=1e-5)
        assert a.drawn_logp.tolist() == b.drawn_logp.tolist() == [0.0] * len(a)


@pytest.mark.parametrize("shape", [{}, {"temperature": 0.6}, {"temperature": 0.8, "top_k": 7, "top_p": 0.7}])
def test_log_probabilities_of_the_policy_and_of_what_was_drawn_from(
    shape: dict, backend: type[LLM], files: Path
) -> None:
    settings = SamplingSettings(max_new_tokens=8, seed=3, **shape)
    found = generator(files).generate(PROMPTS, 4, settings)
    assert [(m.prompt, m.sample) for m in found] == [(i, j) for i in range(3) for j in range(4)]
    for made in found:
        own = own_logp(PROMPTS[made.prompt], made.ids)
        at = torch.arange(len(made)), torch.tensor(made.ids.tolist())
        np.testing.assert_allclose(made.logp, own[at].numpy(), atol=1e-5)
        scaled = (own / settings.temperature).double().exp()
        if settings.top_k:
            scaled[scaled < scaled.topk(settings.top_k).values[:, -1:]] = 0
        scaled /= scaled.sum(-1, keepdim=True)
        for row in scaled:  # the smallest set of likeliest tokens that holds top_p
            order, held = row.argsort(descending=True), 0.0
            for token in order.tolist():
                row[token], held = (row[token] if held < settings.top_p else 0.0), held + row[token].item()
        expected = (scaled / scaled.sum(-1, keepdim=True)).log()[at]
        np.testing.assert_allclose(made.drawn_logp, expected.numpy(), atol=1e-5)
        assert made.ended == (made.ids[-1] in END) and (made.ended or len(made) == 8)
        assert not set(made.ids[:-1].tolist()) & END


def test_draws_depend_on_seed_prompt_and_number_alone(backend: type[LLM], files: Path) -> None:
    several = generator(files).generate(PROMPTS, 3, PLAIN)
    alone = generator(files).generate(PROMPTS[1:2], 2, PLAIN)
    assert [m.ids.tolist() for m in alone] == [m.ids.tolist() for m in several[3:5]]
    assert len({m.ids.tobytes() for m in several}) == 9
    seeds = {seed_of(p, j, s) for p in PROMPTS for j in range(20) for s in range(20)}
    assert len(seeds) == 1200 and 0 <= min(seeds) < max(seeds) < 2**31
    assert backend.started[0] == {"model": str(files / "model"), "dtype": "float32", "seqs": 5, "memory": 0.5}


@pytest.mark.parametrize(("shape", "mode"), [({"temperature": 0.6}, "raw_logprobs"), ({"top_p": 0.5}, "raw_logprobs")])
def test_a_backend_that_reports_what_it_did_not_draw_from_is_refused(
    shape: dict, mode: str, backend: type[LLM], files: Path
) -> None:
    backend.mode = mode
    with pytest.raises(AssentError, match=r"differ from the model's own by 0\.\d+ nats a token.*at most 0\.02"):
        generator(files).generate(PROMPTS, 4, SamplingSettings(max_new_tokens=8, **shape))
    assert len(generator(files).generate(PROMPTS, 4, PLAIN)) == 12, "at temperature 1 both are the same"


def test_a_backend_with_other_weights_or_without_log_probabilities_is_refused(backend: type[LLM], files: Path) -> None:
    with pytest.raises(AssentError, match="differ from the model's own"):
        generator(files, seed=1).generate(PROMPTS, 2, PLAIN)
    backend.silent = True
    with pytest.raises(AssentError, match="0 log-probabilities of a completion"):
        generator(files).generate(PROMPTS, 2, PLAIN)


def test_it_is_installed_by_its_extra(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(AssentError, match=r"pip install 'assent\[vllm\]'"):
        generator(files).generate(PROMPTS, 2, PLAIN)
    with pytest.raises(AssentError, match="expected at least 1"):
        generator(files).generate(PROMPTS, 0, PLAIN)
    with pytest.raises(AssentError, match="prompt 0 has no token"):
        generator(files).generate([np.array([], np.int32)], 1, PLAIN)


QUICK = {
    "rounds": 2, "samples": 3, "max_new_tokens": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 4, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "source": "iterative", "judge": count_a, "generator": "vllm:0.3",
}  # fmt: skip


def run(files: Path, out: Path, **arguments):
    return train(str(files / "model"), str(files / "prompts.jsonl"), "dpo()", out, **QUICK | arguments)


def test_each_round_is_sampled_from_the_policy_that_the_last_one_left(
    backend: type[LLM], files: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    found = run(files, tmp_path / "out")
    places = [files / "model", tmp_path / "out" / "rounds" / "round-000" / "policy"]
    assert [(s["model"], s["memory"]) for s in backend.started] == [(str(place), 0.3) for place in places]
    for number, place in enumerate(places):
        data = rounds.read(tmp_path / "out" / "rounds" / f"round-00{number}")
        assert data.about["generator"] == "vllm" and data.about["counts"]["completions"] == 24
        policy = AutoModelForCausalLM.from_pretrained(place)
        again = VLLMGenerator(str(place), policy, frozenset({2})).generate(
            data.prompt_ids, 3, SamplingSettings(max_new_tokens=8, seed=1000 * number)
        )
        assert [m.ids.tolist() for m in again] == [m.ids.tolist() for some in data.completions for m in some]
    before = len(backend.started)
    (tmp_path / "out" / "model.safetensors").unlink()
    assert largest_difference(found.model, run(files, tmp_path / "out", resume=True).model) == 0.0
    assert len(backend.started) == before, "what was sampled is read"
    with pytest.raises(AssentError, match=r"generator 'vllm' and this run asks for None"):
        run(files, tmp_path / "out", resume=True, generator="model")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"generator": "vlm"}, "generator is 'vlm'; expected model, vllm"),
        ({"generator": "vllm:2"}, "a share between 0 and 1"),
        ({"generator": "model:0.5"}, "expected model, vllm"),
        ({"source": "online"}, "source 'online' moves its policy in memory"),
        ({"mixture": "geometric:0.3"}, "needs two models at once"),
        ({"lora_r": 4}, "lora_r leaves adapters between rounds"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(arguments: dict, words: str, files: Path, tmp_path: Path) -> None:
    with pytest.raises(AssentError, match=words):
        run(files, tmp_path / "out", **arguments)


def test_one_process_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    settings = Settings(source="iterative", judge=count_a, generator="vllm")
    with pytest.raises(AssentError, match="several processes"):
        check_source(settings)
