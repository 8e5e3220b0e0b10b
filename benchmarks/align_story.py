"""A leak, found, cured, and what is left: check → align → compare, on pictures whose honest accuracy is known.

    python benchmarks/align_story.py ../shared/data/cifake.zip --work /tmp/story --json benchmarks/results/align_story.json

Four thousand pictures of cifake, half photographs, half diffusion fakes, half of them to be tested on or chosen by. Into a copy
go the leaks of a hasty collector: the photographs become JPEGs of quality 75 to 95 with EXIF, 30 to 32 pixels a side; the fakes
become PNGs, 28 to 32. The same recipes learn from five sets, the same pictures in the same parts each time:

    honest          no leak: every picture 28×28, PNG
    leaking         as collected
    aligned         `align` of the leaking set: PNG
    aligned jpeg    `align` of the leaking set: JPEG of quality 60 to 90
    honest jpeg     no leak, and the same JPEG: what the one before should be measured against

For each: the metadata baseline and the recipes on the test part, and the verdict of `bias` on the validation part.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import tellapart as ta
from tellapart.alignment.plan import AlignOptions
from tellapart.cli.options import progress
from tellapart.data.decode import decode
from tellapart.data.reader import ImageReader
from tellapart.runs.environment import describe_environment
from tellapart.workflows.align import align
from tellapart.workflows.check import check
from tellapart.workflows.codec_bias import codec_bias, describe

EACH, SIZE = 2000, 28
RECIPES = ("spectrum-linear", "svm-pca-rbf", "cnn-small")
JPEG = AlignOptions("jpeg", (60, 90), size=(SIZE, SIZE))


def collect(source: Path, folder: Path, *, leaking: bool) -> Path:
    """Write the pictures with a split, with or without the leaks; found again if they are there."""
    if (folder / "train.csv").exists():
        return folder
    rng, table = np.random.default_rng(0), ta.scan(source)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(table.labels == label))[:EACH] for label in (0, 1)])
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    with ImageReader(table) as reader:
        for number, row in enumerate(rng.permutation(chosen)):
            name = table.classes[table.labels[row]]
            pixels = decode(reader.get(table.paths[row]), mode="rgb")
            split = rng.choice(["train", "valid", "test"], p=[0.5, 0.15, 0.35])
            height, width = rng.integers(30 if name == "REAL" else 28, 33, 2)
            quality = int(rng.integers(75, 96))
            content, ending = encoded(pixels[:height, :width], quality if leaking and name == "REAL" else 0)
            (folder / "images" / f"{number:04}.{ending}").write_bytes(content)
            rows.append({"id": f"images/{number:04}.{ending}", "label": name, "split": split})
    pd.DataFrame(rows).to_csv(folder / "train.csv", index=False)
    return folder


def encoded(pixels: np.ndarray, quality: int) -> tuple[bytes, str]:
    """A JPEG with EXIF, or, of quality 0, a PNG."""
    file, picture = io.BytesIO(), Image.fromarray(pixels)
    if not quality:
        picture.save(file, "PNG")
        return file.getvalue(), "png"
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Camera", "One"
    picture.save(file, "JPEG", quality=quality, exif=exif)
    return file.getvalue(), "jpg"


def measured(data: Path, settings: ta.Settings, epochs: int) -> dict[str, Any]:
    """Every recipe and the metadata baseline on one set."""
    board = ta.compare(data, RECIPES, overrides=[f"train.epochs={epochs}"], settings=settings)
    found = {}
    for run in board.runs:
        asked = codec_bias(run, settings=settings)
        found[run.recipe_name] = {
            "accuracy": run.scores("test")["accuracy"].to_dict(), "auroc": run.scores("test")["auroc"].to_dict(),
            "fit_seconds": round(run.cost["fit_seconds"], 1), "bias": asked.classes[0].finding,
            "bias_in_words": describe(asked),
        }  # fmt: skip
    return found


def findings(data: Path, settings: ta.Settings) -> list[str]:
    """What `check` says of leaks."""
    health = check(data, progress=settings.progress)
    return [f"{one.name}: {one.result.summary}" for one in health.checks if one.result.severity == "leak"]


def main() -> None:
    """Everything, in order; the JSON is written after each set, and sets that are in it are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/align_story.json"))
    asked = parser.parse_args()
    settings = ta.Settings(runs=asked.work / "runs", device="cpu", progress=progress(quiet=False))
    content = json.loads(asked.json.read_text("utf-8")) if asked.json.exists() else {"sets": {}}
    content |= {"machine": describe_environment("cpu"), "epochs": asked.epochs, "images": 2 * EACH}
    clean = collect(asked.source, asked.work / "clean", leaking=False)
    leaking = collect(asked.source, asked.work / "leaking", leaking=True)
    ways = {
        "honest": (clean, AlignOptions(size=(SIZE, SIZE))), "leaking": (leaking, None), "aligned": (leaking, AlignOptions()),
        "aligned jpeg": (leaking, JPEG), "honest jpeg": (clean, JPEG),
    }  # fmt: skip
    for name, (data, choices) in ways.items():
        if name in content["sets"]:
            continue
        start, found = time.perf_counter(), {}
        if choices is not None:
            made = align(data, asked.work / name.replace(" ", "-"), options=choices, settings=settings)
            data, found = made.folder, {"align": made.to_dict(), "align_seconds": round(time.perf_counter() - start, 1)}
        found |= {"check": findings(data, settings), "test": measured(data, settings, asked.epochs)}
        content["sets"][name] = found | {"seconds": round(time.perf_counter() - start, 1)}
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    print(table(content))


def table(content: dict[str, Any]) -> str:
    """One line a recipe, one column a set, as Markdown."""
    sets = content["sets"]
    lines = ["| accuracy on the test part | " + " | ".join(sets) + " |", "| --- |" + " --- |" * len(sets)]
    for name in ("metadata", *RECIPES):
        cells = []
        for of in sets.values():
            score = of["test"][name]["accuracy"]
            cells.append(f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
