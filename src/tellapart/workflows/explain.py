"""The verb `explain`: pictures in; for each the answer and one map a method, and how far the maps can be believed."""

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
from tellapart.runs import store
from tellapart.runs.store import Run

NOISE, UNTRAINED = "noise", "untrained"
VIEWS = ("nearest", "frequency")


def explain(
    run: str | Path | Run, images: Sequence[str | Path], *, class_name: str | None = None, methods: Sequence[str] = (),
    options: Mapping[str, Any] | None = None, score: bool = False, masks: Path | None = None, seed: int = 0,
    settings: Settings = DEFAULTS,
) -> list[Explanation]:  # fmt: skip
    """Where a run looks.

    Args:
        run: A run, an id, the beginning of one, or a path.
        images: Files, or folders of them.
        class_name: The class whose evidence is shown; None: for each picture the most probable one.
        methods: Names of explainers; none: grad_cam for a network on images, else occlusion.
        options: Of the methods, all of which must know them.
        judged: Score each map, beside a map of noise and that of the same net with random weights.
        masks: A folder of masks, named as the pictures are: where the truth is known to lie. Others are not scored
            by it.
        seed: Of methods and controls that draw.
        settings: Folder of the runs, device, progress, …

    Returns:
        Picture by picture, method by method.

    Raises:
        DataError: Unknown class; a mask of another size; nothing to explain.
        ImageError: A picture cannot be decoded.
        RunError: A method of networks, and this is none.
        RecipeError: Unknown method or option.
    """
    run = store.open_run(run, settings.runs)
    if class_name is not None and class_name not in run.classes:
        raise DataError(unknown_name(f"class of {run.id}", class_name, run.classes))
    model, explainers = prepare(run, methods, options or {}, seed, settings)
    control = model.reinitialized(seed) if score or masks else None
    truths = _masks_in(masks) if masks else {}
    table, found = from_paths(images, run.classes), []
    with ImageReader(table) as reader, settings.progress.task("explaining", len(table) * len(explainers), "map") as task:
        for row, path in enumerate(table.paths):
            asked = ImageToExplain.read(model, reader.get(path), str(table.ids[row]))
            label = int(asked.proba.argmax()) if class_name is None else run.classes.index(class_name)
            mask = _mask(truths.get(Path(asked.name).stem), asked)
            known: dict[str, Faithfulness] = {}  # the map of noise is the same for all methods
            for explainer in explainers:
                found.append(_ExplanationJob(model, control, explainer, asked, label, seed + row).done(mask, score, known))
                known = {name: score for name, score in found[-1].scores.items() if name == NOISE}
                task.advance()
    return found


def explain_views(
    run: str | Path | Run, images: Sequence[str | Path], names: Sequence[str] = VIEWS, *, settings: Settings = DEFAULTS
) -> list[Views]:
    """Look at pictures beside the images that a run has learnt from.

    Args:
        run: A run, an id, the beginning of one, or a path; of any family. Its training images must still be where they were.
        images: Files, or folders of them.
        names: Of `VIEWS`.
        settings: Folder of the runs, device, progress, …

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
    run = store.open_run(run, settings.runs)
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
    """A run as explainers see it, and the explainers, as `explain` takes them.

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
    """A picture and what a run says of it.

    Attributes:
        name: What the picture was called.
        pixels: (H, W, 3) uint8, shrunk where it must be.
        whole: (height, width) of the picture.
        size: (height, width) of the part of it that is read, before it was shrunk.
        proba: (C,) float32, of the picture as it is.
        part: What of the picture `pixels` are; None: all of it.
    """

    name: str
    pixels: np.ndarray
    full_size: tuple[int, int]
    size: tuple[int, int]
    proba: np.ndarray
    crop: Cut | None

    @classmethod
    def read(cls, model: ExplainedModel, content: bytes | np.ndarray, name: str) -> ImageToExplain:
        """Decode a picture and ask about it.

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


class _RunFinder:
    """From the name of a run to its folder."""

    def __init__(self, settings: Settings) -> None:
        self.runs = settings.runs

    def __call__(self, name: str) -> Path:
        return store.open_run(name, self.runs).folder


@dataclass(frozen=True, eq=False)
class _ExplanationJob:
    """One map under way."""

    model: ExplainedModel
    control: ExplainedModel | None
    explainer: Explainer
    asked: ImageToExplain
    label: int
    seed: int

    def done(self, mask: np.ndarray | None, judged: bool, known: Mapping[str, Faithfulness]) -> Explanation:
        """The map, its scores and those of the controls. `mask`: (H, W) bool or None; `known`: scores of controls."""
        pixels, proba = self.asked.pixels, self.asked.proba
        heatmap = self.explainer(self.model, pixels, self.label)
        maps = {heatmap.method: heatmap.values} | (self._controls() if judged or mask is not None else {})
        scores = {n: known.get(n) or self._judged(v) for n, v in maps.items()} if judged else {}
        classes = self.model.classes
        shares = dict(zip(classes, map(float, proba), strict=True))
        return Explanation(
            self.asked.name, pixels, classes[int(proba.argmax())], shares, heatmap, scores,
            {name: pointing_game(v, mask) for name, v in maps.items()} if mask is not None else {},
            {name: mask_iou(v, mask) for name, v in maps.items()} if mask is not None else {},
            None if mask is None else float(mask.mean()),
            self.asked.size if self.asked.size != pixels.shape[:2] else None,
            self.asked.crop,
        )  # fmt: skip

    def _judged(self, values: np.ndarray) -> Faithfulness:
        return faithfulness(self.model, self.asked.pixels, values, self.label, self.seed)

    def _controls(self) -> dict[str, np.ndarray]:
        pixels = self.asked.pixels
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
    """Name without ending → file."""
    if not folder.is_dir():
        hint = "masks are files named as the pictures, white where the truth is known to lie"
        raise DataError(f"{folder}: no such folder of masks", hint=hint)
    return {path.stem: path for path in sorted(folder.iterdir(), reverse=True) if path.is_file()}


def _mask(file: Path | None, asked: ImageToExplain) -> np.ndarray | None:
    """The mask of a picture, (H, W) bool: what is brighter than half gray."""
    if file is None:
        return None
    mask = decode(file.read_bytes(), mode="gray", path=str(file))[..., 0] > 127
    if mask.shape != asked.full_size:
        (height, width), size = mask.shape, asked.full_size
        raise DataError(f"{file}: is {height}×{width}, but {Path(asked.name).name} is {size[0]}×{size[1]}")
    if asked.crop:
        mask = mask[asked.crop[1] : asked.crop[3], asked.crop[0] : asked.crop[2]]
    return resize_mask(mask, *asked.pixels.shape[:2])
