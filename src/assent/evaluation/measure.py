"""What a policy of the embedded world is worth: true reward, divergence, win rate and ranking accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assent.worlds import loops, sampling
from assent.worlds.embedded import World


@dataclass(frozen=True)
class Judge:
    """Evaluates policies of one world on the same prompts with the same noise.

    reference_reward [N]: true reward of the reference's own sample per evaluation prompt.
    """

    world: World
    tests: loops.Encoded
    reference_reward: Tensor

    @classmethod
    def of(cls, world: World) -> Judge:
        """The judge of a world; samples the reference once."""
        drawn = sampling.sample(world.reference, world.prompts, world.noise)
        tests = loops.encode(world.tests, world.tokenizer, world.reference)
        return cls(world, tests, world.rewards(world.texts(drawn)))

    def __call__(self, policy: Any) -> dict[str, float]:
        """kl (nats per sequence), true_reward, win_rate against the reference (ties half), accuracy on held-out pairs."""
        world = self.world
        drawn = sampling.sample(policy, world.prompts, world.noise)
        reward = world.rewards(world.texts(drawn))
        kl = sampling.prefix_kl(policy, world.reference, world.prompts, drawn)
        ahead = reward - self.reference_reward
        margin = loops.margins(policy, self.tests)
        return {
            "kl": kl.mean().item(),
            "true_reward": reward.mean().item(),
            "true_reward_se": (reward.std() / len(reward) ** 0.5).item(),
            "win_rate": ((ahead > 0).double() + 0.5 * (ahead == 0).double()).mean().item(),
            "accuracy": ((margin > 0).double() + 0.5 * (margin == 0).double()).mean().item(),
        }

    def sample(self, policy: Any) -> list[str]:
        """The policy's completion of each evaluation prompt, drawn with the common noise."""
        return self.world.texts(sampling.sample(policy, self.world.prompts, self.world.noise))

    def start(self) -> dict[str, float]:
        """The reference's own record, where every curve begins."""
        reward = self.reference_reward
        return {
            "kl": 0.0,
            "true_reward": reward.mean().item(),
            "true_reward_se": (reward.std() / len(reward) ** 0.5).item(),
            "win_rate": 0.5,
            "accuracy": 0.5,
        }


def median_gap(world: World) -> float:
    """Median absolute gap of the true reward over the world's pairs, nats."""
    return torch.median(world.gap.abs()).item()
