"""`tellapart demo`: `compare` on photographs that come with the installed packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import options as opt
from tellapart.cli.compare import show
from tellapart.recipe.groups import LADDER

Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the images, the runs and the report.")]


def run(
    output: Output = Path("demo"), device: opt.Device = "auto", as_json: opt.AsJson = False, quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Train the ladder of recipes on a demo data set and write a report: which of these photographs are edited?

    Works offline. The images are tiles of real photographs; half of them are edited by this program. These edits are
    synthetic: a detector of them may miss others.
    """
    from tellapart.workflows.compare import compare
    from tellapart.workflows.demo import make

    progress = opt.progress(quiet)
    progress.say("making the images: tiles of real photographs, half of them with synthetic edits")
    images = make(output / "synthetic-edits")
    settings = opt.settings(runs=output / "runs", device=device, quiet=quiet)
    show(compare(str(images), LADDER, settings=settings), output / "report.html", "accuracy", as_json)
    progress.say("The edits are synthetic: a detector of them may miss other edits.")
