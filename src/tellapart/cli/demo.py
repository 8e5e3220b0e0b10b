"""`tellapart demo`: the main job on data that the dependencies carry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import options as shared
from tellapart.cli.compare import show
from tellapart.recipe.groups import LADDER
from tellapart.workflows.compare import compare


def run(
    folder: Annotated[Path, typer.Option("--folder", help="Where the images, the runs and the report are written.")] = Path(
        "demo"
    ),
    device: shared.Device = "auto",
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Real photographs, cut into tiles, half of them edited: which ones? Trains the ladder and writes the report.

    Works offline. The edits are synthetic: what finds them need not find edits in the wild.
    """
    from tellapart.workflows.demo import make

    progress = shared.progress(quiet)
    progress.say("making the images: tiles of real photographs, half of them edited by this program (synthetic edits)")
    images = make(folder / "synthetic-edits")
    settings = shared.settings(runs=folder / "runs", device=device, quiet=quiet)
    show(compare(str(images), LADDER, settings=settings), folder / "report.html", "accuracy", as_json)
    progress.say("The edits are synthetic, made by this program: what finds them need not find edits in the wild.")
