"""What commands share that score images: the images of DATA, the first line, and how a result is printed and drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from rich.console import Console

    from tellapart.types import ImageTable


def other_images(
    data: str | None, images: Path | None, id_column: str | None, label_column: str | None, split_column: str | None,
    unlabeled: str | None,
) -> ImageTable | None:  # fmt: skip
    """The images of DATA for a run that exists, as the data options of the command line describe them; None without DATA."""
    if not data:
        return None
    return opt.scanned(
        data, images, id_column, label_column, None, None, least=1, split_column=split_column, unlabeled=unlabeled
    )


def print_heading(console: Console, what: str, found: Any) -> None:
    """One line: what was measured of which run, on which images. `found`: a Robustness or a CodecBias."""
    from tellapart.formatting import PARTS

    where = found.data if found.split == "other" else f"{found.data}, {PARTS[found.split]} split"
    count = f"a sample of {found.n:,} of {found.total:,}" if found.n < found.total else f"{found.n:,} images"
    console.print(f"{what} of {found.run}: {where}, {count}", style="italic", highlight=False, soft_wrap=True)


def print_result(
    found: Any, show: Callable[[Any, Console], object], as_json: bool, figure: Path | None, draw: Callable[[Any, Path], object]
) -> None:
    """Print a result, then draw it if a figure is wanted, and print where the figure is.

    Args:
        found: A result with a method `to_dict`.
        show: Prints it for people.
        as_json: Print JSON instead; what else is printed goes to standard error.
        figure: The file of --figure.
        draw: Writes the figure; returns its path, or why there is none.
    """
    if as_json:
        opt.print_json(found.to_dict())
    else:
        show(found, opt.out())
    if figure is not None:
        (opt.err() if as_json else opt.out()).print(f"figure: {draw(found, figure)}", highlight=False, soft_wrap=True)
