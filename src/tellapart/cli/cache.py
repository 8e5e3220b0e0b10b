"""`tellapart cache`: show or clear the cache, by kind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from tellapart.data.cache_dir import Entry

Kind = Annotated[
    Literal["images", "archives", "vectors", "digests"] | None,
    typer.Argument(metavar="[KIND]", help="Only one kind: images, archives, vectors or digests."),
]
Clear = Annotated[bool, typer.Option("--clear", help="Remove all files, or those of KIND.")]


def run(kind: Kind = None, clear: Clear = False, as_json: opt.AsJson = False, verbose: opt.Verbose = False) -> None:
    """Show what is in the cache, by kind, or clear it: decoded images, unpacked archives, feature vectors, digests of files."""
    from tellapart.data import cache_dir as cache

    folder = cache.default_folder()
    if clear:
        freed = cache.clear(kind=kind)
        if as_json:
            opt.print_json({"folder": str(folder), "freed": freed})
        else:
            opt.print_lines(f"freed {_size(freed)} in {folder}")
        return
    found = [entry for entry in cache.entries() if kind in (None, entry.kind.name)]
    total, limit = sum(entry.bytes for entry in found), cache.limit_bytes()
    if as_json:
        listed = [{"file": e.path.name, "kind": e.kind.name, "bytes": e.bytes, "used": e.used} for e in found]
        opt.print_json({"folder": str(folder), "bytes": total, "limit": limit, "kinds": _by_kind(found), "files": listed})
        return
    files = f"{len(found)} file{'' if len(found) == 1 else 's'}"
    opt.print_lines(f"{folder}: {files}, {_size(total)} of at most {limit / cache.GIB:g} GiB")
    _print_table(found)
    opt.print_lines("`tellapart cache --clear` removes them; they are made again when they are needed")


def _by_kind(found: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """Number of files, bytes and time of the last use, seconds since the epoch or None, of each kind."""
    from tellapart.data.cache_dir import KINDS

    summary = {}
    for kind in KINDS:
        own = [entry for entry in found if entry.kind == kind]
        used = max((entry.used for entry in own), default=None)
        summary[kind.name] = {"files": len(own), "bytes": sum(entry.bytes for entry in own), "used": used}
    return summary


def _print_table(found: Sequence[Entry]) -> None:
    from rich.table import Table

    from tellapart.data.cache_dir import KINDS

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("kind", "files", "size", "last used", ""):
        table.add_column(name, justify="right" if name in ("files", "size") else "left", no_wrap=True)
    titles = {kind.name: kind.title for kind in KINDS}
    for name, kind in _by_kind(found).items():
        if kind["files"]:
            used = datetime.fromtimestamp(kind["used"]).strftime("%Y-%m-%d %H:%M")
            table.add_row(name, f"{kind['files']:,}", _size(kind["bytes"]), used, titles[name])
    if table.row_count:
        opt.out().print(table)


def _size(count: int) -> str:
    """Such as "1.50 GiB", "27.1 MiB" or "12 KiB"."""
    if count >= 1 << 30:
        return f"{count / (1 << 30):.2f} GiB"
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{-(-count // 1024)} KiB"
