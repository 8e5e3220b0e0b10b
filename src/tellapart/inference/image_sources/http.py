"""Images from the web, only if allowed: http and https, with limits on time and size.

A redirect may lead to the same host or to a public address, never to another scheme, and never into the local network: a server
must not choose what is fetched from there (server-side request forgery).
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, final
from urllib.parse import urlsplit

from tellapart.errors import DataError, ImageError
from tellapart.inference.image_sources.base import ImageRef, Source

#: Seconds without a byte; seconds in total; bytes of one image.
PATIENCE, LONGEST, LARGEST = 20.0, 120.0, 64 * 2**20
_PIECE = 2**16
_HEADERS = {"User-Agent": "tellapart", "Accept": "image/*"}


@final
class HttpSource(Source):
    """One image on the web.

    Args:
        url: Begins with http:// or https://.
        allowed: Whether the user allowed it.

    Raises:
        DataError: The user did not.
    """

    def __init__(self, url: str, allowed: bool) -> None:
        if not allowed:
            raise DataError(f"{url}: fetching from the web is off by default", hint="add --allow-urls, or name a file on disk")
        self._url = url

    def items(self) -> Iterator[ImageRef]:
        """See `Source`."""
        yield ImageRef(self._url, self, self._url)

    def read(self, name: str, key: Any) -> bytes:
        """See `Source`."""
        return fetch(key, name)


def fetch(url: str, name: str) -> bytes:
    """Download one image.

    Args:
        url: http or https.
        name: Name of the image in errors.

    Raises:
        ImageError: The server reports an error, the image is too large or too slow, or a redirect is not allowed.
    """
    try:
        with _opener().open(urllib.request.Request(url, headers=_HEADERS), timeout=PATIENCE) as response:
            return _body(response, name)
    except ImageError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        raise ImageError(name, f"HTTP error {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise ImageError(name, f"cannot be fetched ({error.reason})") from None
    except TimeoutError:
        raise ImageError(name, f"no byte in {PATIENCE:g} s") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ImageError(name, f"cannot be fetched ({error})") from None


def _body(response: Any, name: str) -> bytes:
    """All bytes, within the limits of size and time."""
    length, content, end = response.headers.get("Content-Length"), bytearray(), time.monotonic() + LONGEST
    if length and length.isdigit() and int(length) > LARGEST:
        raise ImageError(name, f"is {int(length):,} bytes, over the limit of {LARGEST:,} for downloads")
    while piece := response.read1(_PIECE):
        content += piece
        if len(content) > LARGEST:
            raise ImageError(name, f"is larger than {LARGEST:,} bytes, the limit for downloads")
        if time.monotonic() > end:
            raise ImageError(name, f"took longer than {LONGEST:g} s")
    if length and length.isdigit() and len(content) != int(length):
        raise ImageError(name, f"ended early: {len(content):,} of {int(length):,} bytes")
    return bytes(content)


def _opener() -> urllib.request.OpenerDirector:
    """http and https only: never file:, ftp: or data:."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(), _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(), urllib.request.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to the same host or to a public address."""

    max_redirections = 5

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The next request, as of the base class; a URLError if the redirect must not be followed."""
        new, old = urlsplit(newurl), urlsplit(req.full_url)  # the scheme is http, https or ftp by now
        reason = f"it leads to {new.scheme}:, which is not followed" if new.scheme == "ftp" else ""
        if (new.hostname, new.port) != (old.hostname, old.port) and not _is_public(new.hostname or ""):
            reason = reason or f"it leads to {new.hostname}, an address that is not public"
        if reason:
            fp.close()
            raise urllib.error.URLError(reason)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_public(host: str) -> bool:
    """Whether every address of a host is public."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(one.partition("%")[0]).is_global for one in found)
