"""Hostile clients on the wire: half-open connections, guessed tokens, requests whose end is ambiguous."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tellapart.errors import SystemLimitError
from tellapart.server import connections, middleware
from tellapart.server.metrics import Metrics
from tellapart.server.middleware import RequestGuard
from tellapart.server.run import http_server
from tellapart.server.settings import ServerSettings, read_token

Address = tuple[str, int]
Serve = Callable[..., Address]
HALF_HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_BODY = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body and answers with its length."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d bytes" % length})


def plain_error(_: Any, error: middleware.RequestError) -> Any:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(error.message, error.status, headers=error.headers)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(token="x")`: the address of a server with the guard and the limits of `tellapart serve`, without a model."""
    with contextlib.ExitStack() as stack:

        def start(app: Any = application, **options: Any) -> Address:
            settings = ServerSettings(**{"rate": 0, "timeout": 240.0, **options})
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
            server = http_server(RequestGuard(app, settings, Metrics(), plain_error), settings)
            thread = threading.Thread(target=server.run, args=([listening],))
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            return listening.getsockname()

        yield start


def connect(address: Address, sent: bytes, source: str = "127.0.0.1") -> socket.socket:
    line = socket.create_connection(address, timeout=240, source_address=(source, 0))
    line.sendall(sent)
    return line


def everything(line: socket.socket) -> bytes:
    """All bytes until the server closes the connection."""
    reply = b""
    with contextlib.suppress(ConnectionError):
        while chunk := line.recv(65_536):
            reply += chunk
    return reply


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


def get(address: Address, path: str = "/health", *headers: str, source: str = "127.0.0.1") -> int:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    with connect(address, "\r\n".join(lines).encode(), source) as line:
        return status(everything(line))


@pytest.mark.parametrize(
    ("half", "rest"),
    [(HALF_HEAD, b"x\r\n\r\n"), (HALF_BODY, bytes(96)), (b"", b"GET /read HTTP/1.1\r\nHost: localhost\r\n\r\n")],
    ids=["half a head", "half a body", "nothing"],
)
def test_six_hundred_half_open_connections_stop_nobody(serve: Serve, half: bytes, rest: bytes) -> None:
    """One address opens them; others, and requests of the address itself, are still answered."""
    address = serve()
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(connect(address, half)) for _ in range(600)]
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            assert get(address, "/health", source=source) == get(address, "/read", source=source) == 200
        assert everything(lines[0]) == b""  # the oldest was replaced
        lines[-1].sendall(
            b"x\r\n\r\n" if half == HALF_HEAD else b"x" * 96 if half else b"GET /read HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert status(lines[-1].recv(1000)) == 200  # the newest is still served


def test_half_open_connections_of_many_addresses_stop_nobody(serve: Serve) -> None:
    address = serve()
    with contextlib.ExitStack() as stack:
        for host in range(20):
            for _ in range(40):
                stack.enter_context(connect(address, HALF_HEAD, f"127.0.1.{host + 1}"))
        assert get(address, source="127.0.0.2") == 200


def test_a_request_in_work_is_not_replaced(serve: Serve) -> None:
    begun, release = threading.Event(), threading.Event()

    async def works(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/work":
            begun.set()
            await asyncio.to_thread(release.wait)
        await application(scope, receive, send)

    address = serve(works)
    with connect(address, b"GET /work HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as first:
        assert begun.wait(240)
        with contextlib.ExitStack() as stack:
            stack.callback(release.set)
            for _ in range(200):
                stack.enter_context(connect(address, HALF_HEAD))
            assert get(address) == 200
        assert status(everything(first)) == 200


@pytest.mark.parametrize("sent", [b"", b"GE", HALF_HEAD])
def test_a_head_that_is_never_finished_closes_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    address = serve()
    with connect(address, b"GET /read HTTP/1.1\r\nHost: localhost\r\n\r\n") as second:
        reply = b""
        while not reply.endswith(b"\r\n0\r\n\r\n"):
            reply += second.recv(1000)
        monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.3)
        with connect(address, sent) as first:
            assert everything(first) == b""
        second.sendall(sent or HALF_HEAD)  # a second head on one connection
        assert everything(second) == b""


def test_a_body_that_never_ends_is_408(serve: Serve) -> None:
    with connect(serve(timeout=0.5), HALF_BODY) as line:
        assert status(line.recv(1000)) == 408


SMUGGLED = b"0\r\n\r\nGET /read HTTP/1.1\r\nHost: localhost\r\n\r\n"
AMBIGUOUS = {
    "both": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "both, the other way": b"Transfer-Encoding: chunked\r\nContent-Length: 50\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "two lengths in a list": b"Content-Length: 5, 6\r\n",
    "two encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "an unknown encoding": b"Transfer-Encoding: xchunked\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
    "a signed length": b"Content-Length: +5\r\n",
}


@pytest.mark.parametrize("headers", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_request_with_an_ambiguous_end_is_refused_and_the_connection_closed(serve: Serve, headers: bytes) -> None:
    with connect(serve(), b"POST /read HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n" + SMUGGLED) as line:
        reply = everything(line)  # ends, so the connection was closed
    assert status(reply) in (400, 501) and reply.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in reply.lower()


def test_chunks_in_http_1_0_are_refused(serve: Serve) -> None:
    with connect(serve(), b"POST /read HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED) as line:
        reply = everything(line)
    assert status(reply) == 400 and reply.count(b"HTTP/1.1 ") == 1


def test_a_chunked_request_and_equal_lengths_are_served(serve: Serve) -> None:
    address = serve()
    for headers, body in ((b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"), (b"Content-Length: 5", b"hello")):
        with connect(
            address, b"POST /read HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + b"\r\n\r\n" + body
        ) as line:
            assert b"5 bytes" in everything(line)


# --- tokens -------------------------------------------------------------------------------------------------------------

RIGHT, WRONG = "Authorization: Bearer right", "Authorization: Bearer wrong"


@pytest.mark.parametrize("path", ["/read", "/metrics", "/static/page.css"])
def test_wrong_tokens_count_against_the_rate_of_their_address(serve: Serve, path: str) -> None:
    """An address that has used up its rate learns nothing more: right and wrong tokens get the same response."""
    address = serve(token="right", rate=0.5, connections=0)  # a burst of two; a further one after two seconds
    statuses = [get(address, path, WRONG) for _ in range(20)]
    assert statuses[:2] == [401, 401] and 429 in statuses
    address = serve(token="right", rate=0.001)  # a burst of one; a further one after a quarter of an hour
    assert [get(address, path, header) for header in (WRONG, WRONG, RIGHT)] == [401, 429, 429]
    assert get(address, path, RIGHT, source="127.0.0.2") == 200  # another address
    assert get(address, "/health") == 200


def test_cheap_requests_with_the_right_token_do_not_count(serve: Serve) -> None:
    address = serve(token="right", rate=0.001)
    assert [get(address, path, RIGHT) for path in ("/metrics", "/static/a", "/metrics", "/read")] == [200] * 4
    assert get(address, "/read", RIGHT) == 429


def test_one_network_of_ipv6_is_one_client() -> None:
    address = middleware.client_address
    assert address("2001:db8:1:2::1") == address("2001:db8:1:2:ffff::7") != address("2001:db8:1:3::1")
    assert address("::ffff:192.0.2.7") == "192.0.2.7" and address("fe80::1%eth0") == "fe80::"


def test_a_token_file_is_a_regular_file_with_a_first_line(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"  s\xc3\xa9same \r\nanother line\n")
    assert read_token(file) == "sésame"
    for content, reason in ((b"", "is empty"), (b"\nsecond line\n", "is empty"), (b"\xff\n", "not UTF-8")):
        file.write_bytes(content)
        with pytest.raises(SystemLimitError, match=reason):
            read_token(file)
    os.mkfifo(tmp_path / "fifo")
    for path, reason in (("fifo", "regular file"), (".", "regular file|directory"), ("missing", "cannot be read")):
        with pytest.raises(SystemLimitError, match=reason) as caught:
            read_token(tmp_path / path)
        assert "chmod 600" in str(caught.value.hint)
    with pytest.raises(SystemLimitError, match="regular file"):
        read_token(Path("/dev/zero"))
