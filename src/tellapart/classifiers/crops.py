"""A classifier on the picture's own pixels: windows of it, never resampled, each answered by itself, the answers averaged.

Resizing a large picture to the size that a classifier reads is a low-pass filter, and what generators and editors leave lies
in the high frequencies. Here windows of `inputs.size` are cut out of the picture as it is. A recipe is fitted within: each
window of a training image is one image for it, with that image's label. A picture that is smaller than the window is continued
by reflection (`inputs.resize: center`); one with no room for several windows has fewer. The mean of probabilities is that of
Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks", section 4.1, who
averaged the answers to ten crops.

Windows are cut by `inputs.region: box` of the recipe within, so that their pixels are cached as others are, and any family can
learn from them.
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
from tellapart.recipe.schema import OptionsModel
from tellapart.types import ImageTable

#: Columns of the table of windows; `inputs.region.box` of the recipe within names them.
_COLUMNS = ("window left", "window top", "window right", "window bottom")
#: Where windows lie, as shares of the room there is: (from the left, from the top).
_FIVE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5))


class Crops(Classifier):
    """A recipe on windows at native resolution.

    Attributes:
        inner: The classifier of windows.
    """

    inner: Classifier

    class Options(OptionsModel):
        """Options of `family: crops`."""

        count: Literal[1, 4, 5, 9, 16] = Field(
            default=5,
            description="windows of an image, whose answers are averaged: 1 the center; 5 the corners and the center; "
            "4, 9, 16 an even grid from rim to rim",
        )
        learnt: int = Field(
            default=0, ge=0, le=64, description="windows of a training image, at random places; 0: those of `count`"
        )
        of: dict[str, Any] = Field(description="the recipe that is fitted to the windows, without `inputs` and `seed`")

        @field_validator("of")
        @classmethod
        def _check_of(cls, of: dict[str, Any]) -> dict[str, Any]:
            if {"inputs", "seed", "extends"} & set(of):
                raise ValueError("`inputs` and `seed` stand in the recipe itself, and `extends` is not possible")
            try:
                content = parse(of, "of").model_dump(mode="json", exclude={"inputs", "seed"})
            except RecipeError as error:
                raise ValueError(error.message) from None
            if content["classifier"]["family"] in ("metadata", "crops"):
                raise ValueError(
                    "windows are pixels: `metadata` looks at files, and `crops` within `crops` at windows of windows"
                )
            return {name: section for name, section in content.items() if section is not None}

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """See `Classifier`; inputs must not resample, and what the family within has to say."""
        if recipe.inputs.resize != "center":
            hint = "-s inputs.resize=center -s inputs.size=128"
            raise RecipeError(f"crops: nothing is resampled, but inputs.resize is {recipe.inputs.resize}", hint=hint)
        inner = parse(recipe.classifier.options["of"], "of")
        registry.find("classifiers", inner.classifier.family).check(inner)

    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None:
        recipe = self._recipe_within()
        random = np.random.default_rng(self.recipe.seed) if self.options.learnt else None
        learnt, counts = self._windows(train, context, random)
        chosen, _ = self._windows(valid, context)
        self.inner = registry.find("classifiers", recipe.classifier.family)(recipe).fit(learnt, chosen, context)
        context.notes.append(f"learnt from {len(learnt):,} windows of {len(counts):,} images, none of them resampled")

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        if not len(table):
            return np.empty((0, len(self.classes)))
        windows, counts = self._windows(table, context)
        proba = self.inner.predict(windows, context).proba.astype(np.float64)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.add.reduceat(proba, starts, axis=0) / counts[:, None]

    def _recipe_within(self) -> Recipe:
        """The recipe of windows: the same size, cut by the columns of the table of windows."""
        box = {"box": {"columns": _COLUMNS, "corners": True}}
        inputs = {**self.recipe.inputs.model_dump(mode="json"), "region": box, "keep": 1.0}
        return parse({**self.options.of, "inputs": inputs, "seed": self.recipe.seed}, "of")

    def _windows(
        self, table: ImageTable, context: Context, random: np.random.Generator | None = None
    ) -> tuple[ImageTable, np.ndarray]:
        """One row a window, those of an image after each other and in a group; and how many each image has: (N,) int64."""
        areas = _areas(table, self.recipe.inputs, context)
        places = np.array(_FIVE if self.options.count == 5 else _grid(self.options.count))
        found = []
        for area in areas:
            shares = places if random is None else random.random((self.options.learnt, 2))
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
        """Those of the classifier of windows."""
        return self.inner.parameters

    @property
    def pretrained(self) -> str:
        """Whose weights the classifier of windows started from."""
        return self.inner.pretrained

    def _save(self, folder: Path) -> None:
        self.inner.save(folder / "inner")

    def _load(self, folder: Path) -> None:
        self.inner = Member(str(folder / "inner")).load_classifier(Path)


def _areas(table: ImageTable, inputs: Any, context: Context) -> list[tuple[int, int, int, int]]:
    """The part of each image that windows are cut from, in pixels: all of it, its center, or its region."""
    found, areas = context.cache.found(table, inputs), []
    with ImageReader(table) as reader:
        for row, path in enumerate(table.paths):
            height, width, _ = header(reader.get(path), str(path))
            areas.append(crop_box((width, height), inputs, NOTHING if found is None else found[row], str(path)))
    return areas


def _grid(count: int) -> list[tuple[float, float]]:
    """Shares of the room, a square grid from rim to rim; of one window the middle.

    >>> _grid(4)
    [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    """
    side = round(count**0.5)
    steps = [i / (side - 1) for i in range(side)] if side > 1 else [0.5]
    return [(across, down) for down in steps for across in steps]


def _cut(area: tuple[int, int, int, int], shares: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Windows in an area, those that are equal once.

    Args:
        area: Left, top, right, bottom in pixels.
        shares: (K, 2) in [0, 1], where windows lie in the room that there is, from the left and from the top.
        size: (height, width) of a window; of an area that is smaller, all of it.

    Returns:
        (M, 4) int64, left, top, right and bottom, 1 ≤ M ≤ K, from the top left to the bottom right.
    """
    left, top, right, bottom = area
    height, width = min(size[0], bottom - top), min(size[1], right - left)
    room = np.array([right - left - width, bottom - top - height])
    first = np.array([left, top]) + np.rint(shares * room).astype(np.int64)
    return np.unique(np.concatenate([first, first + np.array([width, height])], axis=1), axis=0)
