"""`tellapart cache`: show or clear the cache of decoded images."""

from __future__ import annotations

from typing import Annotated

import typer

from tellapart.cli import options as opt

Clear = Annotated[bool, typer.Option("--clear", help="Remove everything in it.")]


def run(clear: Clear = False, as_json: opt.AsJson = False, verbose: opt.Verbose = False) -> None:
    """Show the folder and size of the cache of decoded images, unpacked archives and feature vectors, or clear it."""
    from tellapart.data import cache_dir as cache

    folder = cache.default_folder()
    if clear:
        freed = cache.clear()
        if as_json:
            opt.print_json({"folder": str(folder), "freed": freed})
        else:
            opt.print_lines(f"freed {freed / cache.GIB:.2f} GiB in {folder}")
        return
    found = cache.entries()
    total = sum(e.bytes for e in found)
    if as_json:
        listed = [{"file": e.path.name, "bytes": e.bytes, "used": e.used} for e in found]
        opt.print_json({"folder": str(folder), "bytes": total, "limit": cache.limit_bytes(), "files": listed})
        return
    files = f"{len(found)} file{'' if len(found) == 1 else 's'}"
    opt.print_lines(
        f"{folder}: {files}, {total / cache.GIB:.2f} GiB of at most {cache.limit_bytes() / cache.GIB:g} GiB",
        "`tellapart cache --clear` removes them; they are made again when they are needed",
    )
