"""Self-revision at inference: the model is given its own answer and asked for a better one, so many times.  arXiv:2406.01660.

The request is the one that `srpo()` trains on (`data.revision_views`); any model can be asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assent.data.revision_views import revision_prompt
from assent.errors import AssentError
from assent.records import Content
from assent.sampling.generation import Completion, Generator
from assent.sampling.settings import SamplingSettings
from assent.sampling.texts import Texts


@dataclass(frozen=True)
class Answers:
    """``samples`` answers to each prompt, prompt by prompt, and how many of them were cut at max_new_tokens."""

    contents: tuple[tuple[Content, ...], ...]
    cut: int


def revise(
    generator: Generator, texts: Texts, prompts: Sequence[Content], revisions: int, *, samples: int = 1,
    sampling: SamplingSettings | None = None, longest: int | None = None, max_length: int | None = None,
) -> list[Answers]:  # fmt: skip
    """The first answers y_0 ~ pi(. | x), then y_k ~ pi(. | y_(k-1), x) for k = 1 .. ``revisions``; all of them, in order.

    samples: answers to each prompt, each revised by itself.  sampling: for all stages; draws differ from stage to stage and
    from sample to sample, so that an answer that was kept is not kept for ever.
    max_length: tokens of the prompt that the first answers read, the last ones; a revision reads all of what it is given.
    longest: tokens that the model can read.  Raises AssentError where a revision would need more.
    """
    if revisions < 0:
        raise AssentError(f"revisions is {revisions}; expected 0 or more")
    sampling = sampling or SamplingSettings()
    made = generator.generate(texts.prompt_ids(prompts, max_length), samples, sampling)
    found = [_answers(texts, prompts, made, samples)]
    for number in range(1, revisions + 1):
        later: list[list[Completion]] = []
        for j in range(samples):
            asked = [revision_prompt(p, own[j]) for p, own in zip(prompts, found[-1].contents, strict=True)]
            ids = texts.prompt_ids(asked)
            _fits(list(map(len, ids)), number, sampling.max_new_tokens, longest)
            later.append(generator.generate(ids, 1, replace(sampling, seed=_seed(sampling.seed, number, j))))
        made = [later[j][i] for i in range(len(prompts)) for j in range(samples)]
        found.append(_answers(texts, prompts, made, samples))
    return found


def _answers(texts: Texts, prompts: Sequence[Content], made: Sequence[Completion], samples: int) -> Answers:
    words = [texts.content(prompts[i // samples], completion) for i, completion in enumerate(made)]
    each = tuple(tuple(words[i : i + samples]) for i in range(0, len(words), samples))
    return Answers(each, sum(not m.ended for m in made))


def _fits(lengths: Sequence[int], number: int, new: int, longest: int | None) -> None:
    if longest is not None and lengths and max(lengths) + new > longest:
        at = max(range(len(lengths)), key=lengths.__getitem__)
        raise AssentError(
            f"revision {number} of prompt {at} reads {lengths[at]} tokens and may write {new} more, and the model reads at "
            f"most {longest}; lower max_new_tokens or leave long prompts out"
        )


def _seed(seed: int, number: int, sample: int) -> int:
    digest = hashlib.blake2b(f"revision {seed} {number} {sample}".encode(), digest_size=4)
    return int.from_bytes(digest.digest(), "little")
