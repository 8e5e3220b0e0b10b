"""Request guard: host, framing, rate limit, token, origin, body size, timeout. All checks precede the parsing of images.

1. Host: a server on the loopback interface, or on one address, accepts only its own names in the `Host` header. This
   prevents DNS rebinding.
2. Framing: a request with both `Content-Length` and `Transfer-Encoding` is refused and its connection closed, since a proxy
   could see its end, and thus the next request, elsewhere (RFC 9112, section 6.1).
3. Rate limit: a token bucket for each client address. Requests without the right token count, whatever they ask for.
4. Token: compared in constant time; sent as `Bearer TOKEN`, or as the password of `Basic`, for which browsers prompt.
5. Origin: form posts from other sites are refused, although there are no cookies that they could exploit.
6. Body size: reading stops at `max_bytes`, whatever the `Content-Length` header is.
7. Timeout: a request ends after `timeout` seconds.

Before a request is complete, `connections` limits the connection.
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
from ipaddress import AddressValueError, IPv6Address
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from tellapart.server.metrics import Metrics
from tellapart.server.settings import EVERYWHERE, LOOPBACK, ServerSettings

_LOG = logging.getLogger("tellapart.server")
_BURST = 4.0  # size of a burst, in seconds of the sustained rate
_CLIENTS = 4_096  # addresses in memory
_LINGER = 10.0  # seconds to keep reading a refused body, so that the client receives the response
_NO_TOKEN = ("/health",)  # for health checks
_NO_RATE_LIMIT = ("/health", "/metrics", "/static/", "/favicon.ico")  # cost next to nothing
_ENVELOPE = 65_536  # bytes of a form besides its images
HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # "no-referrer" would turn the Origin of our own forms into "null"
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
    """An error response.

    Attributes:
        status: HTTP status, 4xx or 5xx.
        message: Description of the error.
        hint: Suggested action.
        headers: Additional response headers.
    """

    def __init__(self, status: int, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.headers = status, message, hint, dict(headers or {})


#: Renders the error response to a request.
RenderError = Callable[[Scope, RequestError], Response]


class RequestGuard:
    """ASGI middleware that applies the checks and counts the requests.

    Args:
        app: The application.
        options: Limits and token.
        metrics: Counts every request.
        render_error: Renders error responses.
    """

    def __init__(self, app: Any, options: ServerSettings, metrics: Metrics, render_error: RenderError) -> None:
        self.app, self.options, self.metrics, self.render_error = app, options, metrics, render_error
        self.rate = TokenBucket(options.rate, options.rate * _BURST) if options.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or send an error response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        body = _LimitedBody(scope, receive, self.options.max_bytes + _ENVELOPE)
        response = _HeaderWriter(send, body)
        try:
            await self._serve(scope, body, response)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.request(scope["method"], route, response.status or 499, time.perf_counter() - start)

    async def _serve(self, scope: Scope, body: _LimitedBody, response: _HeaderWriter) -> None:
        try:
            async with asyncio.timeout(self.options.timeout):
                self._admit(scope, body)
                await self.app(scope, body, response)
        except RequestError as error:
            await self._refuse(scope, body, response, error)
        except TimeoutError:
            await self._refuse(scope, body, response, _too_slow(body, self.options.timeout))
        except ClientDisconnect:
            return
        except Exception:  # a bug: details go to the log only
            _LOG.exception("%s %s failed", scope["method"], scope["path"])
            await self._refuse(scope, body, response, RequestError(500, "internal server error", "see the log of the server"))

    async def _refuse(self, scope: Scope, body: _LimitedBody, response: _HeaderWriter, error: RequestError) -> None:
        if not response.status:
            await self.render_error(scope, error)(scope, body, response)

    def _admit(self, scope: Scope, body: _LimitedBody) -> None:
        """Raise RequestError, or let a request pass."""
        headers = Headers(scope=scope)  # type: ignore[arg-type]
        self._check_host(headers.get("host", ""))
        _check_framing(headers, scope.get("http_version", "1.1"))
        self._check_rate_and_token(scope, headers.get("authorization", ""))
        if scope["method"] == "POST":
            _check_origin(headers)
        if body.declared > body.limit:
            raise body.too_large()

    def _check_host(self, host: str) -> None:
        if self.options.host not in EVERYWHERE and _name(host) not in (*LOOPBACK, self.options.host.lower()):
            raise RequestError(421, f"unexpected Host header {host[:100]!r}", "use the address that the server listens on")

    def _check_rate_and_token(self, scope: Scope, header: str) -> None:
        """Count the request against the rate of its address, then check its token.

        In this order: an address that has used up its rate gets the same response for a right and a wrong token, so that the
        rate limits guessing. With the right token, cheap requests do not count.
        """
        path, token = scope["path"], self.options.token
        guarded = token is not None and path not in _NO_TOKEN
        right = token is None or not guarded or hmac.compare_digest(_token(header), token.encode())
        cheap = right and path.startswith(_NO_RATE_LIMIT)
        if guarded or not cheap:
            self._check_rate(scope, cost=0 if cheap else 1)
        if not right:
            challenge = 'Basic realm="tellapart (any name; the token is the password)", charset="UTF-8"'
            raise RequestError(
                401, "a token is required", "send the header Authorization: Bearer TOKEN", {"www-authenticate": challenge}
            )

    def _check_rate(self, scope: Scope, cost: int) -> None:
        client = client_address((scope.get("client") or ("unknown",))[0])
        wait = self.rate.acquire(client, time.monotonic(), cost) if self.rate else 0.0
        if wait:
            retry = {"retry-after": str(math.ceil(wait))}
            raise RequestError(429, "too many requests from this address", f"wait {math.ceil(wait)} s", retry)


class TokenBucket:
    """A token bucket for each client: `burst` requests at once, `per_second` sustained."""

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, max(burst, 1.0)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client → tokens, time of that count

    def acquire(self, client: str, now: float, cost: int = 1) -> float:
        """Take a token, or only ask whether there is one.

        Args:
            client: Address of the client.
            now: Seconds of a monotonic clock.
            cost: 1, or 0 to take none.

        Returns:
            0.0 if there was a token, else the seconds until the next one.
        """
        left, when = self._left.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - when) * self.per_second)
        self._left[client] = (left - cost if left >= 1 else left, now)
        while len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.per_second


class _LimitedBody:
    """Reads the body of a request up to a limit of bytes."""

    def __init__(self, scope: Scope, receive: Receive, limit: int) -> None:
        headers = Headers(scope=scope)  # type: ignore[arg-type]
        length = headers.get("content-length", "0")
        self.declared = int(length) if length.isascii() and length.isdigit() else 0
        self.limit, self.read, self._receive = limit, 0, receive
        self.complete = not self.declared and "transfer-encoding" not in headers
        self._expects = "expect" in headers  # the client sends the body only if it is accepted

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.read += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if self.read > self.limit:
                raise self.too_large()
        return message

    def too_large(self) -> RequestError:
        return RequestError(
            413, f"the body is larger than {(self.limit - _ENVELOPE) / 1e6:,.3g} MB", "send a smaller image, or fewer at once"
        )

    async def drain(self) -> None:
        """Read and discard the rest of the body for a while: closing a connection with unread bytes may lose the response."""
        if self.complete or self._expects:
            return
        try:
            async with asyncio.timeout(_LINGER):
                while not self.complete:
                    message = await self._receive()
                    self.complete = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            return


class _HeaderWriter:
    """Sends the response: adds security headers, keeps the status, drains a body that was not read."""

    def __init__(self, send: Send, body: _LimitedBody) -> None:
        self.send, self.body, self.status = send, body, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            present = {name.lower() for name, _ in message.get("headers", [])}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in present]
            closing = [] if self.body.complete else [(b"connection", b"close")]
            message = {**message, "headers": [*message.get("headers", []), *more, *closing]}
        elif not self.body.complete and not message.get("more_body", False):
            await self.send({**message, "more_body": True})
            await self.body.drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self.send(message)


def _too_slow(body: _LimitedBody, seconds: float) -> RequestError:
    if body.complete:
        hint = "send a smaller image, or start the server with a longer --timeout"
        return RequestError(504, f"the request timed out after {seconds:g} s", hint)
    return RequestError(408, f"the request was not received within {seconds:g} s", "send it again over a faster connection")


def _check_framing(headers: Headers, version: str) -> None:
    """Refuse a request whose end is ambiguous. Different `Content-Length` headers are refused by the parser, h11."""
    length, encoding = "content-length" in headers, "transfer-encoding" in headers
    if encoding and (length or version == "1.0"):
        expected = "expected one of Content-Length and Transfer-Encoding, found both"
        message = expected if length else "HTTP/1.0 has no Transfer-Encoding"
        raise RequestError(400, message, "send Content-Length alone", {"connection": "close"})


def _check_origin(headers: Headers) -> None:
    """Refuse form posts from other sites. Programs send no `Origin` header and pass."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        raise RequestError(403, f"the request comes from another site ({origin[:100]!r})", "use the page of this server")


def _name(host: str) -> str:
    """The host name in a Host header; "" if the header is invalid.

    >>> _name("LocalHost:80"), _name("[::1]:80"), _name("me@localhost"), _name("[::1")
    ('localhost', '::1', '', '')
    """
    if set(host) & set("/\\\\@?#"):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def client_address(host: str) -> str:
    """What counts as one client: an IPv4 address, or the network (/64) of an IPv6 address, of which one client has 2^64.

    >>> client_address("192.0.2.7"), client_address("2001:db8::1:2:3:4"), client_address("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::', '192.0.2.7')
    >>> client_address("testclient")
    'testclient'
    """
    try:
        address = IPv6Address(host.partition("%")[0])
    except AddressValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))


def _token(header: str) -> bytes:
    """The token in an Authorization header, which frameworks decode as Latin-1; b"" if there is none.

    >>> _token("Bearer abc"), _token("Basic " + base64.b64encode(b"me:abc").decode()), _token("Digest abc")
    (b'abc', b'abc', b'')
    """
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
