"""The verb `explain`: pictures in; for each the answer and one map a method, and how far the maps can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import registry
from tellapart.bench import USUAL, Settings, device_named, load
from tellapart.data.archives import ImageReader
from tellapart.data.decode import decode
from tellapart.data.loose import from_paths
from tellapart.errors import DataError, unknown_name
from tellapart.explain._contract import Explainer, Heatmap
from tellapart.explain._faithfulness import Faithfulness, judge, noise_map, overlap, points_into
from tellapart.explain._subject import Subject
from tellapart.families._abilities import Differentiable
from tellapart.families._contract import Context
from tellapart.recipe import check_options
from tellapart.runs import store
from tellapart.runs.store import Run

NOISE, UNTRAINED = "noise", "untrained"


@dataclass(frozen=True, eq=False)
class Explained:
    """One map of one picture.

    Attributes:
        image: What the picture was called.
        pixels: (H, W, 3) uint8.
        answer: The most probable class.
        proba: Class name → probability.
        heatmap: The map, of the class that it names.
        scores: Of this map and of the controls "noise" and "untrained", where asked for and possible.
        pointing: Whether the highest pixel lies in the given mask, of each of them; empty without a mask.
        iou: Of the mask and as many of the highest pixels, of each of them; empty without a mask.
        mask_share: The share of the picture that the mask covers; None without one.
    """

    image: str
    pixels: np.ndarray
    answer: str
    proba: dict[str, float]
    heatmap: Heatmap
    scores: dict[str, Faithfulness] = field(default_factory=dict)
    pointing: dict[str, bool] = field(default_factory=dict)
    iou: dict[str, float] = field(default_factory=dict)
    mask_share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without pixels and map."""
        return {
            "image": self.image, "answer": self.answer, "probabilities": self.proba, "class": self.heatmap.class_name,
            "method": self.heatmap.method, "scores": {name: s.to_dict() for name, s in self.scores.items()},
            "pointing": self.pointing, "iou": self.iou, "mask_share": self.mask_share,
        }  # fmt: skip


def explain(
    run: str | Path | Run, images: Sequence[str | Path], *, class_name: str | None = None, methods: Sequence[str] = (),
    options: Mapping[str, Any] | None = None, judged: bool = False, masks: Path | None = None, seed: int = 0,
    settings: Settings = USUAL,
) -> list[Explained]:  # fmt: skip
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
        settings: Where and how.

    Returns:
        Picture by picture, method by method.

    Raises:
        DataError: Unknown class; a mask of another size; nothing to explain.
        ImageError: A picture cannot be decoded.
        RunError: A method of networks, and this is none.
        RecipeError: Unknown method or option.
    """
    run = run if isinstance(run, Run) else store.open_run(run, settings.runs)
    if class_name is not None and class_name not in run.classes:
        raise DataError(unknown_name(f"class of {run.id}", class_name, run.classes))
    subject = Subject(load(run), Context(device=device_named(settings.device), parents=_Finder(settings)), run.id)
    names = [name.replace("-", "_") for name in methods] or [_usual(subject)]
    explainers = [_made(name, options or {}, seed) for name in names]
    control = subject.untrained(seed) if judged or masks else None
    table, found = from_paths(images, run.classes), []
    with ImageReader(table) as reader, settings.progress.task("explaining", len(table) * len(explainers), "map") as task:
        for row, path in enumerate(table.paths):
            pixels = decode(reader.get(path), mode="rgb", path=str(table.ids[row]))
            proba = subject.ask([pixels])[0]
            label = int(proba.argmax()) if class_name is None else run.classes.index(class_name)
            mask = _mask(masks, Path(str(table.ids[row])), pixels) if masks else None
            for explainer in explainers:
                work = _Work(subject, control, explainer, pixels, label, seed + row)
                found.append(work.done(str(table.ids[row]), proba, mask, judged))
                task.advance()
    return found


class _Finder:
    """From the name of a run to its folder."""

    def __init__(self, settings: Settings) -> None:
        self.runs = settings.runs

    def __call__(self, name: str) -> Path:
        return store.open_run(name, self.runs).folder


@dataclass(frozen=True, eq=False)
class _Work:
    """One map under way."""

    subject: Subject
    control: Subject | None
    explainer: Explainer
    pixels: np.ndarray
    label: int
    seed: int

    def done(self, image: str, proba: np.ndarray, mask: np.ndarray | None, judged: bool) -> Explained:
        """The map, its scores and those of the controls. `proba`: (C,); `mask`: (H, W) bool or None."""
        heatmap = self.explainer(self.subject, self.pixels, self.label)
        maps = {heatmap.method: heatmap.values} | (self._controls() if judged or mask is not None else {})
        scores = {n: judge(self.subject, self.pixels, v, self.label, self.seed) for n, v in maps.items()} if judged else {}
        classes = self.subject.classes
        shares = dict(zip(classes, map(float, proba), strict=True))
        return Explained(
            image, self.pixels, classes[int(proba.argmax())], shares, heatmap, scores,
            {name: points_into(v, mask) for name, v in maps.items()} if mask is not None else {},
            {name: overlap(v, mask) for name, v in maps.items()} if mask is not None else {},
            None if mask is None else float(mask.mean()),
        )  # fmt: skip

    def _controls(self) -> dict[str, np.ndarray]:
        found = {NOISE: noise_map(self.pixels.shape[0], self.pixels.shape[1], self.seed)}
        if self.control is not None:
            found[UNTRAINED] = self.explainer(self.control, self.pixels, self.label).values
        return found


def _usual(subject: Subject) -> str:
    sees_images = subject.classifier.recipe.features is None
    return "grad_cam" if isinstance(subject.classifier, Differentiable) and sees_images else "occlusion"


def _made(name: str, options: Mapping[str, Any], seed: int) -> Explainer:
    explainer = registry.find("explain", name)
    return explainer(check_options(explainer.Options, options, f"method {name}"), seed)


def _mask(folder: Path, image: Path, pixels: np.ndarray) -> np.ndarray | None:
    """The mask of a picture, (H, W) bool: what is brighter than half grey in the file of the same name, of any ending."""
    files = sorted(folder.glob(f"{image.stem}.*"))
    if not files:
        return None
    mask = decode(files[0].read_bytes(), mode="grey", path=str(files[0]))[..., 0] > 127
    if mask.shape != pixels.shape[:2]:
        height, width = mask.shape
        raise DataError(f"{files[0]}: is {height}×{width}, but {image.name} is {pixels.shape[0]}×{pixels.shape[1]}")
    return mask
