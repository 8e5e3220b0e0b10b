"""What was understood of a set of images, for people and as JSON; pixels are not decoded.

Sizes, formats and modes come from the headers of some images, evenly spaced over the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.data.class_names import positive_in_words
from tellapart.data.decode import check_decompression_bomb
from tellapart.data.left_out import HARMLESS, LeftOut, left_out
from tellapart.data.locator import parse_locator
from tellapart.data.open_image import open_file, open_image, quiet
from tellapart.data.reader import ImageReader
from tellapart.errors import ImageError
from tellapart.terminal import one_line
from tellapart.types import ImageTable, Problem

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN_CLASSES = 12
_SHOWN_PROBLEMS = 10
_NOT_DECODED = "pixels are not decoded here: to find half pictures, run `tellapart check DATA --only files`"


@dataclass(frozen=True)
class Headers:
    """What the headers of some images say.

    Attributes:
        probed: Images looked at.
        sizes: (width, height) in pixels → images, most frequent first.
        formats: "PNG", "JPEG", … → images.
        modes: Pillow's names, "RGB", "L", "I;16", … → images.
        unreadable: Images whose header is none.
    """

    probed: int
    sizes: dict[tuple[int, int], int]
    formats: dict[str, int]
    modes: dict[str, int]
    unreadable: tuple[Problem, ...]

    @property
    def smallest(self) -> tuple[int, int] | None:
        """(width, height) of the image with the fewest pixels."""
        return min(self.sizes, key=_area, default=None)

    @property
    def largest(self) -> tuple[int, int] | None:
        """(width, height) of the image with the most pixels."""
        return max(self.sizes, key=_area, default=None)


@dataclass(frozen=True)
class Summary:
    """A set of images at a glance; prints itself with rich.

    Attributes:
        root: The folder or archive that holds the images.
        layout: What was understood, in words.
        images: Rows, with or without a label.
        classes: Class name → split (or "all") → labeled images.
        unlabeled, sources, groups: Rows without a label; distinct values of the columns, 0 without the column.
        positive: The class that counts as positive.
        bytes: Of all encoded images together; 0 where unknown.
        headers: Sizes, formats, modes.
        problems: What was left out, all of it.
        left_out: The same by class, with the images whose headers cannot be read, and the notes of the layout.
    """

    root: str
    layout: str
    images: int
    classes: dict[str, dict[str, int]]
    unlabeled: int
    sources: int
    groups: int
    positive: str | None
    bytes: int
    headers: Headers
    problems: tuple[Problem, ...]
    left_out: LeftOut

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not used, or read in another way, each with the option to choose."""
        return self.left_out.notes

    @property
    def problem_counts(self) -> dict[str, int]:
        """Problems per kind, most frequent first: images or files, and folders of empty classes."""
        return _counted(self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; of the problems the first ten and the number of each kind."""
        headers = self.headers
        return {
            "root": self.root,
            "layout": self.layout,
            "images": self.images,
            "classes": self.classes,
            "unlabeled": self.unlabeled,
            "sources": self.sources,
            "groups": self.groups,
            "positive": self.positive,
            "bytes": self.bytes,
            "headers": {
                "probed": headers.probed,
                "sizes": [{"width": w, "height": h, "images": n} for (w, h), n in headers.sizes.items()],
                "formats": headers.formats,
                "modes": headers.modes,
                "unreadable": [dict(vars(problem)) for problem in headers.unreadable[:_SHOWN_PROBLEMS]],
            },
            "problem_counts": self.problem_counts,
            "problems": [dict(vars(problem)) for problem in self.problems[:_SHOWN_PROBLEMS]],
            "notes": list(self.notes),
            "left_out": self.left_out.to_dict(),
        }

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        lines = [f"{name:<12}{value}" for name, value in self._facts() if value]
        problems = self._problem_lines()
        return Group(Text(one_line(self.root), style="bold"), Text(self.layout), self._grid(), *map(Text, lines), *problems)

    def _facts(self) -> Iterable[tuple[str, str]]:
        headers = self.headers
        yield (
            "images",
            f"{self.images:,}" + (f", {self.unlabeled:,} of them without a label" if self.unlabeled else ""),
        )
        yield "positive", positive_in_words(list(self.classes), self.positive)
        yield "sources", f"{self.sources:,}" if self.sources else ""
        yield "groups", f"{self.groups:,}" if self.groups else ""
        yield "size", _sizes_in_words(headers)
        yield "formats", _counts_in_words(headers.formats, headers.probed)
        yield "modes", _counts_in_words(headers.modes, headers.probed)
        yield "on disk", _bytes_in_words(self.bytes) if self.bytes else ""
        yield "headers", f"read of {headers.probed:,} images" if headers.probed < self.images else ""

    def _grid(self) -> RenderableType:
        from rich.table import Table

        splits = list(next(iter(self.classes.values()), {}))
        grid = Table("class", box=None)
        for split in splits:
            grid.add_column(split, justify="right")
        names = list(self.classes)
        shown = names if len(names) <= _SHOWN_CLASSES + 1 else names[:_SHOWN_CLASSES]
        for name in shown:
            grid.add_row(one_line(name), *(f"{self.classes[name][split]:,}" for split in splits))
        if rest := names[len(shown) :]:
            spans = [[self.classes[name][split] for name in rest] for split in splits]
            grid.add_row(f"… {len(rest):,} more", *(_span(values) for values in spans))
        if len(names) > 1:
            grid.add_row("all", *(f"{sum(c[split] for c in self.classes.values()):,}" for split in splits), style="bold")
        return grid

    def _problem_lines(self) -> list[RenderableType]:
        from rich.text import Text

        bad = [problem for problem in (*self.problems, *self.headers.unreadable) if problem.kind not in HARMLESS]
        lines = self.left_out.further_lines()
        notes = [Text(line, style="yellow" if line.startswith("warning") else "") for line in lines]
        if not bad:
            return [Text(f"no problems found in names and headers; {_NOT_DECODED}", style="green"), *notes]
        empty = sum(not problem.count for problem in bad)
        figures = [self.left_out.summary()] * bool(self.left_out.images) + [f"empty class {empty}"] * bool(empty)
        head = Text(f"problems    {'; '.join(figures)}", style="yellow")
        more = len(bad) - _SHOWN_PROBLEMS
        tail = [Text(f"  … and {more:,} more")] if more > 0 else []
        return [head, *(Text(f"  {problem}") for problem in bad[:_SHOWN_PROBLEMS]), *tail, *notes, Text(_NOT_DECODED)]


def summarize(table: ImageTable, probe: int = 512) -> Summary:
    """Describe a table.

    Args:
        table: Of `scan`.
        probe: How many headers to read.
    """
    counts = table.counts()
    rows = counts.to_numpy().tolist()
    archive = parse_locator(table.paths[0]).archive if len(table) else ""
    headers = read_headers(table, probe)
    return Summary(
        root=f"{table.root}/{archive}" if archive else table.root,
        layout=table.layout,
        images=len(table),
        classes={name: dict(zip(counts.columns, row, strict=True)) for name, row in zip(table.classes, rows, strict=True)},
        unlabeled=int((table.labels < 0).sum()),
        sources=_distinct(table, "source"),
        groups=_distinct(table, "group"),
        positive=table.positive,
        bytes=int(table.frame["size"].to_numpy(dtype=np.int64).sum()),
        headers=headers,
        problems=table.problems,
        left_out=left_out(table, headers.unreadable),
    )


def read_headers(table: ImageTable, probe: int = 512) -> Headers:
    """Open up to `probe` evenly spaced images without decoding them."""
    rows = np.unique(np.linspace(0, len(table) - 1, min(probe, len(table))).round().astype(int))
    sizes: Counter[tuple[int, int]] = Counter()
    formats: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    unreadable: list[Problem] = []
    failed: list[int] = []
    with ImageReader(table) as reader:
        for row in rows.tolist():
            try:
                size, kind, mode = _header(reader, table.root, str(table.paths[row]))
            except ImageError as error:
                unreadable.append(Problem("corrupt image", error.path, error.reason))
                failed.append(row)
                continue
            sizes[size] += 1
            formats[kind] += 1
            modes[mode] += 1
    named = tuple(table.with_classes(np.array(failed, dtype=np.int64), unreadable))
    return Headers(len(rows), dict(sizes.most_common()), dict(formats.most_common()), dict(modes.most_common()), named)


def _header(reader: ImageReader, root: str, locator: str) -> tuple[tuple[int, int], str, str]:
    """(width, height), format and mode of one image.

    Raises:
        ImageError: It has no readable header.
    """
    where = parse_locator(locator)
    # Of a loose file Pillow reads only the beginning; the others have to be taken out of their container whole.
    loose = not where.archive and where.row is None
    content = None if loose else reader.get(locator)
    if isinstance(content, np.ndarray):
        return (content.shape[1], content.shape[0]), "pixels", "L" if content.ndim == 2 else "RGB"
    with quiet(), open_file(Path(root) / locator, locator) if content is None else open_image(content, locator) as image:
        check_decompression_bomb(image, locator)
        return image.size, image.format or "?", image.mode


def _counted(problems: Sequence[Problem]) -> dict[str, int]:
    """Images or files per kind of problem, most frequent first."""
    counts: Counter[str] = Counter()
    for problem in problems:
        counts[problem.kind] += max(problem.count, 1)
    return dict(counts.most_common())


def _distinct(table: ImageTable, column: str) -> int:
    return len(set(table.frame[column].tolist()) - {""}) if column in table.frame else 0


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _sizes_in_words(headers: Headers) -> str:
    if not headers.sizes or headers.smallest is None or headers.largest is None:
        return ""
    (width, height), count = next(iter(headers.sizes.items()))
    if len(headers.sizes) == 1:
        return f"{width}×{height}, all alike"
    low, high = headers.smallest, headers.largest
    share = count / sum(headers.sizes.values())
    return f"{width}×{height} ({share:.0%}), from {low[0]}×{low[1]} to {high[0]}×{high[1]}"


def _counts_in_words(counts: dict[str, int], total: int) -> str:
    return ", ".join(f"{name}{f' ({n / total:.1%})' if len(counts) > 1 else ''}" for name, n in counts.items())


def _bytes_in_words(count: int) -> str:
    """
    >>> _bytes_in_words(512), _bytes_in_words(84_000_000)
    ('512 bytes', '80.1 MiB')
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _span(values: list[int]) -> str:
    return f"{min(values):,}" if min(values) == max(values) else f"{min(values):,}–{max(values):,}"
