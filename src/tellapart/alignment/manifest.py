"""The tables of a copy: what compare reads, where every image is from, what was left out; and a word for who finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tellapart.alignment.plan import SUBSAMPLING, AlignOptions, CropPlan, FileInventory
from tellapart.alignment.result import AlignResult
from tellapart.alignment.writer import MANIFEST, CopyLog
from tellapart.formatting import score_sentence
from tellapart.types import ImageTable, Problem

_OWN = {"id", "path", "label", "size", "stamp", "group", "source", "split"}
_KEPT = ("group", "source", "split")


def manifest_files(
    table: ImageTable, inventory: FileInventory, plan: CropPlan, options: AlignOptions,
    written: Mapping[int, CopyLog], lost: Sequence[Problem],
    result: AlignResult,
) -> dict[str, str]:  # fmt: skip
    """File name → content, in the order in which they are to be written: the table that makes a data set of it comes last.

    Args:
        table: The readable images.
        survey: Of the same rows.
        plan: Of the copy.
        choices: As given.
        written: Number → image.
        lost: Images that cannot be decoded.
        found: The result.
    """
    numbers = np.array(sorted(written))
    everything = _manifest(table, inventory, plan, options, written, numbers)
    labeled = (everything["label"] != "").to_numpy()
    columns = ["id", "label", *(name for name in _KEPT if name in table.frame)]
    left = _left_out(table, inventory, plan, lost)
    made = {MANIFEST: _csv(everything), "README.txt": _readme(result)}
    if len(left):
        made["left-out.csv"] = _csv(left)
    if not labeled.all():
        made["test.csv"] = _csv(everything.loc[~labeled, ["id"]])
    return made | {"train.csv": _csv(everything.loc[labeled, columns])}


def _manifest(
    table: ImageTable,
    survey: FileInventory,
    plan: CropPlan,
    choices: AlignOptions,
    written: Mapping[int, CopyLog],
    numbers: np.ndarray,
) -> pd.DataFrame:
    rows, frame = plan.rows[numbers], table.frame.iloc[plan.rows[numbers]]
    columns = {
        "id": [plan.name(number, choices.ending) for number in numbers.tolist()],
        "digest": [written[number].digest for number in numbers.tolist()],
        "label": _names(table, rows),
        **{name: frame[name].to_numpy(dtype=object) for name in _KEPT if name in frame},
        "original_id": frame["id"].to_numpy(dtype=object),
        "original_path": frame["path"].to_numpy(dtype=object),
        "original_digest": survey.digests[rows],
        "original_width": survey.sizes[rows, 1], "original_height": survey.sizes[rows, 0],
        "left": plan.corners[numbers, 1], "top": plan.corners[numbers, 0],
        "width": plan.size[1], "height": plan.size[0],
        "format": choices.encoder,
    }  # fmt: skip
    if choices.encoder == "jpeg":
        columns |= {"quality": plan.qualities[numbers], "subsampling": SUBSAMPLING}
    columns |= {f"given_{name}": frame[name].to_numpy(dtype=object) for name in frame if name not in _OWN}
    return pd.DataFrame(columns)


def _left_out(table: ImageTable, survey: FileInventory, plan: CropPlan, lost: Sequence[Problem]) -> pd.DataFrame:
    """Path, class, and why: first what is too small, then what cannot be read."""
    small, wanted = plan.small, f"{plan.size[1]}×{plan.size[0]}"
    why = [f"{width}×{height}, too small for {wanted}" for height, width in survey.sizes[small].tolist()]
    first = pd.DataFrame({"original_path": table.paths[small], "class": _names(table, small), "reason": why})
    then = pd.DataFrame({"original_path": [p.where for p in lost], "class": "", "reason": [p.message for p in lost]})
    return pd.concat([first, then], ignore_index=True) if len(then) else first


def _names(table: ImageTable, rows: np.ndarray) -> np.ndarray:
    """Class names, "" for none: (M,) object."""
    return np.array([*table.classes, ""], dtype=object)[table.labels[rows]]


def _csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _readme(found: AlignResult) -> str:
    before, after, traces = (
        "not known" if of is None else score_sentence(of) for of in (found.metadata_before, found.metadata_after, found.traces)
    )
    notes = "".join(f"  - {note}\n" for note in found.notes) or "  - nothing that was looked for\n"
    return _README.format(
        data=found.data, n=found.written, size=f"{found.size[1]}×{found.size[0]}", how=found.options.encoder_text, before=before,
        after=after, traces=traces, notes=notes,
    )  # fmt: skip


_README = """A copy of {data}, made by `tellapart align`: {n} crops of {size} pixels, {how}, no metadata.

Crops are pixels of the sources as they decode, never resized. manifest.csv says for each where it was cut: original_path,
its digest, left and top. train.csv is what `tellapart compare` reads. align.json holds the settings and these figures.

AUROC of file metadata alone, out of fold
  before  {before}
  after   {after}
AUROC of traces of earlier compression in the pixels, the same way
  left    {traces}

Files of all classes are alike now. Their pixels are what they were. What remains:
{notes}"""
