"""Draws docs/synth.png: every forgery on a photograph that scikit-image carries. Run: python docs/synth_picture.py"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from tellapart.inference.context import Settings
from tellapart.reports.contact_sheets import forgery_sheet
from tellapart.workflows.synth import synth

SIDE = 176


def main() -> None:
    """Tiles of five photographs, forged by every kind."""
    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as folder:
        reals = Path(folder) / "reals"
        reals.mkdir()
        for name in ("astronaut", "coffee", "chelsea", "rocket", "cat"):
            photograph = getattr(data, name)()
            for number in range(6):
                y, x = (int(rng.integers(0, side - SIDE + 1)) for side in photograph.shape[:2])
                Image.fromarray(photograph[y : y + SIDE, x : x + SIDE]).save(reals / f"{name}-{number}.png")
        made = synth(reals, Path(folder) / "forged", settings=Settings(seed=1))
        forgery_sheet(made.folder).savefig(Path(__file__).parent / "synth.png", dpi=90)


if __name__ == "__main__":
    main()
