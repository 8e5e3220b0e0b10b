"""Every network row of SYSTEMS on the data at hand, each within the same bound: reported beside measured.

    python benchmarks/rows.py ../shared/data --minutes 3 --json benchmarks/results/rows.json [-r vgg-like …]

Each row runs on its own data or the nearest there is (`DATA`), is trained for at most so many minutes, and answers the test
part once. What was cut to fit is written beside the figure: the minutes, and smaller pictures where a net of ImageNet size
would see too few of them. Weights are random: no hub can be reached here. Rows that are in the JSON already are kept.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import tellapart as ta
from tellapart import recipe
from tellapart.cli._shared import progress
from tellapart.errors import TellapartError
from tellapart.runs.environment import describe_environment

#: First letter of a row → data sets.
DATA = {
    "A": ("deepfake5.tar",),
    "B": ("fruits.tar",),
    "C": ("fashion-mnist", "fruits.tar"),
    "D": ("scenes.tar",),
    "E": ("cifake.zip",),
}
#: What makes a net of ImageNet size trainable in minutes on two cores.
SMALLER = {
    "resnet18-grey": 64,
    "fusion-three": 80,
    "fusion-inception-xception": 80,
    "fusion-heavy": 80,
    "inception-resnet-v1": 96,
    "inception-resnet-v1-centre": 96,
    "efficientnet-b0-512": 260,
}


def header(name: str) -> dict[str, str]:
    """`Row` and `Reported` of a recipe's header."""
    lines = [line.removeprefix("# ") for line in recipe.text(name).splitlines() if line.startswith("# ")]
    found = [m for line in lines if (m := re.match(r"(Row|Reported)s?: (.*)", line))]
    return {"summary": lines[0], **{m[1].lower(): m[2] for m in found}}


def overrides(name: str, minutes: float) -> list[str]:
    """What is cut to fit."""
    content = recipe.load(name)
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
    return changes


def measure(name: str, data: Path, minutes: float, settings: ta.Settings) -> dict[str, Any]:
    """One recipe on one data set."""
    changes = overrides(name, minutes)
    board = ta.compare(data, [name], overrides=changes, settings=settings)
    run = next(r for r in board.runs if not r.id.startswith("null"))
    return {
        "recipe": name, "data": data.name, "changes": changes, "epochs": len(run.log),
        "test": run.scores("test")["accuracy"].to_dict(), "macro_f1": run.scores("test")["macro-f1"].to_dict(),
        "seconds": round(sum(e["seconds"] for e in run.log) or run.cost["fit_seconds"], 1),
        "parameters": run.cost["parameters"],
    }  # fmt: skip


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
    for name in asked.recipe or [n for n in recipe.names() if "row" in header(n)]:
        for file in DATA[header(name)["row"][0]]:
            if any(r["recipe"] == name and r["data"] == file for r in content["rows"]):
                continue
            try:
                content["rows"].append(measure(name, asked.data / file, asked.minutes, settings))
            except TellapartError as error:
                content["rows"].append({"recipe": name, "data": file, "error": error.message})
            asked.json.parent.mkdir(parents=True, exist_ok=True)
            asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
