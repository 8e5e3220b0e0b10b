"""Read the uploaded images of a request, in memory only.

The body is a form (`multipart/form-data`, field `image`, repeated for several images) or the file itself. File names are never
used as paths. The format is detected from the content; declared types are ignored.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from tellapart.errors import ImageError
from tellapart.server.budget import Busy
from tellapart.server.confidence import Assessment
from tellapart.server.decoders import Decoders, Header
from tellapart.server.middleware import RequestError
from tellapart.server.settings import ServerSettings

_MAX_FILES, _MAX_FIELDS, _FIELD_BYTES = 64, 32, 4_096
_MAX_NAME = 100
_UNREADABLE = Header(0, 0, 0)
_RECEIVED = 64_000_000  # bytes of request bodies in memory, of all requests together
_RETRY_AFTER = {"retry-after": "1"}
_HINT = "send a form with the field `image`, or the file itself with the content type image/…"


@dataclass(frozen=True)
class Upload:
    """One image of a request.

    Attributes:
        name: File name given by the client; for messages only.
        content: The encoded image.
        header: Size in pixels and in memory; zeros if it cannot be read.
        error: Why the image is not predicted; "" if it is.
    """

    name: str
    content: bytes = field(repr=False)
    header: Header = _UNREADABLE
    error: str = ""


@dataclass(frozen=True, eq=False)
class UploadResult:
    """One image with its prediction, or with its error.

    Attributes:
        upload: The image.
        proba: (C,) float32; None if it cannot be read.
        assessment: Decision and confidence; None if it cannot be read.
        error: Why it cannot be read; "" if it can.
        stored: Whether the server stored the image.
        face_found: Whether a face was found in it; None if the run does not read faces.
    """

    upload: Upload
    proba: np.ndarray | None = None
    assessment: Assessment | None = None
    error: str = ""
    stored: bool = False
    face_found: bool | None = None


@dataclass(frozen=True)
class ParsedForm:
    """The images of a request, and the other fields of its form."""

    uploads: tuple[Upload, ...]
    fields: dict[str, str]


class _InMemory(MultiPartParser):
    """A form parser that writes no temporary files; the size of the body is limited elsewhere."""

    spool_max_size = 0  # SpooledTemporaryFile: never roll over to disk


class Receiver:
    """Reads the uploads of all requests, within a limit of bytes for all of them together.

    Args:
        options: The limits.
        decoders: Read the headers.

    Attributes:
        free: Bytes that may still arrive.
    """

    def __init__(self, options: ServerSettings, decoders: Decoders) -> None:
        self.options, self.decoders = options, decoders
        self.free = max(_RECEIVED, 2 * options.max_bytes)

    @asynccontextmanager
    async def receive(self, request: Request, max_images: int = 1) -> AsyncIterator[ParsedForm]:
        """Read the images of a request and check their headers. Their bytes count until the context ends.

        Args:
            request: A POST request.
            max_images: Maximum number of images. If it is 1, an invalid image is an error; else the image carries its error.

        Raises:
            RequestError: There is no image, or too many; an image is too large or not an image; the form is malformed; or the
                server is receiving too many bytes.
        """
        body = _Body(request, self)
        try:
            named, fields = await self._parsed(request, body)
            if not named:
                raise RequestError(400, "the request contains no image", _HINT)
            if len(named) > max_images:
                raise RequestError(413, f"{len(named)} images; at most {max_images} are allowed here", "send fewer at once")
            uploads = []
            for name, content in named:
                try:
                    uploads.append(await self._checked(_plain(name), content))
                except RequestError as error:
                    if max_images == 1 or error.status == 503:
                        raise
                    uploads.append(Upload(_plain(name), b"", error=error.message))
            yield ParsedForm(tuple(uploads), fields)
        finally:
            self.free += body.size

    def take(self, size: int) -> None:
        """Count bytes that have arrived.

        Raises:
            RequestError: There is no room for them.
        """
        if size > self.free:
            raise RequestError(503, "the server is receiving too many images at once", "try again in a moment", _RETRY_AFTER)
        self.free -= size

    async def _parsed(self, request: Request, body: _Body) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            return await _form(request, body)
        if kind.startswith("image/") or kind == "application/octet-stream":
            return [("image", b"".join([chunk async for chunk in body.chunks()]))], {}
        raise RequestError(415, f"content type {kind or 'missing'}: expected an image", _HINT)

    async def _checked(self, name: str, content: bytes) -> Upload:
        """An image whose header is readable and within the limits. Nothing is decoded."""
        if not content:
            raise RequestError(400, f"{name} is empty", "choose an image")
        try:
            found = await self.decoders.header(content, name)
        except Busy:
            raise RequestError(503, "the server is busy", "try again in a moment", _RETRY_AFTER) from None
        except ImageError as error:
            formats = "supported formats: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, …"
            raise RequestError(415, f"{name}: {error.reason}", formats) from None
        pixels, most = found.height * found.width, self.options.max_pixels
        size = f"{name}: {found.width:,} × {found.height:,} is {pixels / 1e6:,.0f} megapixels"
        if pixels > most:
            raise RequestError(413, f"{size}, more than the limit of {most / 1e6:,.3g}", "send a smaller image")
        if found.memory > self.decoders.most:
            need, have = found.memory / 1e6, self.decoders.most / 1e6
            message = f"{size}; decoding it takes {need:,.0f} MB of memory, and the server has {have:,.0f} MB for it"
            raise RequestError(413, message, "send a smaller image, or start the server with more --memory")
        return Upload(name, content, found)


class _Body:
    """The body of a request, counted while it arrives."""

    def __init__(self, request: Request, receiver: Receiver) -> None:
        self.size, self._request, self._receiver = 0, request, receiver

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        async for chunk in self._request.stream():
            self._receiver.take(len(chunk))
            self.size += len(chunk)
            yield chunk


async def _form(request: Request, body: _Body) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    parser = _InMemory(request.headers, body.chunks(), max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_FIELD_BYTES)
    try:
        form: Any = await parser.parse()
    except MultiPartException as error:
        raise RequestError(400, f"malformed form ({error.message})", _HINT) from None
    named, fields = [], {}
    for key, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields[key] = value
        elif key in ("image", "images") and (value.size or value.filename):
            named.append((value.filename or "image", await value.read()))
    await form.close()
    return named, fields


def _plain(name: str) -> str:
    r"""The file name for messages: printable, without folders.

    >>> _plain("C:\\photos\\me.jpg"), _plain("../../etc/passwd"), _plain("\n")
    ('me.jpg', 'passwd', 'image')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:_MAX_NAME] or "image"
