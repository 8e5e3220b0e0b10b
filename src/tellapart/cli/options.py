"""Options that several commands share, and how they print. Nothing heavy is imported here."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.progress import SILENT, Progress, Terminal

if TYPE_CHECKING:
    from rich.console import Console

    from tellapart.inference.context import Settings
    from tellapart.types import ImageTable

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A folder, a CSV/TSV, a parquet file, a .zip or .tar, or an IDX folder.")
]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps, or auto: the fastest that is there.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change a recipe setting, for example train.epochs=3. Repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")]
#: Set by -v, wherever on the command line it stands; read where errors are printed.
VERBOSE = "TELLAPART_VERBOSE"


def _be_verbose(wanted: bool) -> None:
    if wanted:
        os.environ[VERBOSE] = "1"


Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Show tracebacks of errors.", callback=_be_verbose, expose_value=False),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave bad rows and corrupt images out, counted, instead of stopping.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the split.")]
SplitFrom = Annotated[str | None, typer.Option("--split-from", metavar="RUN", help="Use the split of this run again.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Train anew, even if the same run is there already.")]
Sinks = Annotated[
    list[str] | None,
    typer.Option("--sink", metavar="NAME", help="Also tell tensorboard or mlflow of every epoch and score. Repeatable."),
]
_RANKINGS = "accuracy, balanced-accuracy, macro-f1, matthews, auroc, macro-auroc, log-loss, brier or ece"
RankBy = Annotated[str, typer.Option("--rank-by", help=f"{_RANKINGS}, on validation.")]
Images = Annotated[Path | None, typer.Option("--images", metavar="DIR", help="Folder in which the ids of a CSV are found.")]
IdColumn = Annotated[str | None, typer.Option("--id-column", help="Column of a CSV that names the images.")]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="Column of a CSV that holds the classes.")]
Group = Annotated[
    str | None, typer.Option("--group", metavar="COLUMN", help="Column of a CSV whose equal values stay together.")
]
Positive = Annotated[str | None, typer.Option("--positive", metavar="CLASS", help="The positive class of two.")]


def out() -> Console:
    """Console on standard output. Piped output is 120 wide, so that tables do not fold."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=120)


def err() -> Console:
    """Console on standard error."""
    from rich.console import Console

    return Console(stderr=True)


def progress(quiet: bool) -> Progress:
    """Bars on standard error, or nothing."""
    return SILENT if quiet else Terminal(err())


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def pairs(given: list[str], flag: str, expected: str) -> dict[str, str]:
    """`a=1,b=2` and repeated flags → {"a": "1", "b": "2"}.

    Args:
        given: What stood after the flag, each time.
        flag: For messages.
        expected: An example, for messages.
    """
    found = {}
    for one in (part for text in given for part in text.split(",")):
        key, equals, value = one.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"{flag} {one}: expected {expected}")
        found[key.strip()] = value.strip()
    return found


def options(given: list[str]) -> dict[str, Any]:
    """`-s bags=10` → {"bags": 10}; values are YAML."""
    import yaml

    found = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"-s {one}: expected KEY=VALUE, for example bags=10")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise typer.BadParameter(f"-s {one}: {value!r} is not a YAML value") from None
    return found


def check_output(path: Path) -> None:
    """Refuse a file that cannot be written before hours of work, not after.

    Raises:
        SystemLimitError: It is a folder, its folder cannot be made, or there is no permission.
    """
    from tellapart.errors import SystemLimitError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = "is a folder" if path.is_dir() else "" if os.access(path.parent, os.W_OK) else "no permission to write there"
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
    if reason:
        raise SystemLimitError(f"{path}: {reason}", hint="choose another file with -o")


def scanned(
    data: str,
    images: Path | None,
    id_column: str | None,
    label_column: str | None,
    group: str | None,
    positive: str | None,
    least: int = 2,
) -> ImageTable:
    """Scan DATA with the reading options of the command line; `least`: classes that there must be."""
    from tellapart.data.scan import scan

    return scan(
        data, images=images, id_column=id_column, label_column=label_column, group=group, positive=positive, least=least
    )


def settings(
    *,
    runs: Path,
    device: str,
    quiet: bool,
    skip_bad: bool = False,
    seed: int = 0,
    split_from: str | None = None,
    fresh: bool = False,
    sinks: list[str] | None = None,
) -> Settings:
    """Settings of the verbs from the command line's options."""
    from tellapart.inference.context import Settings

    return Settings(runs, device, seed, skip_bad, split_from, fresh, progress(quiet), tuple(sinks or ()))
