"""Make the pictures of docs/explain anew: `python docs/explain_pictures.py WORK [NAME …]`; without names, all of them.

WORK is the folder of `benchmarks/faithfulness.py`: its second run and its tiles are shown. The tiles are cut from photographs
that scikit-image and scikit-learn carry, some edited by the demo; WORK/small/README.txt has the credits. Shown are edited
test tiles that the run takes for edited, the first of each kind of edit: the edit, outlined, beside the map.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

import tellapart as ta
from tellapart import registry
from tellapart.explainers.faithfulness import Explanation
from tellapart.reports.explain_figures import class_sheet, overlay, save, sheet
from tellapart.runs.store import list_runs
from tellapart.workflows.class_maps import class_maps
from tellapart.workflows.explain import VIEWS, explain_views

FOLDER = Path(__file__).parent / "explainers"
SIDE, GAP, MOST_BYTES = 128, 6, 60_000
AVERAGED = 60  # test tiles of the mean maps
SHEET_WIDTH = 900  # pixels of views and means


def main(work: Path, names: list[str]) -> None:
    """Write the pictures of these methods and views, or of all."""
    settings = ta.Settings(runs=work / "runs", device="cpu")
    (run,) = (run for run in list_runs(work / "runs") if run.recipe["classifier"]["init_from"])
    frame = run.table().where(split="test").frame
    tiles = chosen(run, frame, work / "small")
    for name in names or [*registry.names("explainers"), *VIEWS, "means"]:
        path = FOLDER / f"{name}.jpg"
        if name in VIEWS:
            made = drawn(sheet([], explain_views(run, tiles[:1], [name], settings=settings)[0]))
        elif name == "means":
            every = [work / "small" / tile for tile in frame["id"].iloc[:: -(-len(frame) // AVERAGED)]]
            made = drawn(class_sheet(class_maps(run, every, methods=["grad_cam"], settings=settings)))
        else:
            found = ta.explain(run, tiles, class_name="edited", methods=[name], settings=settings)
            made = side_by_side([picture for one in found for picture in (outlined(one.pixels, Path(one.image)), shown(one))])
        made.save(path, quality=80, optimize=True)
        if path.stat().st_size > MOST_BYTES:
            sys.exit(f"{path}: {path.stat().st_size} bytes, expected at most {MOST_BYTES}")
        print(f"{path.name}: {made.width}×{made.height}, {path.stat().st_size} bytes", flush=True)


def chosen(run: ta.Run, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """An edited test tile of each kind that was taken for edited."""
    answers = run.predictions("test")
    assert answers is not None
    said = dict(zip(answers.ids, (answers.classes[a] for a in answers.predicted), strict=True))
    right = frame[(frame["source"] != "none") & (frame["id"].map(said) == "edited")]
    return [folder / right[right["source"] == kind]["id"].iloc[0] for kind in ("splice", "inpaint", "resample")]


def shown(one: Explanation) -> np.ndarray:
    """A tile under its map."""
    return overlay(one.pixels, one.heatmap.values)


def outlined(pixels: np.ndarray, image: Path) -> np.ndarray:
    """A tile with the outline of its edit: (H, W, 3) uint8."""
    mask = np.asarray(Image.open(image.parents[1] / "masks" / image.name)) > 0
    found = pixels.copy()
    found[ndimage.binary_dilation(mask) & ~mask] = (255, 255, 255)
    return found


def side_by_side(pictures: list[np.ndarray]) -> Image.Image:
    """In a row, in pairs."""
    sheet = Image.new("RGB", (len(pictures) * (SIDE + GAP) + (len(pictures) // 2 - 1) * GAP - GAP, SIDE), "white")
    for place, pixels in enumerate(pictures):
        sheet.paste(Image.fromarray(pixels).resize((SIDE, SIDE)), (place * (SIDE + GAP) + place // 2 * GAP, 0))
    return sheet


def drawn(figure: Figure) -> Image.Image:
    """A figure as pixels."""
    path = FOLDER / "drawn.png"
    save(figure, path)
    made = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    path.unlink()
    return made.resize((SHEET_WIDTH, round(made.height * SHEET_WIDTH / made.width)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
