"""Run the application with uvicorn in one process: each model is loaded once and used by one thread.

`connections` limits the connections of each address and closes those whose client is too slow. TLS is the job of a reverse
proxy.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tellapart.errors import SystemLimitError, TellapartError
from tellapart.inference.predictor import export_ahead
from tellapart.runs import store
from tellapart.server.settings import ServerSettings

if TYPE_CHECKING:
    import uvicorn

_WEB_EXTRA = ("fastapi", "starlette", "uvicorn", "h11", "python_multipart", "prometheus_client")
#: Of glibc's malloc.h: largest block of the heap, free bytes at its top, number of heaps. Large buffers (uploads, maps) then go
#: back to the system when they are freed; with the defaults the server stayed 250 MB larger after an attack.
_MALLOC = {-3: 2**20, -1: 2**20, -8: 2}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_ARENA_MAX
_IN_USE = "choose another port with --port; 0 takes any free port"


class WebExtraError(TellapartError):
    """FastAPI or uvicorn is not installed."""


def serve(names: Sequence[str], options: ServerSettings, port: int, ready: Callable[[str], object]) -> None:
    """Serve runs until Ctrl-C or SIGTERM, which end it without an error, as those who send them ask for no more than that.

    uvicorn finishes its requests, then raises the signal again. A second Ctrl-C ends the requests too, and is an error.

    Args:
        names: Runs: ids, prefixes of ids, or paths; the first is the default.
        options: Limits, device, folders; messages go to its `settings.progress`.
        port: 0: any free port.
        ready: Called with the address when the server accepts connections.

    Raises:
        WebExtraError: The extra `web` is not installed.
        RunError: A run does not exist or cannot be loaded.
        SystemLimitError: The server cannot listen on the address.
        KeyboardInterrupt: It was interrupted before it could accept connections, or twice.
    """
    _give_memory_back()
    create_app = _imported()
    say = options.settings.progress.say
    listening = _listen(options.host, port)
    with listening:
        runs = [store.open_run(name, options.settings.runs, options.settings.images) for name in names]
        for run in runs:
            export_ahead(run, options.settings)
        app = create_app(runs, options)
        address = _address(options.host, listening.getsockname()[1])
        if not options.is_private and options.token is None:
            say(f"  {options.host} can be reached from other machines, and no token is required: see --token-file", "yellow")
        say(f"  {', '.join(run.id for run in runs)}: serving at {address}; stop with Ctrl-C")
        ready(address)
        server = http_server(app, options)
        try:
            server.run([listening])
        except KeyboardInterrupt:
            if not server.started or server.force_exit:
                raise
        say("  stopped")


def http_server(app: Any, options: ServerSettings) -> uvicorn.Server:
    """The uvicorn server of an ASGI application, with the limits on connections.

    Args:
        app: The application.
        options: `connections` is used here.
    """
    import uvicorn

    from tellapart.server import connections

    config = uvicorn.Config(
        app, http=connections.protocol(options.connections), ws="none", lifespan="on", log_level="error", access_log=False,
        proxy_headers=False, server_header=False, limit_concurrency=connections.CONNECTIONS, timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    return uvicorn.Server(config)


def _give_memory_back() -> None:
    """Let freed buffers go back to the system, where malloc is glibc's."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


def _imported() -> Any:
    try:
        import python_multipart  # noqa: F401  # used by Starlette to parse forms
        import uvicorn  # noqa: F401  # used by `http_server`

        from tellapart.server.app import create_app
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _WEB_EXTRA:
            raise
        raise WebExtraError(f"{error.name} is not installed", hint='in the checkout: pip install ".[web]"') from None
    return create_app


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        hint = _IN_USE if error.errno in (errno.EADDRINUSE, errno.EACCES) else "choose another address with --host"
        raise SystemLimitError(f"cannot listen on {_address(host, port)} ({error.strerror or error})", hint=hint) from None


def _address(host: str, port: int) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"
