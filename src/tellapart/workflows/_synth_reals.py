"""The real pictures that forgeries are made of."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.data.archives import ARCHIVE_ENDINGS
from tellapart.data.listing import list_archive, list_folder
from tellapart.data.prepare import HARMLESS, format_problems
from tellapart.data.scan import scan
from tellapart.errors import DataError, unknown_name
from tellapart.types import ImageTable


def load_reals(data: str | Path | ImageTable, class_name: str | None = None, *, skip_bad: bool = False) -> ImageTable:
    """All pictures of a folder or an archive; or the rows of one class of labeled data, or all rows of a table.

    Args:
        data: A folder or archive, labeled or not; whatever `scan` understands; or a table.
        class_name: The class whose images are real.
        skip_bad: Leave bad rows out instead of stopping.

    Returns:
        A table with the one class "real"; group and split as given.

    Raises:
        DataError: Nothing there, or no such class.
    """
    path = None if isinstance(data, ImageTable) else Path(data)
    if path is not None and not path.exists():
        raise DataError(f"{path}: not found", hint="give a folder, an archive or a table of real pictures")
    if path is not None and class_name is None and (path.is_dir() or path.name.lower().endswith(ARCHIVE_ENDINGS)):
        return _all_of(path)
    table = data if isinstance(data, ImageTable) else scan(data, least=1)
    bad = [p for p in table.problems if p.kind not in HARMLESS]
    if bad and not skip_bad:
        raise DataError(format_problems(bad), hint="mend them, or leave these rows out, counted, with --skip-bad")
    if class_name is not None:
        if class_name not in table.classes:
            raise DataError(unknown_name("class", class_name, table.classes))
        table = table.take(table.labels == table.classes.index(class_name))
    return replace(table, frame=table.frame.assign(label=0), classes=("real",), positive=None)


def _all_of(path: Path) -> ImageTable:
    top = os.path.abspath(path)  # noqa: PTH100
    listing = list_folder(top) if path.is_dir() else list_archive(top)
    files = np.flatnonzero(listing.is_image)
    if not len(files):
        raise DataError(f"no image in {path}", hint="give a folder, an archive or a table of real pictures")
    locators = pd.Series(listing.locators(files), dtype=object)
    frame = pd.DataFrame(
        {"id": locators, "path": locators, "label": 0, "size": listing.sizes[files], "stamp": listing.stamps[files]}
    )
    return ImageTable(frame, ("real",), listing.root, layout=f"{len(frame):,} pictures", name=path.name)
