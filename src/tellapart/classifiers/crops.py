"""Multi-crop classifier: windows of an image at native resolution are classified, and their probabilities averaged.

Resizing a large image to the input size of a classifier is a low-pass filter, and the traces of generators and editors are in
the high frequencies. Here windows of `inputs.size` are cut out without resampling. An inner recipe is fitted to the windows;
each window of a training image has the label of its image. An image that is smaller than the window is padded by reflection
(`inputs.resize: center`); an image without room for several windows has fewer. Averaging over crops: Krizhevsky, Sutskever &
Hinton 2012, "ImageNet classification with deep convolutional neural networks", section 4.1, with ten crops.

Windows are cut by `inputs.region: box` of the inner recipe, so their pixels are cached like those of images, and every family
can be the inner one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from tellapart import registry
from tellapart.classifiers._ensemble_members import Member
from tellapart.classifiers.base import Classifier, Context, groups_of
from tellapart.data.decode import header, target_size
from tellapart.data.reader import ImageReader
from tellapart.data.regions import NOTHING, crop_box
from tellapart.errors import RecipeError
from tellapart.recipe.load import Recipe, parse
from tellapart.recipe.schema import Inputs, OptionsModel
from tellapart.types import ImageTable

#: Columns of the table of windows; `inputs.region.box` of the inner recipe names them.
_COLUMNS = ("window left", "window top", "window right", "window bottom")
#: Positions of the windows, relative to the free space: (from the left, from the top).
_FIVE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5))


class Crops(Classifier):
    """A recipe applied to windows at native resolution.

    Attributes:
        inner: The classifier of the windows.
    """

    inner: Classifier

    class Options(OptionsModel):
        """Options of `family: crops`."""

        count: Literal[1, 4, 5, 9, 16] = Field(
            default=5,
            description="number of windows per image, whose probabilities are averaged: 1: the center; 5: the corners and the "
            "center; 4, 9, 16: a regular grid from border to border",
        )
        train_windows: int = Field(
            default=0, ge=0, le=64, description="number of random windows per training image; 0: the windows of `count`"
        )
        of: dict[str, Any] = Field(description="inner recipe, fitted to the windows, without `inputs` and `seed`")

        @field_validator("of")
        @classmethod
        def _check_of(cls, of: dict[str, Any]) -> dict[str, Any]:
            if {"inputs", "seed", "extends"} & set(of):
                raise ValueError("remove `inputs`, `seed` and `extends`: inputs and seed are those of the outer recipe")
            try:
                content = parse(of, "of").model_dump(mode="json", exclude={"inputs", "seed"})
            except RecipeError as error:
                raise ValueError(error.message) from None
            if content["classifier"]["family"] in ("metadata", "crops"):
                raise ValueError("expected a family that classifies pixels, other than `crops` itself")
            return {name: section for name, section in content.items() if section is not None}

    options: Options

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """See `Classifier`; inputs must not resample, and the inner recipe must be valid."""
        if recipe.inputs.resize != "center":
            hint = "-s inputs.resize=center -s inputs.size=128"
            raise RecipeError(f"crops: expected inputs.resize: center, found {recipe.inputs.resize}", hint=hint)
        inner = parse(recipe.classifier.options["of"], "of")
        registry.find("classifiers", inner.classifier.family).check(inner)

    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None:
        recipe = self._inner_recipe()
        random = np.random.default_rng(self.recipe.seed) if self.options.train_windows else None
        train_windows, counts = self._windows(train, context, random)
        valid_windows, _ = self._windows(valid, context)
        self.inner = registry.find("classifiers", recipe.classifier.family)(recipe).fit(train_windows, valid_windows, context)
        context.notes.append(f"fitted to {len(train_windows):,} windows of {len(counts):,} images, without resampling")

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        if not len(table):
            return np.empty((0, len(self.classes)))
        windows, counts = self._windows(table, context)
        proba = self.inner.predict(windows, context).proba.astype(np.float64)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.add.reduceat(proba, starts, axis=0) / counts[:, None]

    def _inner_recipe(self) -> Recipe:
        """The recipe of the windows: the same size, cut by the columns of the table of windows."""
        box = {"box": {"columns": _COLUMNS, "corners": True}}
        inputs = {**self.recipe.inputs.model_dump(mode="json"), "region": box, "keep": 1.0}
        return parse({**self.options.of, "inputs": inputs, "seed": self.recipe.seed}, "of")

    def _windows(
        self, table: ImageTable, context: Context, random: np.random.Generator | None = None
    ) -> tuple[ImageTable, np.ndarray]:
        """A table of windows, grouped by image, and the number of windows of each image: (N,) int64."""
        areas = _areas(table, self.recipe.inputs, context)
        places = np.array(_FIVE if self.options.count == 5 else _grid(self.options.count))
        found = []
        for area in areas:
            shares = places if random is None else random.random((self.options.train_windows, 2))
            found.append(_cut(area, shares, target_size(self.recipe.inputs)))
        counts = np.array([len(windows) for windows in found], dtype=np.int64)
        windows = np.concatenate(found) if found else np.empty((0, 4), dtype=np.int64)
        rows = np.repeat(np.arange(len(table)), counts)
        groups = groups_of(table)
        frame = table.frame.iloc[rows].reset_index(drop=True)
        names = [f"{name} at {left},{top}" for name, (left, top, *_) in zip(table.ids[rows], windows.tolist(), strict=True)]
        columns = {name: windows[:, place] for place, name in enumerate(_COLUMNS)}
        group = (table.ids if groups is None else groups)[rows]
        return replace(table, frame=frame.assign(id=names, group=group, **columns)), counts

    @property
    def parameters(self) -> int:
        """Number of values of the inner classifier."""
        return self.inner.parameters

    @property
    def pretrained(self) -> str:
        """Source of the pretrained weights of the inner classifier."""
        return self.inner.pretrained

    def _save(self, folder: Path) -> None:
        self.inner.save(folder / "inner")

    def _load(self, folder: Path) -> None:
        self.inner = Member(str(folder / "inner")).load_classifier(Path)


def _areas(table: ImageTable, inputs: Inputs, context: Context) -> list[tuple[int, int, int, int]]:
    """The area of each image that windows are cut from, in pixels: the whole image, its center, or its region."""
    found, areas = context.cache.found(table, inputs), []
    with ImageReader(table) as reader:
        for row, path in enumerate(table.paths):
            height, width, _ = header(reader.get(path), str(path))
            areas.append(crop_box((width, height), inputs, NOTHING if found is None else found[row], str(path)))
    return areas


def _grid(count: int) -> list[tuple[float, float]]:
    """Relative positions of a square grid from border to border; for one window the center.

    >>> _grid(4)
    [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    """
    side = round(count**0.5)
    steps = [i / (side - 1) for i in range(side)] if side > 1 else [0.5]
    return [(across, down) for down in steps for across in steps]


def _cut(area: tuple[int, int, int, int], shares: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Distinct windows in an area.

    Args:
        area: Left, top, right, bottom in pixels.
        shares: (K, 2) float64 in [0, 1], relative positions in the free space, from the left and from the top.
        size: (height, width) of a window; a smaller area is one window.

    Returns:
        (M, 4) int64, left, top, right and bottom in pixels, 1 ≤ M ≤ K, sorted by left, then top.
    """
    left, top, right, bottom = area
    height, width = min(size[0], bottom - top), min(size[1], right - left)
    room = np.array([right - left - width, bottom - top - height])
    first = np.array([left, top]) + np.rint(shares * room).astype(np.int64)
    return np.unique(np.concatenate([first, first + np.array([width, height])], axis=1), axis=0)
