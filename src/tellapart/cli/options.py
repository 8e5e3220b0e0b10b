"""Options that several commands share, and how commands print. Nothing heavy is imported here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from tellapart.progress import SILENT, Progress, Terminal
from tellapart.terminal import hanging, json_text, plain_writer, protect

if TYPE_CHECKING:
    from rich.console import Console

    from tellapart.inference.context import Settings
    from tellapart.types import ImageTable

#: Panels of `--help` for the options that many commands share.
_DATA, _RUN, _OUTPUT = "Data options", "Run options", "Output options"

# --- arguments --------------------------------------------------------------------------------------------------------

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A folder, an archive, a CSV/TSV, a list, a parquet file, an .npz or shards.")
]
OtherData = Annotated[str | None, typer.Argument(metavar="[DATA]", help="Other labeled images. Default: the run's own data.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run: its id, the beginning of its id, or its path.")]
RunIds = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN]…", help="Runs: ids, beginnings of ids, or paths. Default: all runs.")
]

# --- the recipe and its training --------------------------------------------------------------------------------------

Recipe = Annotated[
    str,
    typer.Option("-r", "--recipe", metavar="NAME", help="Name of a recipe (see `tellapart recipes`), or path of a .yaml file."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Override a recipe setting, for example train.epochs=3. Repeatable."),
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Total number of passes over the training images.")]
Minutes = Annotated[
    float | None,
    typer.Option("--minutes", min=0.01, help="Limit the training time; the learning-rate schedule ends with it."),
]
Loggers = Annotated[
    list[str] | None,
    typer.Option("--logger", metavar="NAME", help="Also log to tensorboard or mlflow (extra `track`). Repeatable."),
]

# --- how DATA is read and split ---------------------------------------------------------------------------------------

Images = Annotated[
    Path | None,
    typer.Option("--images", metavar="DIR", help="Folder or archive of the images of a table.", rich_help_panel=_DATA),
]
IdColumn = Annotated[
    str | None,
    typer.Option("--id-column", metavar="COLUMN", help="Column of the table that names the images.", rich_help_panel=_DATA),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        metavar="COLUMN",
        help="Column of the table that holds the classes; or folder, first-folder or last-folder, for a folder of the path.",
        rich_help_panel=_DATA,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group", metavar="COLUMN", help="Column; images with equal values stay in one split.", rich_help_panel=_DATA
    ),
]
SplitColumn = Annotated[
    str | None,
    typer.Option(
        "--split-column",
        metavar="COLUMN",
        help="Column that holds the splits; COLUMN=VALUE: the rows of this value are the test split; none: ignore all splits.",
        rich_help_panel=_DATA,
    ),
]
Unlabeled = Annotated[
    str | None,
    typer.Option(
        "--unlabeled",
        metavar="TEXT",
        help='A text in the label column that means "no label", such as NA.',
        rich_help_panel=_DATA,
    ),
]
Positive = Annotated[
    str | None,
    typer.Option(
        "--positive",
        metavar="CLASS",
        help="Two classes: the class that AUROC, error rates and thresholds count as positive.",
        rich_help_panel=_DATA,
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed for the split.", rich_help_panel=_DATA)]
SplitFrom = Annotated[
    str | None, typer.Option("--split-from", metavar="RUN", help="Reuse the split of this run.", rich_help_panel=_DATA)
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Exclude and count bad rows and corrupt images instead of stopping.", rich_help_panel=_DATA
    ),
]
VerifyFiles = Annotated[
    bool,
    typer.Option(
        "--verify-files",
        help="Read every file to identify it, also those whose size and times have not changed.",
        rich_help_panel=_DATA,
    ),
]

# --- where and how to run ---------------------------------------------------------------------------------------------

Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of the runs.", rich_help_panel=_RUN)]
#: The default of `Runs`.
RUNS = Path("runs")
_DATA = typer.Option("--data", metavar="DIR", exists=True, help="The images of a run trained elsewhere.", rich_help_panel=_RUN)
ImagesOfRun = Annotated[Path | None, _DATA]
Device = Annotated[
    str,
    typer.Option("--device", help="cpu, cuda, cuda:1, mps, or auto: the fastest device of this machine.", rich_help_panel=_RUN),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Make a new run even if a finished one exists, which is kept.", rich_help_panel=_RUN),
]

# --- what is printed and written --------------------------------------------------------------------------------------

_RANKINGS = "accuracy, balanced-accuracy, macro-f1, matthews, auroc, macro-auroc, log-loss, brier or ece"
RankBy = Annotated[str, typer.Option("--rank-by", metavar="SCORE", help=f"Rank by this validation score: {_RANKINGS}.")]
Figure = Annotated[
    Path | None, typer.Option("--figure", metavar="FILE", help="Also draw the result as a figure: .svg or .png.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.", rich_help_panel=_OUTPUT)]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.", rich_help_panel=_OUTPUT)]
#: Set by -v, wherever on the command line it stands; read where errors are printed.
VERBOSE = "TELLAPART_VERBOSE"


def be_verbose(wanted: bool) -> None:
    """Show tracebacks of errors from now on."""
    if wanted:
        os.environ[VERBOSE] = "1"


Verbose = Annotated[
    bool,
    typer.Option(
        "-v", "--verbose", help="Show tracebacks of errors.", callback=be_verbose, expose_value=False, rich_help_panel=_OUTPUT
    ),
]

# --- evaluating a run -------------------------------------------------------------------------------------------------

OpenTest = Annotated[
    bool, typer.Option("--open-test", help="Use the run's test split; the ledger counts every such evaluation.")
]
ClassMap = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="THEIRS=OURS", help="Map a class name of DATA to one of the run. Repeatable."),
]
ExcludeSeen = Annotated[
    bool,
    typer.Option("--exclude-seen", help="Leave out images of DATA that are in the training, validation or test split of RUN."),
]
Sample = Annotated[
    int | None, typer.Option("--sample", metavar="N", min=1, help="Use a random sample of N images, drawn with a fixed seed.")
]


def out(file: TextIO | None = None) -> Console:
    """Console on standard output, or on `file`. Piped output is 120 wide, so that tables do not fold.

    Strings are plain text: names hold no markup and no `:codes:` of emoji. Control characters in them are shown escaped.
    """
    from rich.console import Console

    protect()
    width = None if (file or sys.stdout).isatty() else 120
    return Console(file=file, width=width, markup=False, emoji=False)


def err() -> Console:
    """Console on standard error; see `out`."""
    from rich.console import Console

    protect()
    return Console(stderr=True, markup=False, emoji=False)


def progress(quiet: bool) -> Progress:
    """Bars on standard error, or nothing."""
    return SILENT if quiet else Terminal(err())


def print_lines(*lines: str) -> None:
    """Lines on standard output, not folded. What follows a line feed, in a name, is indented."""
    console = out()
    for line in lines:
        console.print(hanging(line), highlight=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    plain_writer()(json_text(content, indent=2) + "\n")


def pairs(given: list[str], flag: str, expected: str) -> dict[str, str]:
    """`a=1,b=2` and repeated flags → {"a": "1", "b": "2"}.

    Args:
        given: The values of the flag.
        flag: Its name, for messages.
        expected: An example, for messages.
    """
    found = {}
    for one in (item for text in given for item in text.split(",")):
        key, equals, value = one.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"{flag} {one}: expected {expected}")
        found[key.strip()] = value.strip()
    return found


def class_map(given: list[str] | None) -> dict[str, str]:
    """`--map editada=fake` → {"editada": "fake"}."""
    return pairs(given or [], "--map", "THEIRS=OURS, for example --map editada=fake")


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


def check_output(path: Path, data: str | Path | None = None) -> None:
    """Refuse a file that cannot be written, or that would become part of the data, before hours of work, not after.

    Args:
        path: The file.
        data: The data that the command reads.

    Raises:
        SystemLimitError: It is a folder, its folder cannot be made, or the permission is missing.
        DataError: It lies inside the data, where the next command would read it as an image or a table.
    """
    from tellapart.errors import SystemLimitError
    from tellapart.io import make_folder
    from tellapart.places import check_is_text, check_outside

    check_is_text(path)
    if data is not None:
        check_outside(path, Path(data))
    try:
        make_folder(path.parent)
        reason = "is a folder" if path.is_dir() else "" if os.access(path.parent, os.W_OK) else "no permission to write there"
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
    if reason:
        raise SystemLimitError(f"{path}: {reason}", hint="choose another file with -o")


def check_figure(figure: Path | None, data: str | Path | None = None) -> None:
    """Refuse a figure that cannot be written, or whose format is not known, before any image is read.

    Args:
        figure: The file; None: no figure.
        data: The data that the command reads.

    Raises:
        SystemLimitError, DataError: As for `check_output`.
    """
    if figure is not None:
        if figure.suffix.lower() not in (".png", ".svg"):
            raise typer.BadParameter(f"--figure {figure}: expected a file name that ends in .png or .svg")
        check_output(figure, data)


def scanned(
    data: str,
    images: Path | None,
    id_column: str | None,
    label_column: str | None,
    group: str | None,
    positive: str | None,
    *,
    split_column: str | None = None,
    unlabeled: str | None = None,
    least: int = 2,
    verify_files: bool = False,
) -> ImageTable:
    """Scan DATA with the data options of the command line.

    `least`: the smallest number of classes allowed; `verify_files`: read every file now, for commands without settings.
    """
    from tellapart.data.identity import identify
    from tellapart.data.scan import scan

    table = scan(
        data, images=images, id_column=id_column, label_column=label_column, group=group, split_column=split_column,
        unlabeled=unlabeled, positive=positive, least=least,
    )  # fmt: skip
    return identify(table, verify_files=True) if verify_files else table


def settings(
    *,
    runs: Path,
    device: str,
    quiet: bool,
    skip_bad: bool = False,
    seed: int = 0,
    split_from: str | None = None,
    overwrite: bool = False,
    loggers: list[str] | None = None,
    verify_files: bool = False,
    images: Path | None = None,
) -> Settings:
    """Settings of the workflows from the options of the command line."""
    from tellapart.inference.context import Settings

    shown, names = progress(quiet), tuple(loggers or ())
    return Settings(runs, device, seed, skip_bad, split_from, overwrite, shown, names, verify_files, images)
