"""`tellapart serve`: finished runs behind a web page and a JSON API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import options as opt

RunIds = Annotated[
    list[str], typer.Argument(metavar="RUN…", help="Runs: ids, beginnings of ids, or paths. The first is the default.")
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on; the default accepts only this machine.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 chooses a free one.")]
Token = Annotated[str | None, typer.Option("--token", envvar="TELLAPART_TOKEN", help="Bearer token required of every request.")]
MaxBytes = Annotated[int, typer.Option("--max-bytes", min=1000, help="Largest total size of the images of one request.")]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, help="Largest number of pixels of one image.")]
Memory = Annotated[
    int,
    typer.Option("--memory", metavar="BYTES", min=1_000_000, help="Memory for decoded images; the loaded runs come on top."),
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Time limit of one request.")]
Rate = Annotated[float, typer.Option("--rate", min=0, help="Sustained number of requests per second and client; 0: unlimited.")]
Keep = Annotated[
    Path | None,
    typer.Option("--keep", metavar="DIR", help="Store uploaded images and predictions in this folder. Default: store nothing."),
]


def run(
    run_ids: RunIds, host: Host = "127.0.0.1", port: Port = 8000, token: Token = None, max_bytes: MaxBytes = 20_000_000,
    max_pixels: MaxPixels = 50_000_000, timeout: Timeout = 30.0, rate: Rate = 10.0, memory: Memory = 440_000_000,
    keep: Keep = None, runs: opt.Runs = opt.RUNS, device: opt.Device = "auto", quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Serve finished runs as a web page and a JSON API until Ctrl-C."""
    from tellapart.inference.context import Settings
    from tellapart.server.run import serve
    from tellapart.server.settings import ServerSettings

    settings = Settings(runs, device, progress=opt.progress(quiet))
    options = ServerSettings(
        host=host, token=token or None, max_bytes=max_bytes, max_pixels=max_pixels, timeout=timeout, rate=rate, memory=memory,
        keep=keep, settings=settings,
    )  # fmt: skip
    serve(run_ids, options, port, ready=lambda address: print(address, flush=True))
