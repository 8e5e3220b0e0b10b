"""Native windows beside resizing, under damage: what the same descriptors and classifier lose by how a picture is read.

    python benchmarks/native_crops.py ../shared/data --json benchmarks/results/native_crops.json

One recipe reads the same images in four ways: resampled to a square; one native window from the middle; five native windows,
answers averaged (`family: crops`); and, where the images are small, whole. Every way learns from the same images as they are,
and is judged on images that it did not learn from, as they are and after JPEG and scaling, as `tellapart robustness`
damages them.

scenes: 120 photographs of 1280×720, windows of 256; five folds, the near twins that a real picture and its edit are kept in one
fold, answers pooled. deepfake5: 4,000 pictures of 100×100, windows of 64; the test part stays closed, one fifth of the rest
judges. Intervals and tests take twins as one unit.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

import tellapart as ta
from tellapart import registry
from tellapart.classifiers.base import Context, groups_of
from tellapart.data.cache import PixelCache, resolve_inputs
from tellapart.data.decode import decode
from tellapart.data.memory import from_bytes
from tellapart.data.reader import ImageReader
from tellapart.data.split import carve_validation, folds
from tellapart.metrics.mcnemar import compare
from tellapart.metrics.score_all import score_all
from tellapart.perturbations.kinds import PERTURBATIONS, as_png
from tellapart.recipe import load as recipes
from tellapart.runs.environment import describe_environment
from tellapart.types import ImageTable, Predictions

_ALIKE = 0.9  # correlation of 32×18 gray thumbnails above which two scenes are twins


def readings(name: str, size: int, whole: bool) -> dict[str, recipes.Recipe]:
    """The recipe `name` with four ways of reading."""
    of = recipes.load(name).model_dump(mode="json")
    within = {key: of[key] for key in ("features", "classifier", "train", "augment") if of[key] is not None}
    native = {"size": size, "mode": "rgb", "resize": "center"}
    plain = {
        f"resized to {size}": {**within, "inputs": {**native, "resize": "stretch"}},
        f"one window of {size}": {**within, "inputs": native},
        f"five windows of {size}": {"inputs": native, "classifier": {"family": "crops", "count": 5, "of": within}},
    }
    if whole:
        plain["whole, as it is"] = {**within, "inputs": {"size": "auto", "mode": "rgb", "resize": "center"}}
    return {key: recipes.parse(content, key) for key, content in plain.items()}


def scenes(data: Path) -> ImageTable:
    """The scenes, twins grouped."""
    table = ta.scan(data / "scenes.tar")
    images = PixelCache().images(table, recipes.Inputs(size=(18, 32), mode="gray")).get().reshape(len(table), -1)
    values = images - images.mean(axis=1, keepdims=True)
    values /= values.std(axis=1, keepdims=True)
    _, group = connected_components(values @ values.T / values.shape[1] > _ALIKE)
    return ImageTable(
        table.frame.assign(group=group.astype(str), split="train"), table.classes, table.root, table.positive, name="scenes"
    )


def parts(table: ImageTable, count: int, used: int) -> Iterator[tuple[ImageTable, ImageTable]]:
    """(split for learning, held out), `used` of `count` folds."""
    number = folds(table, count)
    for fold in range(used):
        yield carve_validation(table.take(number != fold), share=0.15), table.take(number == fold)


def ways(names: list[str]) -> dict[str, Any]:
    """(pixels, id) → file, by the name of the cell."""
    cells = {"undamaged": lambda pixels, _: as_png(pixels)}
    for name in names:
        for strength in PERTURBATIONS[name].strengths:
            cells[f"{name} {strength:g}"] = lambda p, i, d=PERTURBATIONS[name], s=strength: d.apply(p, s, i)
    return cells


def measure(table: ImageTable, named: dict[str, recipes.Recipe], folding: tuple[int, int], cells: dict[str, Any]) -> Any:
    """Answers of every reading to every cell, pooled over the folds; and the seconds of learning and answering."""
    answers: dict[tuple[str, str], list[Predictions]] = {}
    seconds = dict.fromkeys(named, 0.0)
    for learnt, held in parts(table, *folding):
        made = {}
        for name, one in named.items():
            start, train = time.process_time(), learnt.where(split="train")
            one = one.model_copy(update={"inputs": resolve_inputs(one.inputs, train)})
            family = registry.find("classifiers", one.classifier.family)
            made[name] = family(one).fit(train, learnt.where(split="valid"), Context(PixelCache()))
            seconds[name] += time.process_time() - start
        with ImageReader(held) as reader:
            pixels = [decode(reader.get(path), path=str(path)) for path in held.paths]
        for cell, way in cells.items():
            files = [way(p, str(i)) for p, i in zip(pixels, held.ids, strict=True)]
            asked = from_bytes(files, [-1] * len(files), held.classes, ids=held.ids.tolist())
            for name, classifier in made.items():
                start = time.process_time()
                proba = classifier.predict(asked, Context(PixelCache())).proba
                seconds[name] += time.process_time() - start
                found = Predictions(held.ids, proba, held.labels, held.classes, name, groups_of(held))
                answers.setdefault((name, cell), []).append(found)
    return {key: _joined(found) for key, found in answers.items()}, seconds


def _joined(found: list[Predictions]) -> Predictions:
    groups = None if found[0].groups is None else np.concatenate([p.groups for p in found if p.groups is not None])
    return Predictions(
        np.concatenate([p.ids for p in found]), np.concatenate([p.proba for p in found]),
        np.concatenate([p.labels for p in found]), found[0].classes, found[0].run_id, groups,
    )  # fmt: skip


def rows(answers: dict[tuple[str, str], Predictions], positive: str | None) -> list[dict[str, Any]]:
    """One row a reading and cell: accuracy, log loss, and the paired test against the first reading in the same cell."""
    first, found = next(iter(answers))[0], []
    for (name, cell), one in answers.items():
        scores = score_all(one, positive)
        row = {"reading": name, "cell": cell, "n": len(one)}
        row |= {key: scores[key].to_dict() for key in ("accuracy", "log_loss", "auroc") if key in scores}
        if name != first:
            found_by = compare(one, answers[first, cell])
            row |= {"better_by": found_by.difference.to_dict(), "p": found_by.test.p_value}
        found.append(row)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-r", "--recipe", nargs="*", default=["spectrum-linear"])
    parser.add_argument("--damage", nargs="*", default=["jpeg", "scale"])
    parser.add_argument("--sets", nargs="*", default=["deepfake5", "scenes"])
    parser.add_argument("--json", type=Path, default=Path("native_crops.json"))
    asked = parser.parse_args()
    content: dict[str, Any] = {"machine": describe_environment("cpu"), "rows": []}
    for name in asked.recipe:
        for data in asked.sets:
            if data == "scenes":
                table, named, folding = scenes(asked.data), readings(name, 256, whole=False), (5, 5)
            else:
                whole = ta.split(ta.scan(asked.data / "deepfake5.tar"))
                open_ = np.isin(whole.frame["split"].to_numpy(dtype=object), ("train", "valid"))
                table = whole.take(open_)
                named, folding = readings(name, 64, whole=True), (5, 1)
            answers, seconds = measure(table, named, folding, ways(asked.damage))
            for row in rows(answers, table.positive):
                content["rows"].append({"set": data, "recipe": name, **row})
                accuracy = row["accuracy"]
                shown = f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}] n={row['n']:,}"
                more = f"{100 * row['better_by']['value']:+.1f} points, p = {row['p']:.3f}" if "p" in row else ""
                print(f"{data:10} {name:16} {row['reading']:20} {row['cell']:12} {shown} {more}", flush=True)
            content["processor_seconds"] = content.get("processor_seconds", {}) | {f"{data} {name}": seconds}
            asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
