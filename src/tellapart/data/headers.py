"""What the headers of images say, as columns to slice scores by: width, height, pixels, gray or color. Nothing is decoded."""

from __future__ import annotations

import math

import pandas as pd

from tellapart.data.decode import header
from tellapart.data.reader import ImageReader
from tellapart.errors import ImageError
from tellapart.progress import SILENT, Progress
from tellapart.types import ImageTable


def add_header_columns(table: ImageTable, progress: Progress = SILENT) -> pd.DataFrame:
    """The table's frame with `width`, `height`, `pixels` (float64) and `mode` ("gray", "color").

    Images that cannot be read, because the files moved or are damaged, have NaN and "".

    Args:
        table: N images, of which only headers are read.
        progress: Where it is reported.
    """
    rows: list[tuple[float, float, str]] = []
    with ImageReader(table) as reader, progress.task("reading headers", len(table), "img") as task:
        for path in table.paths:
            try:
                height, width, gray = header(reader.get(path), str(path))
                rows.append((width, height, "gray" if gray else "color"))
            except ImageError:
                rows.append((math.nan, math.nan, ""))
            task.advance()
    found = pd.DataFrame(rows, columns=["width", "height", "mode"], index=table.frame.index)
    return table.frame.assign(**found, pixels=found["width"] * found["height"])
