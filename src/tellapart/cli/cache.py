"""`tellapart cache`: see and clear the decoded images."""

from __future__ import annotations

from typing import Annotated

import typer

from tellapart.cli import options as shared


def run(
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything.")] = False,
    as_json: shared.AsJson = False,
    verbose: shared.Verbose = False,
) -> None:
    """Show where the decoded images lie and how much they take, or remove them."""
    from tellapart.data import cache_dir as cache

    folder = cache.default_folder()
    if clear:
        freed = cache.clear()
        shared.print_json({"folder": str(folder), "freed": freed}) if as_json else print(
            f"freed {freed / cache.GIB:.2f} GiB in {folder}"
        )
        return
    found = cache.entries()
    total = sum(e.bytes for e in found)
    if as_json:
        listed = [{"file": e.path.name, "bytes": e.bytes, "used": e.used} for e in found]
        shared.print_json({"folder": str(folder), "bytes": total, "limit": cache.limit_bytes(), "files": listed})
        return
    files = f"{len(found)} file{'' if len(found) == 1 else 's'}"
    print(f"{folder}: {files}, {total / cache.GIB:.2f} GiB of at most {cache.limit_bytes() / cache.GIB:g} GiB")
    print("`tellapart cache --clear` removes them; they are made again when they are needed")
