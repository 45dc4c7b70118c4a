"""Draws the pictures of docs/games.md: a cycle of three arms, and the authors' setting of EGPO.

python benchmarks/game_pictures.py docs/images
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from assent.games import matrices, mirror
from assent.games.equilibrium import Game, nash
from assent.reporting import game_plots, plots
from assent.worlds.stacked import generators


def main(folder: str) -> None:
    """Write games-portrait.svg and games-gaps.svg, and PNG copies beside them to look at where asked."""
    cycle = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))
    game, free = Game.of(cycle, 0.01), Game.of(cycle, 0.0)
    start = torch.tensor([1.2, 0.0, -1.2], dtype=torch.float64)
    paths = {
        "SPPO": mirror.run(free, "sppo", 0.1, 1200, start=start, every=2),
        "INPO, OMD": mirror.run(game, "inpo", 1.0, 400, start=start, every=1),
        "Nash-MD": mirror.run(game, "nash_md", 1.0, 400, start=start, every=1),
        "EGPO": mirror.run(game, "egpo", 1.0, 400, start=start, every=1),
    }
    best = nash(game).policy
    draws = [g for g in generators(range(5), 61) for _ in range(4)]
    ref = lambda: torch.stack([torch.randn(10, generator=g, dtype=torch.float64) for g in draws])  # noqa: E731
    many = Game.of(matrices.random(draws, 10), 0.01, ref())
    curves = {
        "self-play": mirror.run(many, "omd", 0.8, 4000, every=20),
        "Nash-MD": mirror.run(many, "nash_md", 0.8, 4000, every=20),
        "EGPO": mirror.run(many, "egpo", 0.8, 4000, every=20),
    }
    for name, figure in (("portrait", game_plots.portrait(paths, best)), ("gaps", game_plots.gaps(curves))):
        print(f"wrote {plots.picture(figure.svg, str(Path(folder, f'games-{name}.svg')))}")
    if "--png" in sys.argv:
        game_plots.save_png("portrait", paths, best, Path(folder, "games-portrait.png"))
        game_plots.save_png("gaps", curves, best, Path(folder, "games-gaps.png"))


if __name__ == "__main__":
    main(sys.argv[1])
