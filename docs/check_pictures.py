"""Draws docs/checks/found-*.svg: how what `tellapart check` found is spread over the classes.

Run: python docs/check_pictures.py DATA

DATA is the folder of the sets; only shares of images by value go into the figures, no picture does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tellapart as ta
from tellapart.reports.health_report import draw, found_distributions
from tellapart.reports.robustness_section import write

#: Set → (checks, how many of what they found is drawn).
SETS = {
    "scenes.tar": (("compression", "metadata"), 2),
    "cifake.zip": (("pixels", "names"), 4),
    "deepfake5.tar": (("pixels",), 4),
}


def main() -> None:
    """One figure a set, the most telling measures of each check in turn."""
    for name, (checks, most) in SETS.items():
        health = ta.check(Path(sys.argv[1]) / name, only=checks)
        found = {one.name: found_distributions(one.result.details) for one in health.checks}
        each = most // len(checks)
        shown = [distribution for check in checks for distribution in found[check][:each]]
        write(draw(shown), Path(__file__).parent / "checks" / f"found-{name.partition('.')[0]}.svg")


if __name__ == "__main__":
    main()
