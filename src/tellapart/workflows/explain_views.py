"""The verb behind `tellapart explain --view`: what of a picture is no map over its pixels.

nearest     The training images that the run finds most like it; `explain._nearest`.
frequency   Its spectrum and its noise residual, beside the mean of each class; `explain._frequency`.

They are no explainers: these give a value for every pixel of a picture and a class, so that all of them can be drawn, judged
and averaged in one way. A neighbor or a frequency lies at no pixel, and has nothing to be judged by a mask. So a view is what
it is, with its own type, its own drawing and its own numbers, and the two are asked for beside the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.data.decode import decode
from tellapart.data.loose import from_paths
from tellapart.data.reader import ImageReader
from tellapart.errors import DataError, unknown_name
from tellapart.explainers._frequency import Frequencies, Spectra
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.inference.nearest import Nearest, NearestImages, thumbnail
from tellapart.runs import store
from tellapart.runs.store import Run

VIEWS = ("nearest", "frequency")


@dataclass(frozen=True, eq=False)
class Views:
    """The views of one picture.

    Attributes:
        image: What the picture was called.
        pixels: (H, W, 3) uint8, small enough to be looked at.
        nearest: The training images that are most like it; None where not asked for.
        frequency: Its frequencies; None where not asked for.
    """

    image: str
    pixels: np.ndarray
    nearest: Nearest | None = None
    frequency: Frequencies | None = None

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain JSON values, one for each view."""
        found = {"nearest": self.nearest, "frequency": self.frequency}
        return [{"image": self.image, "view": name, **of.to_dict()} for name, of in found.items() if of is not None]


def explain_views(
    run: str | Path | Run, images: Sequence[str | Path], names: Sequence[str] = VIEWS, *, settings: Settings = DEFAULTS
) -> list[Views]:
    """Look at pictures beside the images that a run has learnt from.

    Args:
        run: A run, an id, the beginning of one, or a path; of any family. Its training images must still be where they were.
        images: Files, or folders of them.
        names: Of `VIEWS`.
        settings: Where and how.

    Returns:
        One for each picture.

    Raises:
        DataError: Unknown view; nothing to look at; the run has no training images.
        CorruptImages: Training images that cannot be read any more.
        ImageError: A picture cannot be decoded.
    """
    for name in names:
        if name not in VIEWS:
            raise DataError(unknown_name("view", name, VIEWS))
    run = run if isinstance(run, Run) else store.open_run(run, settings.runs)
    table = from_paths(images, run.classes)
    near = NearestImages(run, settings) if "nearest" in names else None
    spectra = Spectra(run, settings) if "frequency" in names else None
    found = []
    with ImageReader(table) as reader, settings.progress.task("viewing", len(table), "img") as task:
        for path, name in zip(table.paths, map(str, table.ids), strict=True):
            content = reader.get(str(path))
            pixels = decode(content, path=name)
            found.append(
                Views(
                    name, thumbnail(pixels),
                    near.search(content, name) if near else None,
                    spectra.compute(content, pixels, name) if spectra else None,
                )
            )  # fmt: skip
            task.advance()
    return found
