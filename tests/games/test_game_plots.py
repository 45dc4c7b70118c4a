"""Pictures of games: places on the simplex, curves that stop at rounding, and what they say to a reader."""

from __future__ import annotations

import re

import pytest
import torch

from assent.errors import AssentError
from assent.games import matrices, mirror
from assent.games.equilibrium import Game, nash
from assent.reporting import game_plots


def test_places_by_hand():
    x, y = game_plots.place(
        torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    )
    assert x == pytest.approx([0.0, 0.75, 0.5]) and y == pytest.approx([0.0, 3**0.5 / 4, 3**0.5 / 6])
    with pytest.raises(AssentError, match="three arms"):
        game_plots.place(torch.zeros(2, 4))


def test_figures_and_files(tmp_path):
    game = Game.of(matrices.cyclic(3, 0.8), 0.3)
    start = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    paths = {m: mirror.run(game, m, 1.0, 200, start=start, every=10) for m in ("omd", "egpo")}
    best = nash(game).policy
    portrait, gaps = game_plots.portrait(paths, best), game_plots.gaps(paths)
    assert 'aria-label="Paths of policies over three arms: omd, egpo."' in portrait.svg
    assert re.search(r">\s*1e-16\s*<", gaps.svg) and "mathdefault" not in gaps.svg
    at, values = game_plots._shown(paths["egpo"])
    assert values[-1] == game_plots.LEAST and at[-1] < 200 and values[0] == pytest.approx(float(paths["egpo"].gap[0]))
    for kind in ("portrait", "gaps"):
        game_plots.save_png(kind, paths, best, tmp_path / f"{kind}.png")
        assert (tmp_path / f"{kind}.png").read_bytes()[:4] == b"\x89PNG"
