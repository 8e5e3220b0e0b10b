"""Promises of a layout, tested on a small data set that the author of the layout writes."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.data.layouts.base import Claim, Layout, LayoutOptions, LayoutRows
from tellapart.data.listing import Listing, list_archive, list_folder
from tellapart.data.reader import ImageReader
from tellapart.plugins._promises import Promises, expect, expect_equal, may_refuse
from tellapart.types import UNLABELED, ImageTable

PROMISES = Promises("layout")
#: Function that writes a small data set of the layout into an empty folder.
Write = Callable[[Path], None]
_READ = 16  # maximum number of images that are read
_SPLITS = {"train", "valid", "test", ""}


@dataclass(frozen=True)
class _Tested:
    """A layout class, a folder with a data set of it, an empty folder, and the original contents of the files."""

    cls: type[Layout]
    data: Path
    empty: Path
    contents: Mapping[Path, bytes]

    def claim(self, listing: Listing | None = None) -> Claim | None:
        """Claim of a new layout on a listing (None: that of the data set)."""
        return self.cls().claims(list_folder(str(self.data)) if listing is None else listing, LayoutOptions())

    def rows(self, listing: Listing | None = None) -> LayoutRows:
        """Rows that a new layout reads from a listing (None: that of the data set)."""
        return self.cls().read(list_folder(str(self.data)) if listing is None else listing, LayoutOptions())


def check_layout(cls: type[Layout], write: Write, *, only: str | None = None) -> None:
    """Test a layout.

    Args:
        cls: The class.
        write: Function that writes a small data set of this layout into an empty folder. At least one row must have a label.
        only: Name of the promise to test; None: all of `promises("layout")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, empty = Path(folder) / "data", Path(folder) / "empty"
        data.mkdir()
        empty.mkdir()
        write(data)
        PROMISES.check(cls, _Tested(cls, data, empty, _contents(data)), only)


@PROMISES.promise("a claim has a certainty and a reason")
def _claims(tested: _Tested) -> None:
    """The layout claims its own data set with a certainty between 0 and 1 and a reason of one sentence."""
    claim = tested.claim()
    expect(isinstance(claim, Claim), "a Claim on its own data set", claim)
    certainty, reason = (claim.certainty, claim.reason) if claim else (0.0, "")
    expect(0 <= certainty <= 1, "a certainty between 0 and 1", certainty)
    expect(len(reason) > 10 and reason.endswith("."), "a reason that is a sentence", repr(reason))


@PROMISES.promise("other files are not claimed")
def _strangers(tested: _Tested) -> None:
    """An empty folder and a folder with a text file are not claimed."""
    expect(tested.claim(list_folder(str(tested.empty))) is None, "no claim on an empty folder", "a claim")
    (tested.empty / "notes.md").write_text("some notes", encoding="utf-8")
    expect(tested.claim(list_folder(str(tested.empty))) is None, "no claim on a folder with a text file", "a claim")


@PROMISES.promise("one value for each row")
def _shapes(tested: _Tested) -> None:
    """Every column has N values of its type: labels are strings or None, splits are known names, sizes are int64."""
    rows = tested.rows()
    count = len(rows.ids)
    expect(count > 0, "at least one row", 0)
    columns = {"class_names": rows.class_names, "sizes": rows.sizes, "split": rows.split, **rows.more}
    columns |= {name: values for name, values in (("group", rows.group), ("source", rows.source)) if values is not None}
    expect(len(rows.locators) == count, f"{count} locators", len(rows.locators))
    for name, values in columns.items():
        expect(np.shape(values) == (count,), f"{name} of shape ({count},)", np.shape(values))
        kind = np.dtype(np.int64) if name == "sizes" else np.dtype(object)
        expect(values.dtype == kind, f"{name} of type {kind}", values.dtype)
    names = set(rows.class_names.tolist())
    expect(all(name is None or (isinstance(name, str) and name) for name in names), "labels that are strings or None", names)
    expect(bool(names - {None}), "a row with a label", "none")
    expect(set(rows.split.tolist()) <= _SPLITS, 'the splits "train", "valid", "test" or ""', set(rows.split.tolist()))


@PROMISES.promise("ids are unique strings")
def _ids(tested: _Tested) -> None:
    """Every row has a unique id that is not empty."""
    ids = tested.rows().ids
    expect(all(isinstance(name, str) and name for name in ids), "ids that are strings", ids[:3])
    expect(len(set(ids)) == len(ids), f"{len(ids)} different ids", len(set(ids)))


@PROMISES.promise("locators can be read")
def _locators(tested: _Tested) -> None:
    """Every locator points to an image file or to raw pixels."""
    rows = tested.rows()
    columns = {"id": rows.ids, "path": rows.locators}
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    table = ImageTable(frame.assign(label=UNLABELED, size=rows.sizes), (), str(tested.data))
    with ImageReader(table) as reader:
        for locator in rows.locators[:_READ]:
            expect(len(reader.get(locator)) > 0, f"an image at {locator}", "nothing")


@PROMISES.promise("archives are read like folders")
def _archives(tested: _Tested) -> None:
    """A zip archive of the data set gives the same ids, labels and splits, since files are read through the listing."""
    path = tested.data.parent / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(tested.data.rglob("*")):
            archive.write(file, file.relative_to(tested.data))
    listing = list_archive(str(path))
    expect(tested.claim(listing) is not None, "a claim on a zip archive of the data set", "none")
    packed, rows = tested.rows(listing), tested.rows()
    expect(packed.ids == rows.ids, "the same ids from a zip archive", packed.ids[:3])
    expect_equal(packed.class_names, rows.class_names, "the same labels from a zip archive")
    expect_equal(packed.split, rows.split, "the same splits from a zip archive")
    inside = all(locator.startswith("data.zip::") for locator in packed.locators)
    expect(inside, "locators that start with the path of the archive, as from `listing.locators(rows)`", packed.locators[:3])


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """Two instances of the layout claim and read the same."""
    expect(tested.claim() == tested.claim(), "the same claim twice", "two different claims")
    first, second = tested.rows(), tested.rows()
    expect(first.ids == second.ids and first.locators == second.locators, "the same rows twice", "different rows")
    expect_equal(first.class_names, second.class_names, "the same labels twice")


@PROMISES.promise("rows and problems have a location")
def _described(tested: _Tested) -> None:
    """The layout describes in a sentence what it read; every row and problem has a location for error messages."""
    rows = tested.rows()
    expect(rows.layout.endswith("."), "a sentence that describes what was read", repr(rows.layout))
    places = [rows.where(row) for row in range(len(rows.ids))]
    expect(all(isinstance(place, str) and place for place in places), "a location for each row", places[:3])
    bad = [problem for problem in rows.problems if not (problem.kind and problem.where and problem.message)]
    expect(not bad, "a kind, a location and a message for each problem", bad[:3])


@PROMISES.promise("files are not modified")
def _untouched(tested: _Tested) -> None:
    """Claiming and reading do not modify the data set."""
    tested.claim()
    tested.rows()
    expect(_contents(tested.data) == tested.contents, "unmodified files", "files that were changed, added or removed")


@PROMISES.promise("damaged files are named")
def _damaged(tested: _Tested) -> None:
    """If all files other than images are damaged, `claims` raises no error, and `read` at most a TellapartError."""
    listing = list_folder(str(tested.data))
    for row in np.flatnonzero(~listing.is_image).tolist():
        (tested.data / listing.paths[row]).write_bytes(b"\0\xffdamaged")
    try:
        damaged = list_folder(str(tested.data))
        tested.claim(damaged)
        with may_refuse():
            tested.rows(damaged)
    finally:
        for path, content in tested.contents.items():
            path.write_bytes(content)


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
