"""The tables and the README of an aligned copy: training table, source of every image, excluded images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tellapart.alignment.plan import SUBSAMPLING, AlignOptions, CropPlan, FileInventory
from tellapart.alignment.result import AlignResult
from tellapart.alignment.writer import MANIFEST, CopyLog
from tellapart.formatting import score_sentence
from tellapart.spreadsheet import frame_csv
from tellapart.types import ImageTable, Problem

_OWN = {"id", "path", "label", "size", "digest", "group", "source", "split"}
_KEPT = ("group", "source", "split")


def manifest_files(
    table: ImageTable, inventory: FileInventory, plan: CropPlan, options: AlignOptions,
    written: Mapping[int, CopyLog], lost: Sequence[Problem],
    result: AlignResult,
) -> dict[str, str]:  # fmt: skip
    """File name → content, in writing order: `train.csv`, which makes the folder a data set, comes last.

    Args:
        table: The readable images.
        inventory: Headers of the same rows.
        plan: The crops.
        options: Options of the copy.
        written: Number → written image.
        lost: Images that cannot be decoded.
        result: The result, for the README.
    """
    numbers = np.array(sorted(written))
    everything = _manifest(table, inventory, plan, options, written, numbers)
    labeled = (everything["label"] != "").to_numpy()
    columns = ["id", "label", *(name for name in _KEPT if name in table.frame)]
    left = _left_out(table, inventory, plan, lost)
    made = {MANIFEST: frame_csv(everything), "README.txt": _readme(result)}
    if len(left):
        made["left-out.csv"] = frame_csv(left)
    if not labeled.all():
        made["test.csv"] = frame_csv(everything.loc[~labeled, ["id"]])
    return made | {"train.csv": frame_csv(everything.loc[labeled, columns])}


def _manifest(
    table: ImageTable,
    inventory: FileInventory,
    plan: CropPlan,
    options: AlignOptions,
    written: Mapping[int, CopyLog],
    numbers: np.ndarray,
) -> pd.DataFrame:
    rows, frame = plan.rows[numbers], table.frame.iloc[plan.rows[numbers]]
    columns = {
        "id": [plan.name(number, options.ending) for number in numbers.tolist()],
        "digest": [written[number].digest for number in numbers.tolist()],
        "label": _names(table, rows),
        **{name: frame[name].to_numpy(dtype=object) for name in _KEPT if name in frame},
        "original_id": frame["id"].to_numpy(dtype=object),
        "original_path": frame["path"].to_numpy(dtype=object),
        "original_digest": inventory.digests[rows],
        "original_width": inventory.sizes[rows, 1], "original_height": inventory.sizes[rows, 0],
        "left": plan.corners[numbers, 1], "top": plan.corners[numbers, 0],
        "width": plan.size[1], "height": plan.size[0],
        "format": options.encoder,
    }  # fmt: skip
    if options.encoder == "jpeg":
        columns |= {"quality": plan.qualities[numbers], "subsampling": SUBSAMPLING}
    columns |= {f"given_{name}": frame[name].to_numpy(dtype=object) for name in frame if name not in _OWN}
    return pd.DataFrame(columns)


def _left_out(table: ImageTable, inventory: FileInventory, plan: CropPlan, lost: Sequence[Problem]) -> pd.DataFrame:
    """Excluded images: path, class, reason; first those that are too small, then those that cannot be read."""
    small, wanted = plan.small, f"{plan.size[1]}×{plan.size[0]}"
    why = [f"{width}×{height}, too small for {wanted}" for height, width in inventory.sizes[small].tolist()]
    first = pd.DataFrame({"original_path": table.paths[small], "class": _names(table, small), "reason": why})
    then = pd.DataFrame({"original_path": [p.where for p in lost], "class": "", "reason": [p.message for p in lost]})
    return pd.concat([first, then], ignore_index=True) if len(then) else first


def _names(table: ImageTable, rows: np.ndarray) -> np.ndarray:
    """Class names of the rows, "" for rows without a label: (M,) object."""
    return np.array([*table.classes, ""], dtype=object)[table.labels[rows]]


def _readme(result: AlignResult) -> str:
    before, after, traces = (
        "not available" if of is None else score_sentence(of)
        for of in (result.metadata_before, result.metadata_after, result.traces)
    )
    notes = "".join(f"  - {note}\n" for note in result.notes) or "  - no differences found\n"
    return _README.format(
        data=result.data, n=result.written, size=f"{result.size[1]}×{result.size[0]}", how=result.options.encoder_text,
        before=before, after=after, traces=traces, notes=notes,
    )  # fmt: skip


_README = """A copy of {data}, made by `tellapart align`: {n} crops of {size} pixels, {how}, no metadata.

Crops contain the decoded pixels of the sources, never resized. manifest.csv lists the source of each crop: original_path, its
digest, left and top. train.csv is the input for `tellapart compare`. align.json contains the settings and these figures.

AUROC of the metadata baseline (file metadata alone), out of fold
  before  {before}
  after   {after}
AUROC of traces of earlier compression in the pixels, out of fold
  after   {traces}

The files of all classes have the same format now; their pixels are unchanged. Remaining differences:
{notes}"""
