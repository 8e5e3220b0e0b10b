"""When a connection waits for its client, and when it is closed; the limits on the wire are in tests/hostile/test_http.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from tellapart.server.connections import CONNECTIONS, ConnectionProtocol, protocol

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"


class Transport:
    """Keeps what is written; `aborted` is the end of the connection."""

    def __init__(self, host: str) -> None:
        self.host, self.written, self.aborted, self.closing = host, b"", False, False

    def get_extra_info(self, name: str) -> Any:
        return (self.host, 5) if name == "peername" else None

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = self.closing = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def application(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class Server:
    """Connections without sockets."""

    def __init__(self, per_address: int) -> None:
        self.kind, self.state = protocol(per_address), ServerState()
        self.config = Config(application, lifespan="off", log_config=None)

    def connect(self, host: str = "192.0.2.1") -> ConnectionProtocol:
        made = self.kind(self.config, self.state, {}, asyncio.get_running_loop())
        made.connection_made(Transport(host))
        return made


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_connection_waits_until_its_request_is_complete() -> None:
    async def steps() -> None:
        one = Server(8).connect()
        assert one.waiting and one._timer is not None
        one.data_received(HEAD)
        assert one.waiting and one._timer is not None  # half a head
        one.data_received(b"\r\nhal")
        assert one.waiting and one._timer is None  # half a body: the time limit of the request holds
        one.data_received(b"f")
        assert not one.waiting  # it is processed
        await settle()
        assert one.waiting and one._timer is None  # uvicorn's limit of an idle connection holds
        one.data_received(b"P")
        assert one._timer is not None  # another head
        one._give_up()
        assert one.closed
        one.connection_lost(None)

    asyncio.run(steps())


def test_the_time_limit_of_a_head_ends_no_request() -> None:
    async def steps() -> None:
        one = Server(8).connect()
        one.data_received(HEAD + b"\r\n")
        one._give_up()
        assert not one.closed
        one.data_received(b"half")
        await settle()
        one.connection_lost(None)

    asyncio.run(steps())


def test_an_upload_that_goes_on_is_newer_than_one_that_stopped() -> None:
    async def steps() -> None:
        server = Server(2)
        goes_on, stopped = server.connect(), server.connect()
        for one in (goes_on, stopped):
            one.data_received(HEAD + b"\r\nh")
        stopped.since = goes_on.since = 0.0
        goes_on.data_received(b"al")
        server.connect()
        assert stopped.closed and not goes_on.closed
        for one in list(server.state.connections):
            one.connection_lost(None)
        await settle()

    asyncio.run(steps())


@pytest.mark.parametrize(("limit", "opened", "left"), [(4, 10, 4), (0, 10, 10), (0, CONNECTIONS + 9, CONNECTIONS - 1)])
def test_the_oldest_waiting_connection_is_replaced(limit: int, opened: int, left: int) -> None:
    async def steps() -> None:
        server = Server(limit)
        other = server.connect("192.0.2.2")
        other.data_received(HEAD + b"\r\nhalf")  # in work
        made = [server.connect() for _ in range(opened)]
        assert [one.closed for one in made].index(False) == opened - sum(not one.closed for one in made)
        assert sum(not one.closed for one in made) == (left if limit or opened < CONNECTIONS else left - 1)
        assert not other.closed
        await settle()
        for one in (*made, other):
            one.connection_lost(None)

    asyncio.run(steps())
