"""The types that the stages hand to each other. No torch here.

`ImageTable` lists the images and what is known about them; `Predictions` holds the probabilities of a classifier; `Score` is
one number that is never printed without its n and its interval. Everything to the right of `Predictions`
(scores, statistics, leaderboard, report) needs neither images nor a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import util

from tellapart.errors import DataError

UNLABELED = -1
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the data: which file or row, and why. The row it names is left out of the table."""

    kind: str  # "missing file", "unlabeled row", "corrupt image", "empty class", …
    where: str  # "train.csv:17" or "cats/1.jpg"
    message: str
    label: str = ""  # the class of the images that are left out, "" where it is not known
    count: int = 1  # how many images or files it is about

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Labeled images, undecoded: one row an image.

    Columns of `frame`:
        id: str, unique.
        path: str, a locator relative to `root`: `a/b.png`, `a.tar::x.png`, `images.gz#17`, `p.parquet#17`, `memory#17`.
        label: int64, an index into `classes`, −1 for unknown.
        size: int64, bytes of the encoded image (0 where a container does not record it).
        digest: str, optional: of the image's content (`data.identity`), "" where it cannot be read. Not there as long as
            nothing has been read.
        group, source, split: str, optional. `split` is one of train, valid, test, or "" (not given).
        Further columns are those of the table that was read, str, "" where not given; they are for slicing scores.

    Row order is meaning. Tables are never changed in place: `where`, `take` and `with_split` give new ones.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    root: str
    positive: str | None = None
    problems: tuple[Problem, ...] = ()
    layout: str = ""  # what the scanner read, in words
    notes: tuple[str, ...] = ()  # what it did not use, or read in another way: one sentence each, with the option to choose
    name: str = "images in memory"  # the name of the file or folder that the user gave
    memory: Mapping[int, Any] | Sequence[Any] = field(default=(), repr=False)  # in-memory rows: arrays or bytes
    withheld: str = ""  # why no image may be read: `root` is named by a stranger's run

    def __post_init__(self) -> None:
        missing = {"id", "path", "label", "size"} - set(self.frame.columns)
        if missing:
            raise DataError(f"an ImageTable needs the columns {sorted(missing)}")
        if not self.frame["id"].is_unique:
            twice = self.ids[self.frame["id"].duplicated().to_numpy()][0]
            raise DataError(f"ids must be unique: {twice!r} occurs more than once")
        labels = self.frame["label"].to_numpy()
        if len(labels) and (labels.min() < UNLABELED or labels.max() >= len(self.classes)):
            raise DataError(f"labels must lie in −1 … {len(self.classes) - 1}")

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        counts = ", ".join(f"{k} {v}" for k, v in self.split_counts().items())
        return f"ImageTable({len(self)} images, {len(self.classes)} classes, {counts or 'no split'}, root={self.root!r})"

    def _repr_html_(self) -> str:
        return self.counts().to_html()

    @property
    def ids(self) -> np.ndarray:
        """Ids: (N,) object (str)."""
        return self.frame["id"].to_numpy(dtype=object)

    @property
    def labels(self) -> np.ndarray:
        """Labels: (N,) int64 in −1 … C−1; a copy, since torch refuses the read-only arrays of pandas."""
        return self.frame["label"].to_numpy(dtype=np.int64, copy=True)

    @property
    def paths(self) -> np.ndarray:
        """Locators relative to `root`: (N,) object (str)."""
        return self.frame["path"].to_numpy(dtype=object)

    @property
    def has_files(self) -> bool:
        """Whether rows are encoded images (files or bytes) rather than bare arrays (IDX, `from_arrays`)."""
        if self.memory is not None and len(self.memory):
            return isinstance(next(iter(self.memory)), bytes)
        return not len(self) or not self.frame["path"].iloc[0].partition("#")[0].endswith(("-ubyte", "-ubyte.gz"))

    @property
    def digests(self) -> np.ndarray:
        """Digests of the content of each image: (N,) object (str).

        Raises:
            DataError: They are not known yet.
        """
        if "digest" not in self.frame:
            raise DataError("the content of these images has not been read", hint="call tellapart.identify(table) first")
        return self.frame["digest"].to_numpy(dtype=object)

    @property
    def row_keys(self) -> np.ndarray:
        """One 64-bit key a row from its digest, the identity of its pixels: (N,) uint64."""
        return _hash(pd.DataFrame({"digest": self.digests}))

    @property
    def fingerprint(self) -> str:
        """16 hex digits over ids, labels, classes and digests, in row order: the identity of the data.

        Not over where the files lie, in what container, or when they were written.
        """
        digest = hashlib.blake2b(repr(self.classes).encode(), digest_size=8)
        columns = pd.DataFrame({"id": self.ids, "label": self.labels, "digest": self.digests})
        digest.update(_hash(columns).tobytes())
        return digest.hexdigest()

    def take(self, rows: np.ndarray) -> ImageTable:
        """The given rows, in the given order. `rows`: (M,) int positions or (N,) bool mask."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(self, frame=self.frame.iloc[rows].reset_index(drop=True))

    def where(self, *, split: str) -> ImageTable:
        """The labeled rows of one split."""
        if "split" not in self.frame:
            raise DataError("this table has no split yet", hint="call tellapart.split(table) first")
        return self.take(((self.frame["split"] == split) & (self.frame["label"] >= 0)).to_numpy(dtype=bool))

    def unlabeled(self) -> ImageTable:
        """The rows without a label."""
        return self.take((self.frame["label"] < 0).to_numpy(dtype=bool))

    def with_split(self, split: np.ndarray) -> ImageTable:
        """The same rows with `split`: (N,) str."""
        return replace(self, frame=self.frame.assign(split=split))

    def without(self, rows: np.ndarray, problems: Sequence[Problem]) -> ImageTable:
        """The table less `rows` ((M,) int positions), with the reasons added to `problems`."""
        keep = np.ones(len(self), dtype=bool)
        keep[rows] = False
        return replace(self.take(keep), problems=(*self.problems, *problems))

    def with_classes(self, rows: np.ndarray, problems: Sequence[Problem]) -> list[Problem]:
        """Problems of `rows` ((M,) int positions), one a row, each with the class of its row."""
        names = dict(enumerate(self.classes))
        labels = self.labels[rows].tolist()
        return [replace(problem, label=names.get(label, "")) for problem, label in zip(problems, labels, strict=True)]

    def split_counts(self) -> dict[str, int]:
        """Labeled images per split, in the order train, valid, test; only splits that occur."""
        if "split" not in self.frame:
            return {}
        counts = self.frame.loc[self.frame["label"] >= 0, "split"].value_counts()
        return {name: int(counts[name]) for name in SPLITS if name in counts}

    def counts(self) -> pd.DataFrame:
        """Images per class (rows) and split (columns: those that occur, then `all`)."""
        labeled = self.frame[self.frame["label"] >= 0]
        split = labeled["split"] if "split" in labeled else pd.Series("", index=labeled.index)
        grid: Any = pd.crosstab(labeled["label"], split).reindex(range(len(self.classes)), fill_value=0)
        grid.index = pd.Index(self.classes, name="class")
        names = [s for s in SPLITS if s in grid] + [s for s in grid if s not in SPLITS]
        grid = grid[names].rename(columns={"": "not split"})
        grid.columns.name = None
        return grid.assign(all=grid.sum(axis=1)) if list(grid) != ["not split"] else grid.set_axis(["all"], axis=1)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier answered for N images.

    Attributes:
        ids: (N,) object (str).
        proba: (N, C) float32; rows sum to 1 ± 1e-5, finite.
        labels: (N,) int64, −1 for unknown.
        classes: C names.
        run_id: The run that answered.
        groups: (N,) object (str) or None: images of one group are not independent, so intervals are taken over groups.
    """

    ids: np.ndarray
    proba: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    run_id: str = ""
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        n, c = len(self.ids), len(self.classes)
        if self.proba.shape != (n, c) or self.labels.shape != (n,):
            raise ValueError(f"expected proba ({n}, {c}) and labels ({n},), got {self.proba.shape}, {self.labels.shape}")
        if not np.isfinite(self.proba).all() or (n and np.abs(self.proba.sum(axis=1) - 1).max() > 1e-5):
            raise ValueError("probabilities must be finite and sum to 1 ± 1e-5 in every row")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class: (N,) int64; the first of equals."""
        return self.proba.argmax(axis=1)

    def to_parquet(self, path: Path | str) -> None:
        """Write columns `id`, `label`, `group` (if any) and `p.<class name>`; `from_parquet` reads them back exactly."""
        columns: dict[str, Any] = {"id": self.ids.astype(str), "label": self.labels}
        if self.groups is not None:
            columns["group"] = self.groups.astype(str)
        columns |= {f"p.{name}": self.proba[:, c].astype(np.float32) for c, name in enumerate(self.classes)}
        frame = pd.DataFrame(columns)
        frame.attrs = {"run_id": self.run_id}
        frame.to_parquet(path, index=False)

    @classmethod
    def from_parquet(cls, path: Path | str) -> Predictions:
        """Read what `to_parquet` wrote."""
        frame = pd.read_parquet(path)
        names = [c for c in frame.columns if c.startswith("p.")]
        return cls(
            ids=frame["id"].to_numpy(dtype=object),
            proba=frame[names].to_numpy(dtype=np.float32),
            labels=frame["label"].to_numpy(dtype=np.int64),
            classes=tuple(name.removeprefix("p.") for name in names),
            run_id=str(frame.attrs.get("run_id", "")),
            groups=frame["group"].to_numpy(dtype=object) if "group" in frame else None,
        )


@dataclass(frozen=True)
class Score:
    """One number with what is needed to believe it.

    Attributes:
        value: The estimate.
        n: Images it was computed on.
        low, high: Ends of the 95 % interval; NaN when it is not defined.
        higher_is_better: Direction.
        unit: "" for a fraction; else "nats", …
    """

    value: float
    n: int
    low: float
    high: float
    higher_is_better: bool = True
    unit: str = ""

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.value:.3f}{unit} [{self.low:.3f}, {self.high:.3f}] n={self.n}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes None."""
        number = {
            k: (float(v) if np.isfinite(v) else None)
            for k, v in (("value", self.value), ("low", self.low), ("high", self.high))
        }
        return {**number, "n": self.n, "higher_is_better": self.higher_is_better, "unit": self.unit}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Score:
        """Read what `to_dict` wrote."""
        number = {k: (float("nan") if data[k] is None else float(data[k])) for k in ("value", "low", "high")}
        return cls(n=int(data["n"]), higher_is_better=bool(data["higher_is_better"]), unit=str(data["unit"]), **number)


def _hash(frame: Any) -> np.ndarray:
    """One 64-bit key a row: (N,) uint64."""
    hash_rows: Any = util.hash_pandas_object
    return hash_rows(frame, index=False).to_numpy()
