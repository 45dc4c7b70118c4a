"""How completions are drawn: length, temperature, nucleus, seed."""

from __future__ import annotations

from dataclasses import dataclass

from assent.errors import AssentError


@dataclass(frozen=True)
class SamplingSettings:
    """How a policy is sampled.

    max_new_tokens: a completion that has not ended by then is cut, and counted.  temperature: 0 takes the likeliest token.
    top_p: draw from the smallest set of tokens that holds this share.  top_k: draw from so many likeliest ones; 0 for all.
    seed: with the prompt and the sample's number it fixes every draw, whatever stands beside it in a batch.
    batch_size: sequences that are decoded together.
    """

    max_new_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    batch_size: int = 128

    def __post_init__(self) -> None:
        wrong = {
            "max_new_tokens": (self.max_new_tokens < 1, "at least 1"),
            "temperature": (not 0 <= self.temperature < float("inf"), "a finite number of at least 0"),
            "top_p": (not 0 < self.top_p <= 1, "a share above 0, at most 1"),
            "top_k": (self.top_k < 0, "at least 0"),
            "batch_size": (self.batch_size < 1, "at least 1"),
        }
        for name, (bad, expected) in wrong.items():
            if bad:
                raise AssentError(f"sampling: {name} is {getattr(self, name)!r}; expected {expected}")

    @property
    def plain(self) -> bool:
        """Whether tokens are drawn from the model's own distribution."""
        return self.temperature == 1 and self.top_p == 1 and self.top_k == 0
