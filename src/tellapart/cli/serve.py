"""`tellapart serve`: finished runs behind a web page and a JSON API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import options as shared


def run(
    run_ids: Annotated[
        list[str], typer.Argument(metavar="RUN…", help="Ids, beginnings of ids, or paths. The first is the usual one.")
    ],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; the usual one is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="TELLAPART_TOKEN", help="What every request must show; or in TELLAPART_TOKEN."),
    ] = None,
    max_bytes: Annotated[int, typer.Option("--max-bytes", min=1000, help="Of all pictures of one request.")] = 20_000_000,
    max_pixels: Annotated[int, typer.Option("--max-pixels", min=1, help="Of one picture.")] = 50_000_000,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for one request.")] = 30.0,
    rate: Annotated[
        float, typer.Option("--rate", min=0, help="Requests a second and client, sustained; 0: any number.")
    ] = 10.0,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep pictures and answers here. Usually nothing is kept.")
    ] = None,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Answer pictures over HTTP, with finished runs, until Ctrl-C."""
    from tellapart.inference.context import Settings
    from tellapart.server.run import serve
    from tellapart.server.settings import ServerSettings

    settings = Settings(runs, device, progress=shared.progress(quiet))
    options = ServerSettings(
        host=host, token=token or None, max_bytes=max_bytes, max_pixels=max_pixels, timeout=timeout, rate=rate, keep=keep,
        settings=settings,
    )  # fmt: skip
    serve(run_ids, options, port, ready=lambda address: print(address, flush=True))
