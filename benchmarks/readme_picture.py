"""Draws the README's picture from a demo's page.

python benchmarks/readme_picture.py runs/demo/demo.html docs/images/demo.svg
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from assent.reporting import demo_plots, plots


def main(page: str, out: str) -> None:
    """Read the figures that the page carries and write its reward against KL curves as an SVG file."""
    text = Path(page).read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="summary">(.*?)</script>', text, re.S)
    if found is None:
        raise SystemExit(f"{page} is not a page of assent demo")
    result = json.loads(found.group(1))
    figure = demo_plots.reward_against_kl(result["curves"], result["equal_kl"])
    print(f"wrote {plots.picture(figure.svg, out)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
