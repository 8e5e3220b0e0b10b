"""Mean maps: for each class the mean map over the images that a run predicts as that class.

Images of different sizes are compared at the input size of the classifier. Each map is scaled to a maximum of 1 before the mean
so that every image has equal weight; a map without evidence counts as 0 everywhere. The mean image is shown with it, as a mean
map is informative only for similar images: aligned faces, tiles, a watermark in one corner. A bright corner over a uniformly
gray mean image indicates a shortcut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.data.decode import decode_to, quiet, target_size
from tellapart.data.listing import from_paths
from tellapart.data.reader import ImageReader
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.recipe.schema import Inputs
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.workflows.explain import ImageToExplain, prepare

_GRID = 8  # rows and columns of the map in JSON


@dataclass(frozen=True, eq=False)
class ClassMap:
    """The mean map of one class, by one method.

    Attributes:
        class_name: The predicted class of the images, which is explained.
        method: The explainer's name.
        n: Number of images predicted as the class.
        n_empty: Number of images whose map has no evidence.
        picture: (h, w, 3) uint8, the mean image; zeros without images.
        values: (h, w) float32 in [0, 1], the mean of the maps; not scaled again.
    """

    class_name: str
    method: str
    n: int
    n_empty: int
    picture: np.ndarray
    values: np.ndarray

    @property
    def peak(self) -> tuple[float, float]:
        """Position of the maximum: (from the top, from the left), as shares of the sides; the center of that pixel."""
        row, column = np.unravel_index(self.values.argmax(), self.values.shape)
        return (float(row) + 0.5) / self.values.shape[0], (float(column) + 0.5) / self.values.shape[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the map as means over a grid of at most 8 × 8 cells, row by row."""
        rows, columns = (np.array_split(np.arange(side), min(side, _GRID)) for side in self.values.shape)
        grid = [[round(float(self.values[np.ix_(r, c)].mean()), 4) for c in columns] for r in rows]
        return {
            "class": self.class_name, "method": self.method, "n": self.n, "without_evidence": self.n_empty,
            "size": list(self.values.shape), "peak": [round(share, 4) for share in self.peak] if self.values.any() else None,
            "grid": grid,
        }  # fmt: skip


def class_maps(
    run: str | Path | Run, images: Sequence[str | Path], *, methods: Sequence[str] = (),
    options: Mapping[str, Any] | None = None, seed: int = 0, settings: Settings = DEFAULTS,
) -> list[ClassMap]:  # fmt: skip
    """Compute mean maps over a set of images.

    Args:
        run: A run, a run id or its prefix, or a path.
        images: Image files, or folders.
        methods: Names of explainers, as for `explain`.
        options: Options of the methods; every method must have them.
        seed: Random seed for methods.
        settings: Folders, device and progress.

    Returns:
        One map for each method and class, in label order; also for classes without predicted images.

    Raises:
        DataError: No images.
        ImageError: An image cannot be decoded.
        RunError: A method needs a network, and the run is not one.
        RecipeError: Unknown method or option.
    """
    run = store.open_run(run, settings.runs, settings.images)
    model, explainers = prepare(run, methods, options or {}, seed, settings)
    table, shape = from_paths(images, run.classes), target_size(model.inputs)
    sums = {(e.name(), c): _Sum(shape) for e in explainers for c in run.classes}
    with ImageReader(table) as reader, settings.progress.task("explaining", len(table) * len(explainers), "map") as task:
        for path, name in zip(table.paths, map(str, table.ids), strict=True):
            image = ImageToExplain.read(model, reader.get(str(path)), name)
            shown = _shown(image.pixels, model.inputs)
            label = int(image.proba.argmax())
            for explainer in explainers:
                values = explainer(model, image.pixels, label).values
                sums[explainer.name(), run.classes[label]].add(shown, _shown_map(values, model.inputs))
                task.advance()
    return [of.mean(method, class_name) for (method, class_name), of in sums.items()]


class _Sum:
    """Running sums of the images and maps of one class and method."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.n, self.without = 0, 0
        self.picture, self.values = np.zeros((*shape, 3)), np.zeros(shape)

    def add(self, picture: np.ndarray, values: np.ndarray) -> None:
        """Add one image. `picture`: (h, w, 3) uint8; `values`: (h, w) float."""
        self.n += 1
        self.without += not values.any()
        self.picture += picture
        self.values += values

    def mean(self, method: str, class_name: str) -> ClassMap:
        """The mean of all added images."""
        count = max(self.n, 1)
        picture = np.rint(self.picture / count).astype(np.uint8)
        return ClassMap(class_name, method, self.n, self.without, picture, (self.values / count).astype(np.float32))


def _shown(pixels: np.ndarray, inputs: Inputs) -> np.ndarray:
    """Resize an image to the input of the classifier, gray as three channels: (H, W, 3) uint8 → (h, w, 3) uint8."""
    with quiet():
        shown = decode_to(pixels, inputs, "the picture")
    return np.broadcast_to(shown, (*shown.shape[:2], 3))


def _shown_map(values: np.ndarray, inputs: Inputs) -> np.ndarray:
    """Resize a map to the input of the classifier, maximum 1: (H, W) in [0, 1] → (h, w) float64."""
    gray = np.rint(values * 255).astype(np.uint8)  # resized like the images, with 8 bits
    with quiet():
        found = decode_to(gray, inputs.model_copy(update={"mode": "gray"}), "the map")[..., 0].astype(np.float64)
    most = found.max()
    return found / most if most > 0 else found
