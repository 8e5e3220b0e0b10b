"""Read the uploaded images of a request, in memory only.

The body is a form (`multipart/form-data`, field `image`, repeated for several images) or the file itself. File names are never
used as paths. The format is detected from the content; declared types are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from tellapart.data.decode import header
from tellapart.errors import ImageError
from tellapart.server.confidence import Assessment
from tellapart.server.middleware import RequestError
from tellapart.server.settings import ServerSettings

_MAX_FILES, _MAX_FIELDS, _FIELD_BYTES = 64, 32, 4_096
_MAX_NAME = 100
_HINT = "send a form with the field `image`, or the file itself with the content type image/…"


@dataclass(frozen=True)
class Upload:
    """One image of a request.

    Attributes:
        name: File name given by the client; for messages only.
        content: The encoded image.
        width, height: Size in pixels, from the header; 0 if it cannot be read.
        error: Why the image is not predicted; "" if it is.
    """

    name: str
    content: bytes = field(repr=False)
    width: int = 0
    height: int = 0
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
    """

    upload: Upload
    proba: np.ndarray | None = None
    assessment: Assessment | None = None
    error: str = ""
    stored: bool = False


@dataclass(frozen=True)
class ParsedForm:
    """The images of a request, and the other fields of its form."""

    uploads: tuple[Upload, ...]
    fields: dict[str, str]


class _InMemory(MultiPartParser):
    """A form parser that writes no temporary files; the size of the body is limited elsewhere."""

    spool_max_size = 0  # SpooledTemporaryFile: never roll over to disk


async def parse_request(request: Request, options: ServerSettings, max_images: int = 1) -> ParsedForm:
    """Read the images of a request and check their headers.

    Args:
        request: A POST request.
        options: The limits.
        max_images: Maximum number of images. If it is 1, an invalid image is an error; else the image carries its error.

    Raises:
        RequestError: There is no image, or too many; an image is too large or not an image; or the form is malformed.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        named, fields = await _form(request)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        named, fields = [("image", await request.body())], {}
    else:
        raise RequestError(415, f"content type {kind or 'missing'}: expected an image", _HINT)
    if not named:
        raise RequestError(400, "the request contains no image", _HINT)
    if len(named) > max_images:
        raise RequestError(413, f"{len(named)} images; at most {max_images} are allowed here", "send fewer at once")
    uploads = []
    for name, content in named:
        try:
            uploads.append(await run_in_threadpool(_checked, _plain(name), content, options))
        except RequestError as error:
            if max_images == 1:
                raise
            uploads.append(Upload(_plain(name), b"", error=error.message))
    return ParsedForm(tuple(uploads), fields)


async def _form(request: Request) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    parser = _InMemory(
        request.headers, request.stream(), max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_FIELD_BYTES
    )
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


def _checked(name: str, content: bytes, options: ServerSettings) -> Upload:
    """An image whose header is readable and within the limits. Nothing is decoded."""
    if not content:
        raise RequestError(400, f"{name} is empty", "choose an image")
    try:
        height, width, _ = header(content, name)
    except ImageError as error:
        raise RequestError(
            415, f"{name}: {error.reason}", "supported formats: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, …"
        ) from None
    if height * width > options.max_pixels:
        size = f"{width:,} × {height:,} is {height * width / 1e6:,.0f} megapixels"
        raise RequestError(
            413, f"{name}: {size}, more than the limit of {options.max_pixels / 1e6:,.3g}", "send a smaller image"
        )
    return Upload(name, content, width, height)
