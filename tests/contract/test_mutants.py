"""The checkers can fail: of each kind a class that keeps every promise, and mutants of it that break one, which is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from tellapart import plugins
from tellapart.plugins import (
    Augmentation,
    CheckResult,
    Claim,
    Combiner,
    Context,
    DatasetView,
    Descriptor,
    ExplainedModel,
    Explainer,
    FeatureClassifier,
    Forgery,
    GlobalPool,
    HeadedNet,
    HealthCheck,
    ImageTable,
    Layout,
    LayoutOptions,
    LayoutRows,
    Listing,
    MixAugmentation,
    MixedBatch,
    Net,
    PluginError,
    Recipe,
    RunLogger,
    StagedNet,
    dense_head,
    image_shape,
    passed,
)


class Crash(Exception):
    """What a mutant dies of."""


# --- descriptors ------------------------------------------------------------------------------------------------------


class Means(Descriptor):
    def __call__(self, images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)


class CrashingMeans(Means):
    def __call__(self, images: np.ndarray) -> np.ndarray:
        raise Crash


class NanMeans(Means):
    def __call__(self, images: np.ndarray) -> np.ndarray:
        found = super().__call__(images)
        return found / np.where(found > 0, 1, np.nan).astype(np.float32)  # only black images give NaN


class LeakyMeans(Means):
    def __call__(self, images: np.ndarray) -> np.ndarray:
        found = super().__call__(images)
        return found - found.mean(axis=0) if len(found) else found


class ChangingMeans(Means):
    def __call__(self, images: np.ndarray) -> np.ndarray:
        found = super().__call__(images)
        images[:] = images // 2
        return found


class ForgetfulMeans(Means):
    """What it learns is not in `arrays`."""

    most = 1.0

    def fit(self, images: Any, labels: Any, context: Any) -> None:
        self.most = float(images.get().max())

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return super().__call__(images) / np.float32(self.most)


# --- health checks ----------------------------------------------------------------------------------------------------


class Dark(HealthCheck):
    def _run(self, evidence: DatasetView) -> CheckResult:
        dark = self._scores(evidence) > 0.5
        if not dark.any():
            return passed(len(dark), "no image is dark")
        return CheckResult("notice", "some are dark", "look at them", self._scores(evidence), dark)

    def _scores(self, evidence: DatasetView) -> np.ndarray:
        return (1 - evidence.thumbnails.mean(axis=(1, 2, 3)) / 255).astype(np.float32) * evidence.readable


class CrashingDark(Dark):
    def _scores(self, evidence: DatasetView) -> np.ndarray:
        raise Crash


class NanDark(Dark):
    def _scores(self, evidence: DatasetView) -> np.ndarray:
        found = super()._scores(evidence)
        return np.where(found == found.max(initial=0), np.float32("nan"), found) if len(found) > 1 else found

    def _run(self, evidence: DatasetView) -> CheckResult:
        scores = self._scores(evidence)
        return CheckResult("notice", "some are dark", "look at them", scores, scores > 0.5)


class UnseededDark(Dark):
    def _scores(self, evidence: DatasetView) -> np.ndarray:
        return np.random.default_rng().random(len(evidence.table)).astype(np.float32)


class ChangingDark(Dark):
    def _scores(self, evidence: DatasetView) -> np.ndarray:
        evidence.table.frame["label"] = 0
        return super()._scores(evidence)


# --- nets -------------------------------------------------------------------------------------------------------------


class Small(Net):
    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Any) -> HeadedNet:
        return _body(shape, classes, nn.Identity())


class CrashingSmall(Small):
    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Any) -> HeadedNet:
        return _body(shape, classes, _Does(lambda x: x.view(-1, 7, 11)))


class NanSmall(Small):
    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Any) -> HeadedNet:
        return _body(shape, classes, _Does(lambda x: x.log()))


class LeakySmall(Small):
    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Any) -> HeadedNet:
        return _body(shape, classes, _Does(lambda x: x - x.mean(0)))


class ChangingSmall(Small):
    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Any) -> HeadedNet:
        return _body(shape, classes, _Does(lambda x: x.clamp_(-1, 1)))


class UngroupedSmall(Small):
    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Any) -> HeadedNet:
        body = _body(shape, classes, nn.Identity())
        body.groups = lambda: [list(body.head.parameters())]  # type: ignore[method-assign]
        return body


class _Does(nn.Module):
    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.does = does

    def forward(self, x: Tensor) -> Tensor:
        return self.does(x)


def _body(shape: tuple[int, ...], classes: int, first: nn.Module) -> StagedNet:
    channels, _, _ = image_shape(shape, "small")
    stem = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(inplace=True))
    return StagedNet(nn.Sequential(first, stem, GlobalPool()), dense_head(4, classes))


# --- augmentations ----------------------------------------------------------------------------------------------------


class Invert(Augmentation):
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        inverted = torch.rand(len(images), generator=generator) < 0.5
        return torch.where(inverted[:, None, None, None], 255 - images, images)


class CrashingInvert(Invert):
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return super().__call__(images.view(len(images), 3, -1), generator)


class NanInvert(Invert):
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return super().__call__(images, generator) / images.float().amax()


class LeakyInvert(Invert):
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return super().__call__(images, generator).roll(1, 0)


class ChangingInvert(Invert):
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images.copy_(super().__call__(images, generator))


class GlobalInvert(Invert):
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return 255 - images if torch.rand(1) < 0.5 else images


class Half(MixAugmentation):
    share = 0.5

    def mix(self, images: Tensor, generator: torch.Generator) -> MixedBatch:
        partner = torch.randperm(len(images), generator=generator)
        mixed = (images.float() + images[partner].float()) / 2
        return MixedBatch(mixed.round().to(torch.uint8), partner, torch.full((len(images),), self.share))


class WrongHalf(Half):
    share = 0.7


# --- combiners --------------------------------------------------------------------------------------------------------


class Average(Combiner):
    def _proba(self, voters: np.ndarray) -> np.ndarray:
        return voters.mean(axis=0, dtype=np.float64)


class CrashingAverage(Average):
    def _proba(self, voters: np.ndarray) -> np.ndarray:
        return super()._proba(voters[[0, 1, 2]])  # of three voters, not of one


class NanAverage(Average):
    def _proba(self, voters: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.exp(np.log(voters.astype(np.float64)).mean(axis=0))  # certain voters that disagree: 0 / 0


class LeakyAverage(Average):
    def _proba(self, voters: np.ndarray) -> np.ndarray:
        found = super()._proba(voters)
        return found / found.mean(axis=0)


class ChangingAverage(Average):
    def _proba(self, voters: np.ndarray) -> np.ndarray:
        voters += 0.1
        return super()._proba(voters)


class HoardingAverage(Average):
    seen = 0

    def _fit(self, voters: np.ndarray, labels: np.ndarray) -> None:
        self.seen += len(labels)

    def _proba(self, voters: np.ndarray) -> np.ndarray:
        return super()._proba(voters) + self.seen


# --- explainers -------------------------------------------------------------------------------------------------------


class Bright(Explainer):
    def _values(self, subject: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        return image.mean(axis=2)


class CrashingBright(Bright):
    def _values(self, subject: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        raise Crash


class NanBright(Bright):
    def _values(self, subject: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return super()._values(subject, image, label) / np.float64(image.max())


class ShapelessBright(Bright):
    def _values(self, subject: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        return np.resize(image.mean(axis=2), (16, 16))  # the size of the network's input


class UnseededBright(Bright):
    def _values(self, subject: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        return np.random.default_rng().random(image.shape[:2])


class ChangingBright(Bright):
    def _values(self, subject: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        image[0] = 0
        return super()._values(subject, image, label)


# --- forgeries --------------------------------------------------------------------------------------------------------


class Shade(Forgery):
    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros(pixels.shape[:2], bool)
        top, left = (int(rng.integers(0, side - 8)) for side in mask.shape)
        mask[top : top + 8, left : left + 8] = True
        return pixels * 0.5, mask


class CrashingShade(Shade):
    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return super()._forge(pixels.reshape(48, 48, 3), donor, rng)


class NanShade(Shade):
    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        forged, mask = super()._forge(pixels, donor, rng)
        return np.where(rng.random(forged.shape) < 0.5, np.nan, forged), mask


class RememberingShade(Shade):
    last = 0

    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        forged, mask = super()._forge(pixels, donor, rng)
        self.last += 1
        return forged + self.last, mask


class ChangingShade(Shade):
    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        pixels //= 2
        return super()._forge(pixels, donor, rng)


class IdleShade(Shade):
    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return pixels.astype(float), super()._forge(pixels, donor, rng)[1]


# --- layouts ----------------------------------------------------------------------------------------------------------


class Lists(Layout):
    """`list.txt`: a path and a label in each line."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        return Claim(0.9, "There is a file list.txt.") if "list.txt" in listing.paths else None

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        lines = listing.read(listing.paths.index("list.txt")).decode("utf-8", "replace").splitlines()
        pairs = [line.split() for line in lines if len(line.split()) == 2]
        rows = np.array([listing.paths.index(path) for path, _ in pairs], dtype=np.int64)
        return LayoutRows(
            ids=[path for path, _ in pairs],
            locators=listing.locators(rows),
            class_names=np.array([label for _, label in pairs], dtype=object),
            sizes=listing.sizes[rows],
            where=lambda row: f"list.txt:{row + 1}",
            layout="list.txt.",
            problems=[],
            split=np.full(len(pairs), "", dtype=object),
        )


class CrashingLists(Lists):
    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        if claim := super().claims(listing, options):
            listing.read(listing.paths.index("list.txt")).decode("utf-8")
        return claim


class GreedyLists(Lists):
    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        return Claim(0.2, "This could be anything.")


class CertainLists(Lists):
    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        claim = super().claims(listing, options)
        return claim and Claim(100, claim.reason)


class NumberedLists(Lists):
    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        return replace(rows := super().read(listing, options), class_names=np.arange(len(rows.ids)))


class RepeatingLists(Lists):
    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        return replace(rows := super().read(listing, options), ids=rows.class_names.tolist())


class LostLists(Lists):
    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        return replace(rows := super().read(listing, options), locators=[f"images/{name}" for name in rows.locators])


class UnpackedLists(Lists):
    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        return replace(rows := super().read(listing, options), locators=rows.ids)


class WritingLists(Lists):
    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        (Path(listing.root) / "cache.json").write_text("{}")
        return super().read(listing, options)


def _write(folder: Path) -> None:
    (folder / "pictures").mkdir()
    for name in "abcd":
        (folder / "pictures" / f"{name}.png").write_bytes(b"content of " + name.encode())
    (folder / "list.txt").write_text("".join(f"pictures/{name}.png {'cat' if name < 'c' else 'dog'}\n" for name in "abcd"))


# --- loggers ----------------------------------------------------------------------------------------------------------


class Lines(RunLogger):
    """One file a run, made anew at its start; a line a figure."""

    def __init__(self, runs: Path) -> None:
        self.folder, self.path, self.last = runs, None, 0

    def start(self, run_id: str, recipe: Recipe) -> None:
        self.path, self.last = self.folder / f"{run_id}.txt", 0
        self.path.write_text("")

    def epoch(self, entry: Mapping[str, Any]) -> None:
        if entry["epoch"] > self.last:
            self.last = entry["epoch"]
            self._write(plugins.figures(entry))

    def finish(self, scores: plugins.Scores) -> None:
        self._write(plugins.final_scores(scores))

    def close(self) -> None:
        self.path = None

    def _write(self, values: Mapping[str, float]) -> None:
        assert self.path is not None
        with self.path.open("a") as file:
            file.writelines(f"{json.dumps([name, self.last])}\n" for name in values)


class CrashingLines(Lines):
    def close(self) -> None:
        if self.path is None:
            raise Crash
        super().close()


class NanLines(Lines):
    def epoch(self, entry: Mapping[str, Any]) -> None:
        json.dumps(plugins.figures(entry), allow_nan=False)
        super().epoch(entry)


class RepeatingLines(Lines):
    def start(self, run_id: str, recipe: Recipe) -> None:
        self.path, self.last = self.folder / f"{run_id}.txt", 0
        self.path.touch()


class ChangingLines(Lines):
    def epoch(self, entry: Mapping[str, Any]) -> None:
        super().epoch(entry)
        entry.clear()  # type: ignore[attr-defined]


class MixingLines(Lines):
    def start(self, run_id: str, recipe: Recipe) -> None:
        if self.path is None:
            super().start(run_id, recipe)


def _read(runs: Path, run: str) -> list[tuple[str, int]]:
    path = runs / f"{run}.txt"
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


# --- classifiers ------------------------------------------------------------------------------------------------------


class Nearest(FeatureClassifier):
    """The nearest class mean."""

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        self.means = np.stack([X[y == c].mean(axis=0) if (y == c).any() else X[0] + 1e3 for c in range(len(self.classes))])

    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.linalg.norm(X[:, None] - self.means, axis=2))

    def _save_model(self, folder: Path) -> None:
        plugins.write_arrays(folder / "weights.safetensors", {"means": self.means})

    def _load_model(self, folder: Path) -> None:
        self.means = load_file(folder / "weights.safetensors")["means"]


class CrashingNearest(Nearest):
    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        super()._fit_vectors(X, y, X_valid, y_valid)
        self.best = X_valid.max(axis=0)  # of no rows there is no maximum


class NanNearest(Nearest):
    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        return np.full((len(X), len(self.classes)), np.nan)


class LeakyNearest(Nearest):
    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        found = super()._predict_vectors(X)
        return found / found.mean(axis=0) if len(found) else found


class ChangingNearest(Nearest):
    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        table.frame["seen"] = 1
        return super()._proba(table, context)


class PeekingNearest(Nearest):
    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        return super()._proba(table, context) + np.eye(len(self.classes))[table.labels]


class PicklingNearest(Nearest):
    def _save_model(self, folder: Path) -> None:
        super()._save_model(folder)
        (folder / "model.pkl").write_bytes(b"")


class HidingNearest(Nearest):
    def _save_model(self, folder: Path) -> None:
        save_file({"means": self.means}, folder / "weights.safetensors")  # with permissions 0600


class EagerNearest(Nearest):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.means = np.zeros(0)


# --- the tests --------------------------------------------------------------------------------------------------------

ALONE, TWICE = "rows depend on their own image alone", "deterministic"
NEAREST: dict[str, Any] = {"features": {"standardize": False}, "classifier": {"family": "nearest"}}
#: Checker → a class that keeps every promise, and mutants with the promise that each breaks.
KINDS: dict[str, tuple[type, dict[type, str]]] = {
    "descriptor": (
        Means,
        {
            CrashingMeans: "one float32 vector per image",
            NanMeans: "values are finite",
            LeakyMeans: ALONE,
            ChangingMeans: "images are not modified",
            ForgetfulMeans: "arrays hold all parameters",
        },
    ),
    "health_check": (
        Dark,
        {
            CrashingDark: "a complete result",
            NanDark: "a complete result",
            UnseededDark: TWICE,
            ChangingDark: "the table is not modified",
        },
    ),
    "net": (
        Small,
        {
            CrashingSmall: "logits for every class",
            NanSmall: "logits for every class",
            LeakySmall: ALONE,
            ChangingSmall: "inputs are not modified",
            UngroupedSmall: "every parameter is in one group",
        },
    ),
    "augmentation": (
        Invert,
        {
            CrashingInvert: "uint8 images in and out",
            NanInvert: "uint8 images in and out",
            LeakyInvert: ALONE,
            ChangingInvert: "images are not modified in place",
            GlobalInvert: "all randomness comes from the generator",
        },
    ),
    "augmentation of mixes": (Half, {WrongHalf: "a mix reports partners and shares"}),
    "combiner": (
        Average,
        {
            CrashingAverage: "rows sum to 1",
            NanAverage: "probabilities of exactly 0 and 1",
            LeakyAverage: ALONE,
            ChangingAverage: "inputs are not modified",
            HoardingAverage: "fits are independent",
        },
    ),
    "explainer": (
        Bright,
        {
            CrashingBright: "a map of the size of the image",
            NanBright: "values are finite",
            ShapelessBright: "a map of the size of the image",
            UnseededBright: TWICE,
            ChangingBright: "images are not modified",
        },
    ),
    "forgery": (
        Shade,
        {
            CrashingShade: "a forged image and its mask",
            NanShade: "finite pixels",
            RememberingShade: TWICE,
            ChangingShade: "images are not modified",
            IdleShade: "something changes inside the mask",
        },
    ),
    "logger": (
        Lines,
        {
            CrashingLines: "close at any time",
            NanLines: "metrics that are missing or not finite",
            RepeatingLines: "no value twice",
            MixingLines: "one run after another",
            ChangingLines: "entries are not modified",
        },
    ),
    "layout": (
        Lists,
        {
            CrashingLists: "damaged files are named",
            GreedyLists: "other files are not claimed",
            CertainLists: "a claim has a certainty and a reason",
            NumberedLists: "one value for each row",
            RepeatingLists: "ids are unique strings",
            LostLists: "locators can be read",
            UnpackedLists: "archives are read like folders",
            WritingLists: "files are not modified",
        },
    ),
    "classifier": (
        Nearest,
        {
            CrashingNearest: "validation may lack classes",
            NanNearest: "rows sum to 1",
            LeakyNearest: "rows depend on their own image alone",
            ChangingNearest: "tables are not modified",
            PeekingNearest: "predict ignores labels",
            PicklingNearest: "saved and loaded are equal",
            HidingNearest: "files follow the umask",
            EagerNearest: "init only stores",
        },
    ),
}
MUTANTS = [pytest.param(kind, cls, promise, id=cls.__name__) for kind, (_, of) in KINDS.items() for cls, promise in of.items()]


def _check(kind: str, cls: type, only: str | None = None) -> None:
    name = kind.partition(" ")[0]
    needed: dict[str, Any] = {
        "logger": {"read": _read}, "classifier": {"recipe": NEAREST}, "layout": {"write": _write},
    }.get(name, {})  # fmt: skip
    getattr(plugins, f"check_{name}")(cls, **needed, only=only)


@pytest.mark.parametrize("kind", KINDS)
def test_what_keeps_every_promise_passes(kind: str) -> None:
    _check(kind, KINDS[kind][0])


@pytest.mark.parametrize(("kind", "cls", "promise"), MUTANTS)
def test_a_mutant_is_caught(kind: str, cls: type, promise: str) -> None:
    with pytest.raises(PluginError, match=promise) as caught:
        _check(kind, cls, promise)
    assert caught.value.name == cls.__name__ and caught.value.promise == promise
    assert caught.value.expected and caught.value.found
    with pytest.raises(PluginError):
        _check(kind, cls)


def test_every_kind_has_mutants() -> None:
    checkers = {name.removeprefix("check_") for name in plugins.__all__ if name.startswith("check_")}
    assert checkers == {kind.partition(" ")[0] for kind in KINDS}


@pytest.mark.parametrize("kind", sorted({kind.partition(" ")[0].replace("health_", "health ") for kind in KINDS}))
def test_promises_have_a_name_and_a_sentence(kind: str) -> None:
    found = plugins.promises(kind)
    assert len(found) >= 6 and len({one.name for one in found}) == len(found)
    assert all(one.kind == kind and one.sentence.endswith(".") for one in found)


def test_unknown_kinds_and_promises_are_errors() -> None:
    with pytest.raises(ValueError, match="did you mean 'descriptor'"):
        plugins.promises("descripter")
    with pytest.raises(ValueError, match="did you mean 'values are finite'"):
        plugins.check_descriptor(Means, only="values are finit")
    with pytest.raises(plugins.RecipeError, match="no_such"):
        plugins.check_descriptor(Means, {"no_such": 1})
