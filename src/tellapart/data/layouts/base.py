"""The contract of a layout of a data set: how sure it is of a listing, and the rows that it reads from it.

`scan` lists the files, asks every registered layout for a claim, and lets the surest one read the rows. Another package adds
layouts with the entry-point group `tellapart.layouts`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tellapart.data.listing import Listing
from tellapart.types import Problem


class ColumnOptions(NamedTuple):
    """What the user said about columns; None where the layout is to find it out.

    Attributes:
        id_column, group: Names of columns.
        label_column: Name of a column; or "folder", "first-folder", "last-folder": the folder that names the class of an image.
        split_column: Name of a column, `COLUMN=VALUE` for the rows that are the test split, or "none".
        unlabeled: The text in the label column that means "no label".
    """

    id_column: str | None = None
    label_column: str | None = None
    group: str | None = None
    split_column: str | None = None
    unlabeled: str | None = None


GUESSED_COLUMNS = ColumnOptions()


@dataclass(frozen=True, eq=False)
class LayoutOptions:
    """What the user asked for besides the path.

    Attributes:
        columns: Columns that the user named.
        images: The files of `--images`; None when the images are in the listing itself.
        file: The file that the path names; None when it names a folder or an archive. For a table the listing holds its
            whole folder, for any other file that file alone.
    """

    columns: ColumnOptions = GUESSED_COLUMNS
    images: Listing | None = None
    file: str | None = None


class Claim(NamedTuple):
    """How sure a layout is that a listing is one of its own.

    Attributes:
        certainty: In [0, 1]. Own layouts: 1 what the user named; 0.9 IDX, NumPy, WebDataset; 0.85 lists, metadata.jsonl; 0.8 a
            table beside the images; 0.7 parquet; 0.6 options that need a table; 0.5 class folders, a table elsewhere; 0.1
            images that no folder could label.
        reason: Why, in one sentence.
        source: What holds the labels, for messages, such as "labels.csv" or "the folder names".
        option: The option of the command line that makes this layout the surest one; "" when there is none.
    """

    certainty: float
    reason: str
    source: str = ""
    option: str = ""


#: Values of the label column that choose a folder name.
FOLDER_COLUMNS = FOLDER, FIRST_FOLDER, LAST_FOLDER = "folder", "first-folder", "last-folder"


@dataclass(frozen=True, eq=False)
class LayoutRows:
    """N rows of one layout.

    Attributes:
        ids: N unique names.
        locators: N, relative to the root of the listing that holds the images (see `Listing.locators`).
        class_names: (N,) object: str, or None for a row without a label. In a validation or test part that has no
            labels at all such rows are kept; elsewhere `scan` leaves them out.
        sizes: (N,) int64, bytes; 0 where unknown.
        where: From a row number to the place that an error names, such as "train.csv:7".
        layout: What was read, in one or more sentences.
        problems: What was left out, and why.
        group, source: (N,) object (str) or None.
        split: (N,) object, "train", "valid", "test" or "".
        notes: What could have been used and was not, or read in another way: one sentence each, with the option to choose.
        other_files: Whether names alone hold the labels, so that every file that is no image is unused.
        root: The folder that the locators are relative to, where it is not the root of the listing that holds the images.
        more: Further columns of a table by name, (N,) object (str, "" where not given): to slice scores by.
    """

    ids: list[str]
    locators: list[str]
    class_names: np.ndarray
    sizes: np.ndarray
    where: Callable[[int], str]
    layout: str
    problems: list[Problem]
    split: np.ndarray
    group: np.ndarray | None = None
    source: np.ndarray | None = None
    notes: Sequence[str] = ()
    other_files: bool = False
    root: str | None = None
    more: Mapping[str, np.ndarray] = field(default_factory=dict)


class Layout(ABC):
    """One layout of a data set. Neither method decodes pixels or writes anything."""

    @abstractmethod
    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """Say whether the files look like this layout. It is called for every data set, so it must be quick.

        Args:
            listing: All files of the folder or archive, or the one file that the path names.
            options: Columns, images elsewhere, and the file that the user named.

        Returns:
            How sure and why; None when the files are not of this layout. A damaged data set is claimed too: `read` raises the
            error, so that only the layout that wins reports one.
        """

    @abstractmethod
    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """Read the rows of a listing that was claimed.

        Raises:
            DataError: The data cannot be used: what was expected, what was found, where, and what to do.
        """
