"""Pictures out of a request, in memory alone.

A form (`multipart/form-data`, field `image`, repeated for several) or the bare file as the body. What a file is called is never
used as a path, and what it says to be is not believed: its first bytes decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from tellapart.data.decode import header
from tellapart.errors import ImageError
from tellapart.server.middleware import RequestError
from tellapart.server.settings import ServerSettings

MOST_FILES, _MOST_FIELDS, _FIELD_BYTES = 64, 32, 4_096
_LONGEST_NAME = 100
_HINT = "send a form with the field `image`, or the file itself with the type image/…"


@dataclass(frozen=True)
class Upload:
    """One picture of a request.

    Attributes:
        name: What its sender calls it; for messages alone.
        content: The encoded file.
        width, height: In pixels, as its header says; 0 where that cannot be read.
        reason: Why it is not asked about; "" usually.
    """

    name: str
    content: bytes = field(repr=False)
    width: int = 0
    height: int = 0
    reason: str = ""


@dataclass(frozen=True)
class ParsedForm:
    """What a request brought: pictures, and the other fields of its form."""

    uploads: tuple[Upload, ...]
    fields: dict[str, str]


class _InMemory(MultiPartParser):
    """No part is written to a temporary file, however large: the body was bounded before."""

    spool_max_size = 0  # of SpooledTemporaryFile: never


async def parse_request(request: Request, options: ServerSettings, most: int = 1) -> ParsedForm:
    """Read the pictures of a request and look at their headers.

    Args:
        request: A POST.
        options: The limits.
        most: Pictures that it may bring. Of several, one that cannot be asked about carries its reason; a lone one is refused.

    Raises:
        Refused: No picture, too many, too large, not an image, or a malformed form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        named, fields = await _form(request)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        named, fields = [("image", await request.body())], {}
    else:
        raise RequestError(415, f"a request of the type {kind or 'nothing'} brings no picture", _HINT)
    if not named:
        raise RequestError(400, "there is no picture in this request", _HINT)
    if len(named) > most:
        raise RequestError(413, f"{len(named)} pictures; at most {most} here", "send fewer at once")
    uploads = []
    for name, content in named:
        try:
            uploads.append(await run_in_threadpool(_checked, _plain(name), content, options))
        except RequestError as refused:
            if most == 1:
                raise
            uploads.append(Upload(_plain(name), b"", reason=refused.message))
    return ParsedForm(tuple(uploads), fields)


async def _form(request: Request) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    parser = _InMemory(
        request.headers, request.stream(), max_files=MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=_FIELD_BYTES
    )
    try:
        form: Any = await parser.parse()
    except MultiPartException as error:
        raise RequestError(400, f"the form cannot be read ({error.message})", _HINT) from None
    named, fields = [], {}
    for key, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields[key] = value
        elif key in ("image", "images") and (value.size or value.filename):
            named.append((value.filename or "image", await value.read()))
    await form.close()
    return named, fields


def _plain(name: str) -> str:
    r"""What a picture is called, for messages: one line, and no folders.

    >>> _plain("C:\\photos\\me.jpg"), _plain("../../etc/passwd"), _plain("\n")
    ('me.jpg', 'passwd', 'image')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:_LONGEST_NAME] or "image"


def _checked(name: str, content: bytes, options: ServerSettings) -> Upload:
    """A picture whose header can be read and is within the limits; nothing is decoded."""
    if not content:
        raise RequestError(400, f"{name} is empty", "choose a picture first")
    try:
        height, width, _ = header(content, name)
    except ImageError as error:
        raise RequestError(415, f"{name}: {error.reason}", "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, … are read") from None
    if height * width > options.max_pixels:
        size = f"{width:,} × {height:,} is {height * width / 1e6:,.0f} megapixels"
        raise RequestError(413, f"{name}: {size}, over the limit of {options.max_pixels / 1e6:,.3g}", "send a smaller picture")
    return Upload(name, content, width, height)
