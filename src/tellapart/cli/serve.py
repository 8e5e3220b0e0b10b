"""`tellapart serve`: finished runs behind a web page and a JSON API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from tellapart.progress import Progress

RunIds = Annotated[
    list[str], typer.Argument(metavar="RUN…", help="Runs: ids, beginnings of ids, or paths. The first is the default.")
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on; the default accepts only this machine.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 chooses a free one.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File whose first line is the token required of every request. Default: the variable TELLAPART_TOKEN.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option("--token", help="The token itself; other users of this machine can read it in the list of processes."),
]
MaxBytes = Annotated[int, typer.Option("--max-bytes", min=1000, help="Largest total size of the images of one request.")]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, help="Largest number of pixels of one image.")]
Memory = Annotated[
    int,
    typer.Option("--memory", metavar="BYTES", min=1_000_000, help="Memory for decoded images; the loaded runs come on top."),
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Time limit of one request.")]
Rate = Annotated[float, typer.Option("--rate", min=0, help="Sustained number of requests per second and client; 0: unlimited.")]
Connections = Annotated[
    int, typer.Option("--connections", min=0, help="Number of connections of one client at once; 0: unlimited.")
]
Keep = Annotated[
    Path | None,
    typer.Option("--keep", metavar="DIR", help="Store uploaded images and predictions in this folder. Default: store nothing."),
]


def run(
    run_ids: RunIds, host: Host = "127.0.0.1", port: Port = 8000, token_file: TokenFile = None, token: Token = None,
    max_bytes: MaxBytes = 20_000_000, max_pixels: MaxPixels = 50_000_000, timeout: Timeout = 30.0, rate: Rate = 10.0,
    connections: Connections = 64, memory: Memory = 440_000_000, keep: Keep = None,
    runs: opt.Runs = opt.RUNS, data: opt.ImagesOfRun = None, device: opt.Device = "auto", quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Serve finished runs as a web page and a JSON API until Ctrl-C."""
    from tellapart.inference.context import Settings
    from tellapart.server.run import serve
    from tellapart.server.settings import ServerSettings

    settings = Settings(runs, device, progress=opt.progress(quiet), images=data)
    options = ServerSettings(
        host=host, token=_token(token_file, token, settings.progress), max_bytes=max_bytes, max_pixels=max_pixels,
        timeout=timeout, rate=rate, connections=connections, memory=memory, keep=keep, settings=settings,
    )  # fmt: skip
    serve(run_ids, options, port, ready=opt.print_lines)


def _token(file: Path | None, typed: str | None, progress: Progress) -> str | None:
    """The token of the file, of the command line or of the environment; None if there is none."""
    from tellapart.server.settings import read_token

    if file is not None and typed:
        raise typer.BadParameter("--token-file and --token: choose one")
    if file is not None:
        return read_token(file)
    if typed:
        warning = "other users of this machine can read the token in the list of processes; see --token-file"
        progress.say(f"  --token: {warning}", "yellow")
    return typed or os.environ.get("TELLAPART_TOKEN") or None
