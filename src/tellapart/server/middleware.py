"""Who is let in, with how much, for how long, and how often. Everything here happens before a picture is looked at.

1. The `Host` of a server on this machine alone must be one of its own names: a page elsewhere whose name was pointed here
   (DNS rebinding) is turned away.
2. The token, if there is one, is compared in constant time; `Bearer TOKEN`, or the password of `Basic`, which browsers ask for.
   There are no cookies, so no other site can act in somebody's name; a form that another site sends here is refused by its
   `Origin` all the same.
3. A client that sends too often waits (a token bucket for each address).
4. A body is cut off at `max_bytes` while it arrives, whatever its header says, and a request at `timeout`, however slow it is.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from tellapart.server.metrics import Metrics
from tellapart.server.settings import EVERYWHERE, LOOPBACK, ServerSettings

_LOG = logging.getLogger("tellapart.server")
_BURST = 4.0  # seconds' worth of requests that may come at once
_CLIENTS = 4_096  # addresses that are remembered
_LINGER = 10.0  # seconds for which a body is read on after its refusal was sent, so that its sender hears why
_OPEN = ("/health",)  # asks for no token: whoever keeps the server alive needs none
_FREE = ("/health", "/metrics", "/static/", "/favicon.ico")  # cost next to nothing, and are not counted
_ENVELOPE = 65_536  # bytes of a form around its pictures
HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # "no-referrer" would turn the Origin of our own forms into "metadata"
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class RequestError(Exception):
    """A request that is not served.

    Attributes:
        status: HTTP status, 4xx or 5xx.
        message: What is wrong.
        hint: What to do about it.
        headers: To send along.
    """

    def __init__(self, status: int, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.headers = status, message, hint, dict(headers or {})


#: From a request's scope and a refusal to what its sender is shown.
Explain = Callable[[Scope, RequestError], Response]


class RequestGuard:
    """Stands before the application.

    Args:
        app: What is guarded.
        options: The limits.
        measures: Where every request is counted.
        explain: How a refusal is shown.
    """

    def __init__(self, app: Any, options: ServerSettings, measures: Metrics, explain: Explain) -> None:
        self.app, self.options, self.measures, self.explain = app, options, measures, explain
        self.rate = TokenBucket(options.rate, options.rate * _BURST) if options.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        body = _Body(scope, receive, self.options.max_bytes + _ENVELOPE)
        answer = _Answer(send, body)
        try:
            await self._serve(scope, body, answer)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.measures.request(scope["method"], route, answer.status or 499, time.perf_counter() - began)

    async def _serve(self, scope: Scope, body: _Body, answer: _Answer) -> None:
        try:
            async with asyncio.timeout(self.options.timeout):
                self._admit(scope, body)
                await self.app(scope, body, answer)
        except RequestError as refused:
            await self._refuse(scope, body, answer, refused)
        except TimeoutError:
            await self._refuse(scope, body, answer, _too_slow(body, self.options.timeout))
        except ClientDisconnect:
            return  # nobody is left to be told
        except Exception:  # a fault of ours: who asked hears that, the log hears more
            _LOG.exception("%s %s failed", scope["method"], scope["path"])
            await self._refuse(scope, body, answer, RequestError(500, "the server failed at this", "the reason is in its log"))

    async def _refuse(self, scope: Scope, body: _Body, answer: _Answer, refused: RequestError) -> None:
        if not answer.status:
            await self.explain(scope, refused)(scope, body, answer)

    def _admit(self, scope: Scope, body: _Body) -> None:
        """Raise Refused, or let a request pass."""
        headers = Headers(scope=scope)  # type: ignore[arg-type]
        self._check_host(headers.get("host", ""))
        self._check_token(scope["path"], headers.get("authorization", ""))
        if scope["method"] == "POST":
            _check_origin(headers)
        if not scope["path"].startswith(_FREE):
            self._check_rate(scope)
        if body.announced > body.most:
            raise body.too_large()

    def _check_host(self, host: str) -> None:
        if self.options.host not in EVERYWHERE and _name(host) not in (*LOOPBACK, self.options.host.lower()):
            raise RequestError(421, "this server is not called that", "call it by the address that it was started with")

    def _check_token(self, path: str, header: str) -> None:
        if self.options.token is None or path in _OPEN:
            return
        if not hmac.compare_digest(_shown(header), self.options.token.encode()):
            asks = 'Basic realm="tellapart (any name; the token is the password)", charset="UTF-8"'
            raise RequestError(401, "a token is needed", "send it as Authorization: Bearer TOKEN", {"www-authenticate": asks})

    def _check_rate(self, scope: Scope) -> None:
        client = (scope.get("client") or ("unknown",))[0]
        wait = self.rate.acquire(str(client), time.monotonic()) if self.rate else 0.0
        if wait:
            after = {"retry-after": str(math.ceil(wait))}
            raise RequestError(429, "too many requests from this address", f"wait {math.ceil(wait)} s", after)


class TokenBucket:
    """A token bucket for each client: `burst` at once, `per_second` sustained."""

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, max(burst, 1.0)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client → tokens, when that was

    def acquire(self, client: str, now: float) -> float:
        """Take one; 0.0 when there was one, else how many seconds until there is. `now`: seconds of a steady clock."""
        left, when = self._left.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - when) * self.per_second)
        self._left[client] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.per_second


class _Body:
    """The body of a request, counted while it arrives."""

    def __init__(self, scope: Scope, receive: Receive, most: int) -> None:
        headers = Headers(scope=scope)  # type: ignore[arg-type]
        length = headers.get("content-length", "0")
        self.announced = int(length) if length.isascii() and length.isdigit() else 0
        self.most, self.read, self._receive = most, 0, receive
        self.whole = not self.announced and "transfer-encoding" not in headers
        self._waits = "expect" in headers  # the sender has sent nothing yet, and will not once it is refused

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.read += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self.read > self.most:
                raise self.too_large()
        return message

    def too_large(self) -> RequestError:
        return RequestError(
            413, f"more than {(self.most - _ENVELOPE) / 1e6:,.3g} MB", "send a smaller picture, or fewer at once"
        )

    async def drain(self) -> None:
        """Read on and forget, for a moment: a connection that is closed on unread bytes may lose the answer, too."""
        if self.whole or self._waits:
            return
        try:
            async with asyncio.timeout(_LINGER):
                while not self.whole:
                    message = await self._receive()
                    self.whole = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            return


class _Answer:
    """What is sent back: our headers added, the status remembered, a body that was not read read first."""

    def __init__(self, send: Send, body: _Body) -> None:
        self.send, self.body, self.status = send, body, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            given = {name.lower() for name, _ in message.get("headers", [])}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in given]
            closing = [] if self.body.whole else [(b"connection", b"close")]
            message = {**message, "headers": [*message.get("headers", []), *more, *closing]}
        elif not self.body.whole and not message.get("more_body", False):
            await self.send({**message, "more_body": True})
            await self.body.drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self.send(message)


def _too_slow(body: _Body, seconds: float) -> RequestError:
    if body.whole:
        hint = "send a smaller picture, or start the server with a longer --timeout"
        return RequestError(504, f"there was no answer within {seconds:g} s", hint)
    return RequestError(408, f"the request had not arrived after {seconds:g} s", "send it again, on a faster line")


def _check_origin(headers: Headers) -> None:
    """A form on another site must not send anything here. Programs send no `Origin`, and pass."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        raise RequestError(403, "this request comes from a page of another site", "open the page of this server itself")


def _name(host: str) -> str:
    """The name in a Host header; "" of one that makes no sense.

    >>> _name("LocalHost:80"), _name("[::1]:80"), _name("me@localhost"), _name("[::1")
    ('localhost', '::1', '', '')
    """
    if set(host) & set("/\\\\@?#"):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _shown(header: str) -> bytes:
    """The token in an Authorization header, which frameworks read as Latin-1; b"" where there is none.

    >>> _shown("Bearer abc"), _shown("Basic " + base64.b64encode(b"me:abc").decode()), _shown("Digest abc")
    (b'abc', b'abc', b'')
    """
    kind, _, given = header.partition(" ")
    if kind.lower() == "bearer":
        return given.strip().encode("latin-1")
    if kind.lower() != "basic":
        return b""
    try:
        return base64.b64decode(given, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
