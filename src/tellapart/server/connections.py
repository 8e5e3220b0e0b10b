"""Connections that wait for their client: a time limit for the head of a request, and a limit per address.

uvicorn has neither. Whoever opens connections and sends half a head, or half a body, could hold all of them. Here a connection
is closed if the head of a request (request line and headers) is not complete within ten seconds. If an address holds too many
connections, or if all addresses together do, a new connection replaces the one that has waited longest for its client.
Connections whose request is being processed are never closed, and a new request is always read, also if its own address holds
too many.
"""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from tellapart.server.middleware import client_address

#: Seconds from the first byte, or from the beginning of a connection, to the end of the head of a request.
HEAD_TIMEOUT = 10.0
#: Connections of all addresses at once; uvicorn answers further ones with 503.
CONNECTIONS = 512


def protocol(per_address: int) -> type[ConnectionProtocol]:
    """The protocol class for uvicorn. `per_address`: number of connections per address; 0: no limit."""
    return type("LimitedProtocol", (ConnectionProtocol,), {"per_address": per_address})


class ConnectionProtocol(H11Protocol):
    """HTTP/1.1 by h11, which is always the parser: what is accepted does not depend on the packages that are installed.

    Attributes:
        per_address: Number of connections per address; 0: no limit.
        address: Address of the client; see `client_address`.
        since: When the connection was opened, or when bytes of a request last arrived after its head was complete, in seconds
            of
            the event loop.
        closed: Whether the connection was given up here.
    """

    per_address = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request; close another connection if there are too many."""
        super().connection_made(transport)
        self.address = client_address(self.client[0] if self.client else "")
        self.since, self.closed = self.loop.time(), False
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(HEAD_TIMEOUT, self._give_up)
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, and note when the head of a request is complete."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop()
        elif self._timer is None and self.idle:
            self._timer = self.loop.call_later(HEAD_TIMEOUT, self._give_up)
        if not self.idle:
            self.since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._stop()
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether no request is being received or processed."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def waiting(self) -> bool:
        """Whether the client owes bytes, of a head or a body, or does not read the end of its response."""
        return self.idle or self.cycle.more_body or self.transport.is_closing()

    def close(self) -> None:
        """Close the connection without a response."""
        self.closed = True
        self.transport.abort()

    def _make_room(self) -> None:
        """Close the connection of this address, or of all, that has waited longest, if there are too many."""
        for limit, own in ((self.per_address, True), (CONNECTIONS - 1, False)):
            others: list[Any] = [one for one in self.connections if one is not self and not one.closed]  # pyright: ignore
            if own:
                others = [one for one in others if one.address == self.address]
            waiting = [one for one in others if one.waiting]
            if limit and waiting and len(others) >= limit:
                min(waiting, key=attrgetter("since")).close()

    def _give_up(self) -> None:
        self._timer = None
        if self.idle:
            self.close()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
