"""The didactic bandits of arXiv:2404.14367 beyond the table: the authors' network, sequences, ten continuous coordinates.

Losses and rounds are the table's (`on_policy`, `worlds.bandit`).  The network has the claim of the sheet and the rates of the
authors' scripts; these have none for DPO, which takes IPO's here.  The sheet has no figures for the other two worlds, where
directions are stated: offline 20 start tokens (100 contexts) x 10 draws and 40 (200) steps, online a tenth of the contexts in
each of 10 (100) rounds of 15 steps.  No filter there, since means of ten bumps are seldom .2 apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from assent.papers.claims import Claim, above
from assent.worlds import bandit_continuous, bandit_network, bandit_sequence
from assent.worlds.bandit import best_of_n, bump, group, pairs

REWARDS = {"R1": 70, "R2": 20}
LOSSES = {"Best-of-N": best_of_n(), "IPO": pairs("ipo(tau=0.05)"), "DPO": pairs("dpo(beta=0.1)")}
RATES = {"Best-of-N": (0.01, 0.001), "IPO": (0.003, 0.01), "DPO": (0.003, 0.01)}
"""Of the network, offline and online."""
PPO = "ppo(clip=0.2, vf=0.0, beta=0.0, value='nought', old_value=None)"

Ends = dict[str, tuple[Tensor, Tensor]]
"""Final expected rewards of each loss, [rewards, seeds] offline and online."""


def network(seeds: Sequence[int], scale: int = 1) -> list[Claim]:
    """The authors' network; ``scale`` divides its rounds and offline steps."""
    rewards, ends = [bump(peak) for peak in REWARDS.values()], {}
    for name, loss in LOSSES.items():
        before = pairs("ipo(tau=0.05)", 0.2) if name == "IPO" else loss  # as the authors' script
        rate = RATES[name]
        ends[name] = (
            bandit_network.fit(before, rewards, seeds, contexts=100, steps=200 // scale, rate=rate[0]),
            bandit_network.fit(loss, rewards, seeds, contexts=10, rounds=100 // scale, steps=15, rate=rate[1]),
        )
    far, near = gains(ends)
    return [
        above("network_wins_far_away", "The authors' network: with the peak where the reference is thin (R1) on-policy samples "
              "gain .3 or more.", "sheet", {}, far, 0.3, seeds, shown=shown(ends)),
        above("network_less_near_the_mode", "Near the reference's mode (R2) it gains less than .1: .1 less the gain.", "sheet",
              {}, {name: 0.1 - x for name, x in near.items()}, 0.0, seeds),
    ]  # fmt: skip


def sequences(
    seeds: Sequence[int], contexts: int = 20, rounds: int = 10, offline: int = 40, online: int = 15
) -> list[Claim]:
    """A small GPT-2 that draws nine tokens: ``offline`` steps in all, or ``online`` steps a round."""
    before = {"contexts": contexts, "steps": offline}
    after = {"contexts": contexts // 10, "rounds": rounds, "steps": online}
    fit, ends = bandit_sequence.fit, {}
    for name, peaks in (("Best-of-N", (70, 20)), ("DPO", (70,))):
        each = [[fit(LOSSES[name], bump(peak), seeds, **how) for peak in peaks] for how in (before, after)]
        ends[name] = tuple(each)
    far, near = gains(ends)
    clipped = fit(group(PPO), bump(70), seeds, **after)
    start = fit(group(PPO), bump(70), seeds, contexts=contexts // 10, steps=0)
    return [
        above("sequences_win_far_away", "Sequences: with the peak where the reference is thin (R1) on-policy samples win.",
              "paper", {}, far, 0.0, seeds, shown=shown(ends)),
        above("sequences_less_near_the_mode", "They win more there than near the mode (R2).", "paper", {},
              {name: far[name] - x for name, x in near.items()}, 0.0, seeds),
        above("sequences_ppo", "PPO with ratios of tokens clipped at .2 climbs R1 in the same rounds: gain over the start.",
              "paper", {}, {"gain": clipped - start}, 0.0, seeds,
              shown={"PPO": float(clipped.mean()), "start": float(start.mean())}),
    ]  # fmt: skip


def continuous(seeds: Sequence[int], scale: int = 1) -> list[Claim]:
    """Ten squashed Cauchy coordinates; ``scale`` divides rounds and offline steps."""
    fit, peaks = bandit_continuous.fit, tuple(REWARDS.values())
    ends = {
        name: (
            fit(loss, peaks, seeds, contexts=100, steps=200 // scale),
            fit(loss, peaks, seeds, contexts=10, rounds=100 // scale, steps=15),
        )
        for name, loss in LOSSES.items()
    }
    far, near = gains(ends)
    return [
        above("continuous_wins_far_away", "Ten continuous coordinates: on-policy samples win on R1 with every loss.", "paper",
              {}, far, 0.0, seeds, shown=shown(ends)),
        above("continuous_less_near_the_mode", "They win more there than near the mode (R2).", "paper", {},
              {name: far[name] - x for name, x in near.items()}, 0.0, seeds),
    ]  # fmt: skip


def gains(ends: Ends) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Online less offline on R1, and on R2 where that was run."""
    both = {name: [b - a for a, b in zip(*sides, strict=True)] for name, sides in ends.items()}
    return {name: x[0] for name, x in both.items()}, {name: x[1] for name, x in both.items() if len(x) > 1}


def shown(ends: Ends) -> dict[str, float]:
    """The mean ends to print beside the gains."""
    return {
        f"{name}, {reward} {when}": float(x.mean())
        for name, sides in ends.items()
        for when, side in zip(("offline", "online"), sides, strict=True)
        for reward, x in zip(REWARDS, side, strict=False)
    }


STATEMENTS = (network, sequences, continuous)
