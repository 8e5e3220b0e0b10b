"""Every network row of SYSTEMS on the data at hand, each within the same bound: reported beside measured.

    python benchmarks/rows.py ../shared/data --minutes 3 --json benchmarks/results/rows.json [-r vgg-like …]

Each row runs on its own data or the nearest there is (`DATA`), is trained for at most so many minutes, and answers the test
part once. What was cut to fit is written beside the figure: the minutes, smaller pictures where a net would see too few of
them, and for row E a share of the images. Weights are random: no hub can be reached here. Rows that are in the JSON already are
kept, those with an error tried again.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

import tellapart as ta
from tellapart.cli.options import progress
from tellapart.errors import TellapartError
from tellapart.recipe import load as recipes
from tellapart.runs.environment import describe_environment

#: First letter of a row, or a recipe → data sets.
DATA = {
    "A": ("deepfake5.tar",),
    "B": ("fruits.tar",),
    "C": ("fashion-mnist", "fruits.tar"),
    "D": ("scenes.tar",),
    "E": ("cifake.zip",),
    "visual-words-orb": ("fashion-mnist",),
    "visual-words-orb-fruits": ("fruits.tar",),
}
#: Of rows on these sets so many images of each part are drawn: answering all would take longer than training.
DRAWN = {"cifake.zip": {"train": 2000, "test": 1000}}
#: What makes a net see each picture more than once in minutes on two cores.
SMALLER = {
    **dict.fromkeys((
        "cnn-stages", "cnn-stages-cosine", "cnn-stages-random", "cnn-doubled-five", "cnn-doubled-deeper", "cnn-doubled-smooth",
        "cnn-stages-grayscale", "cnn-stages-half-grayscale",
        "vgg-like", "vgg-plateau", "vgg-exponential", "vgg-warmup-exponential",
    ), 48),
    "resnet18-grayscale": 32,
    "fusion-three": 80,
    "fusion-inception-xception": 80,
    "fusion-dfdc": 80,
    "inception-resnet-v1": 96,
    "inception-resnet-v1-center": 96,
    "efficientnet-b0-512": 260,
}  # fmt: skip
#: Rows without a figure, and why.
WITHOUT = dict.fromkeys(
    ("inception-resnet-v1-face", "spectrum-face"),
    "no set at hand holds faces; on made pictures the face alone is worth .54 → .98, n = 160 (benchmarks/face_region.py)",
)


def header(name: str) -> dict[str, str]:
    """`Row` and `Reported` of a recipe's header."""
    lines = [line.removeprefix("# ") for line in recipes.text(name).splitlines() if line.startswith("# ")]
    found = [m for line in lines if (m := re.match(r"(Row|Reported)s?: (.*)", line))]
    return {"summary": lines[0], **{m[1].lower(): m[2] for m in found}}


def overrides(name: str, minutes: float) -> list[str]:
    """What is cut to fit."""
    content = recipes.load(name)
    if content.classifier.family != "network":
        return []
    changes = [f"train.minutes={minutes:g}"]
    if "weights" in content.classifier.options:
        changes.append("classifier.weights=none")
    if "backbones" in content.classifier.options:
        backbones = [{**b, "weights": "none"} for b in content.classifier.options["backbones"]]
        changes.append(f"classifier.backbones={json.dumps(backbones)}")
    if name in SMALLER:
        changes.append(f"inputs.size={SMALLER[name]}")
        smaller = windows(content.augment, SMALLER[name] / content.inputs.size)
        changes += [f"augment={json.dumps(smaller)}"] if smaller != content.augment else []
    return changes


def windows(augment: Any, scale: float) -> Any:
    """Augmentations whose windows, in pixels, shrink as the pictures do."""
    if isinstance(augment, dict):
        return {key: round(value * scale) if key == "size" else windows(value, scale) for key, value in augment.items()}
    return [windows(part, scale) for part in augment] if isinstance(augment, list) else augment


def drawn(data: Path) -> ta.ImageTable:
    """The images of a set, or as many of each part as `DRAWN` says."""
    table = ta.scan(data)
    if data.name not in DRAWN:
        return table
    order = np.random.default_rng(0).permutation(len(table))
    split = table.frame["split"].to_numpy()[order]
    return table.take(np.sort(np.concatenate([order[split == part][:most] for part, most in DRAWN[data.name].items()])))


def measure(name: str, data: Path, minutes: float, settings: ta.Settings) -> dict[str, Any]:
    """One recipe on one data set."""
    changes = overrides(name, minutes)
    board = ta.compare(drawn(data), [name], overrides=changes, settings=settings)
    run = next(r for r in board.runs if not r.id.startswith("metadata"))
    fewer = [f"{most:,} {part} images" for part, most in DRAWN.get(data.name, {}).items()]
    return {
        "recipe": name, "data": data.name, "changes": changes + fewer, "epochs": len(run.log),
        "test": run.scores("test")["accuracy"].to_dict(), "macro_f1": run.scores("test")["macro-f1"].to_dict(),
        "seconds": round(sum(e["seconds"] for e in run.log) or run.cost["fit_seconds"], 1),
        "parameters": run.cost["parameters"],
    }  # fmt: skip


def write(path: Path, content: dict[str, Any]) -> None:
    """The JSON, after each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def main() -> None:
    """All that are missing, one after another; the JSON is written after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("-r", "--recipe", action="append")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/rows.json"))
    asked = parser.parse_args()
    settings = ta.Settings(runs=asked.runs, device="cpu", progress=progress(quiet=False))
    content = json.loads(asked.json.read_text("utf-8")) if asked.json.exists() else {"rows": []}
    content["machine"] = describe_environment("cpu")
    names = asked.recipe or [n for n in recipes.names() if "row" in header(n)]
    content["rows"] = [r for r in content["rows"] if "error" not in r or r["recipe"] not in names]
    for name in names:
        if name in WITHOUT:
            content["rows"].append({"recipe": name, "data": "", "error": WITHOUT[name]})
        for file in () if name in WITHOUT else DATA.get(name) or DATA[header(name)["row"][0]]:
            if any(r["recipe"] == name and r["data"] == file for r in content["rows"]):
                continue
            try:
                content["rows"].append(measure(name, asked.data / file, asked.minutes, settings))
            except TellapartError as error:
                content["rows"].append({"recipe": name, "data": file, "error": error.message})
            write(asked.json, content)
    write(asked.json, content)


if __name__ == "__main__":
    main()
