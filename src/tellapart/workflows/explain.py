"""The command `explain`: for each image the prediction, one map per method, and the faithfulness of the maps; also the views.

`explain` draws maps over the pixels; `explain_views` shows what is not such a map: the nearest training images, and the
frequencies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import registry
from tellapart.classifiers.base import Context
from tellapart.data.decode import decode
from tellapart.data.listing import from_paths
from tellapart.data.reader import ImageReader
from tellapart.data.regions import Cut
from tellapart.errors import DataError, unknown_name
from tellapart.explainers._frequency import Frequencies, Spectra
from tellapart.explainers._geometry import crop_read, resize_for_explaining, resize_mask
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer
from tellapart.explainers.faithfulness import Explanation, Faithfulness, faithfulness, mask_iou, noise_map, pointing_game
from tellapart.inference.context import DEFAULTS, Settings, load_classifier, resolve_device
from tellapart.inference.nearest import Nearest, NearestImages, thumbnail
from tellapart.recipe.load import check_options
from tellapart.regular_files import read_bytes
from tellapart.runs import store
from tellapart.runs.store import Run

NOISE, UNTRAINED = "noise", "untrained"
VIEWS = ("nearest", "frequency")


def explain(
    run: str | Path | Run, images: Sequence[str | Path], *, class_name: str | None = None, methods: Sequence[str] = (),
    options: Mapping[str, Any] | None = None, score: bool = False, masks: Path | None = None, seed: int = 0,
    settings: Settings = DEFAULTS,
) -> list[Explanation]:  # fmt: skip
    """Explain the predictions of a run by maps over the images.

    Args:
        run: A run, a run id or its prefix, or a path.
        images: Image files, or folders.
        class_name: The class to explain; None: the predicted class of each image.
        methods: Names of explainers; empty: grad_cam for a network on images, else occlusion.
        options: Options of the methods; every method must have them.
        score: Whether to score the faithfulness of each map, together with a noise map and the map of the same net with random
            weights.
        masks: A folder of masks with the names of the images, white where the evidence is known to lie; images without a mask
            are not scored against it.
        seed: Random seed for methods and controls.
        settings: Folders, device and progress.

    Returns:
        One explanation for each image and method, image by image.

    Raises:
        DataError: Unknown class; a mask of another size; no images.
        ImageError: An image cannot be decoded.
        RunError: A method needs a network, and the run is not one.
        RecipeError: Unknown method or option.
    """
    run = store.open_run(run, settings.runs, settings.images)
    if class_name is not None and class_name not in run.classes:
        raise DataError(unknown_name("class", class_name, run.classes), hint=f"the classes are those of {run.id}")
    model, explainers = prepare(run, methods, options or {}, seed, settings)
    control = model.reinitialized(seed) if score or masks else None
    truths = _masks_in(masks) if masks else {}
    table, found = from_paths(images, run.classes), []
    with ImageReader(table) as reader, settings.progress.task("explaining", len(table) * len(explainers), "map") as task:
        for row, path in enumerate(table.paths):
            image = ImageToExplain.read(model, reader.get(path), str(table.ids[row]))
            label = int(image.proba.argmax()) if class_name is None else run.classes.index(class_name)
            mask = _mask(truths.get(Path(image.name).stem), image)
            known: dict[str, Faithfulness] = {}  # the noise map is the same for all methods
            for explainer in explainers:
                found.append(_ExplanationJob(model, control, explainer, image, label, seed + row).run(mask, score, known))
                known = {name: score for name, score in found[-1].scores.items() if name == NOISE}
                task.advance()
    return found


def explain_views(
    run: str | Path | Run, images: Sequence[str | Path], names: Sequence[str] = VIEWS, *, settings: Settings = DEFAULTS
) -> list[Views]:
    """Compare images with the training images of a run.

    Args:
        run: A run, a run id or its prefix, or a path; of any family. Its training images must still be readable.
        images: Image files, or folders.
        names: Names of views, from `VIEWS`.
        settings: Folders, device and progress.

    Returns:
        One entry for each image.

    Raises:
        DataError: Unknown view; no images; the run has no training images.
        CorruptImages: Training images cannot be read any more.
        ImageError: An image cannot be decoded.
    """
    for name in names:
        if name not in VIEWS:
            raise DataError(unknown_name("view", name, VIEWS))
    run = store.open_run(run, settings.runs, settings.images)
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


def prepare(
    run: Run, methods: Sequence[str], options: Mapping[str, Any], seed: int, settings: Settings
) -> tuple[ExplainedModel, list[Explainer]]:
    """Load a run for explainers, and build the explainers, with the arguments of `explain`.

    Raises:
        RecipeError: Unknown method or option.
    """
    model = ExplainedModel(
        load_classifier(run), Context(device=resolve_device(settings.device), parents=_RunFinder(settings)), run.id
    )
    names = [name.replace("-", "_") for name in methods] or [_default_method(model)]
    return model, [_build(name, options, seed) for name in names]


@dataclass(frozen=True, eq=False)
class ImageToExplain:
    """An image and its prediction.

    Attributes:
        name: Name of the image.
        pixels: (H, W, 3) uint8, cropped and downsampled if necessary.
        full_size: (height, width) of the image.
        size: (height, width) of the region that the run reads, before downsampling.
        proba: (C,) float32, prediction on the original image.
        crop: Box of the region in the image; None: the whole image.
    """

    name: str
    pixels: np.ndarray
    full_size: tuple[int, int]
    size: tuple[int, int]
    proba: np.ndarray
    crop: Cut | None

    @classmethod
    def read(cls, model: ExplainedModel, content: bytes | np.ndarray, name: str) -> ImageToExplain:
        """Decode and predict an image.

        Raises:
            ImageError: It cannot be decoded, or is too large.
        """
        inputs = model.original.recipe.inputs
        whole = decode(content, mode="rgb", path=name, max_pixels=inputs.max_pixels)
        part = crop_read(content, whole.shape[:2], inputs, name)
        read = whole[part[1] : part[3], part[0] : part[2]] if part else whole
        pixels = resize_for_explaining(np.ascontiguousarray(read), model.inputs, name)
        return cls(name, pixels, whole.shape[:2], read.shape[:2], model.predict_one(content), part)


@dataclass(frozen=True, eq=False)
class Views:
    """The views of one image.

    Attributes:
        image: Name of the image.
        pixels: (H, W, 3) uint8, downsampled for display.
        nearest: The most similar training images; None if not requested.
        frequency: The frequencies; None if not requested.
    """

    image: str
    pixels: np.ndarray
    nearest: Nearest | None = None
    frequency: Frequencies | None = None

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain JSON values, one for each view."""
        found = {"nearest": self.nearest, "frequency": self.frequency}
        return [{"image": self.image, "view": name, **of.to_dict()} for name, of in found.items() if of is not None]


class _RunFinder:
    """Find the folder of a run by its name."""

    def __init__(self, settings: Settings) -> None:
        self.runs = settings.runs

    def __call__(self, name: str) -> Path:
        return store.open_parent(name, self.runs).folder


@dataclass(frozen=True, eq=False)
class _ExplanationJob:
    """One map of one image."""

    model: ExplainedModel
    control: ExplainedModel | None
    explainer: Explainer
    image: ImageToExplain
    label: int
    seed: int

    def run(self, mask: np.ndarray | None, score: bool, known: Mapping[str, Faithfulness]) -> Explanation:
        """Compute the map, its scores and those of the controls. `mask`: (H, W) bool or None; `known`: scores of controls."""
        pixels, proba = self.image.pixels, self.image.proba
        heatmap = self.explainer(self.model, pixels, self.label)
        maps = {heatmap.method: heatmap.values} | (self._controls() if score or mask is not None else {})
        scores = {n: known.get(n) or self._faithfulness(v) for n, v in maps.items()} if score else {}
        classes = self.model.classes
        shares = dict(zip(classes, map(float, proba), strict=True))
        return Explanation(
            self.image.name, pixels, classes[int(proba.argmax())], shares, heatmap, scores,
            {name: pointing_game(v, mask) for name, v in maps.items()} if mask is not None else {},
            {name: mask_iou(v, mask) for name, v in maps.items()} if mask is not None else {},
            None if mask is None else float(mask.mean()),
            self.image.size if self.image.size != pixels.shape[:2] else None,
            self.image.crop,
        )  # fmt: skip

    def _faithfulness(self, values: np.ndarray) -> Faithfulness:
        return faithfulness(self.model, self.image.pixels, values, self.label, self.seed)

    def _controls(self) -> dict[str, np.ndarray]:
        pixels = self.image.pixels
        found = {NOISE: noise_map(pixels.shape[0], pixels.shape[1], self.seed)}
        if self.control is not None:
            found[UNTRAINED] = self.explainer(self.control, pixels, self.label).values
        return found


def _default_method(model: ExplainedModel) -> str:
    sees_images = model.network is not None and model.network.recipe.features is None
    return "grad_cam" if sees_images else "occlusion"


def _build(name: str, options: Mapping[str, Any], seed: int) -> Explainer:
    explainer = registry.find("explainers", name)
    return explainer(check_options(explainer.Options, options, f"method {name}"), seed)


def _masks_in(folder: Path) -> dict[str, Path]:
    """File name without extension → file."""
    if not folder.is_dir():
        hint = "masks are files with the names of the images, white where the evidence is known to lie"
        raise DataError(f"{folder}: no such folder", hint=hint)
    return {path.stem: path for path in sorted(folder.iterdir(), reverse=True) if path.is_file()}


def _mask(file: Path | None, image: ImageToExplain) -> np.ndarray | None:
    """Read the mask of an image, (H, W) bool: True where it is brighter than half gray."""
    if file is None:
        return None
    mask = decode(read_bytes(file), mode="gray", path=str(file))[..., 0] > 127
    if mask.shape != image.full_size:
        (height, width), size = mask.shape, image.full_size
        raise DataError(
            f"{file}: the mask is {height}×{width} (height × width), but {Path(image.name).name} is {size[0]}×{size[1]}"
        )
    if image.crop:
        mask = mask[image.crop[1] : image.crop[3], image.crop[0] : image.crop[2]]
    return resize_mask(mask, *image.pixels.shape[:2])
