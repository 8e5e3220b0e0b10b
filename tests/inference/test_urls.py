"""Images from the web, against a server in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tellapart.errors import DataError, ImageError
from tellapart.inference.image_sources import http, open_source
from tellapart.inference.image_sources.base import ImageRef, SourceOptions

CONTENT = b"x" * 1000


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        port = self.server.server_address[1]
        leads = {
            "/there": "/image", "/elsewhere": f"http://localhost:{port}/image", "/file": "file:///etc/hostname",
            "/ftp": "ftp://127.0.0.1/x", "/round": "/round",
        }  # fmt: skip
        if self.path in leads:
            self.send_response(302)
            self.send_header("Location", leads[self.path])
            self.end_headers()
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path == "/short":
            self.send_header("Content-Length", str(len(CONTENT) + 1))
        if self.path == "/told":
            self.send_header("Content-Length", "999999")
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()


def why(url: str) -> str:
    with pytest.raises(ImageError) as caught:
        http.fetch(url, "name")
    return caught.value.reason


def test_nothing_is_fetched_unless_it_is_allowed(server, tmp_path):
    with pytest.raises(DataError, match="--allow-urls"):
        open_source(f"{server}/image")
    (tmp_path / "t.csv").write_text(f"id,x\n{server}/image,1\n")
    with pytest.raises(DataError, match="off by default"):
        list(open_source(str(tmp_path / "t.csv")).items())


def test_an_image(server, tmp_path):
    (item,) = open_source(f"{server}/image", SourceOptions(allow_urls=True)).items()
    assert isinstance(item, ImageRef) and item.name == f"{server}/image" and item.read() == CONTENT
    assert http.fetch(f"{server}/there", "name") == CONTENT  # on the same host
    (tmp_path / "t.csv").write_text(f"id,x\n{server}/image,1\n")
    found = list(open_source(str(tmp_path / "t.csv"), SourceOptions(allow_urls=True)).items())
    assert [one.read() for one in found if isinstance(one, ImageRef)] == [CONTENT]


def test_redirects_that_are_not_followed(server):
    assert "not public" in why(f"{server}/elsewhere")
    assert "file:" in why(f"{server}/file") and "ftp:" in why(f"{server}/ftp")
    assert "302" in why(f"{server}/round")


def test_what_the_server_says(server, monkeypatch):
    assert "404" in why(f"{server}/gone")
    assert "ended early" in why(f"{server}/short")
    assert "cannot be fetched" in why("http://127.0.0.1:1/x") and "cannot be fetched" in why("http://[/x")
    assert why("file:///etc/hostname")
    monkeypatch.setattr(http, "LARGEST", 999)
    assert "limit" in why(f"{server}/image") and "999,999 bytes" in why(f"{server}/told")
    monkeypatch.setattr(http, "LARGEST", 10_000)
    monkeypatch.setattr(http, "LONGEST", -1.0)
    assert "took longer" in why(f"{server}/image")


def test_addresses(monkeypatch):
    for host, public in (
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("::1", False),
        ("8.8.8.8", True),
    ):
        assert http._is_public(host) == public
    monkeypatch.setattr(http.socket, "getaddrinfo", lambda *_: [(0, 0, 0, "", (a, 0)) for a in ("8.8.8.8", "192.168.0.1")])
    assert not http._is_public("both.example")


def test_no_file_is_opened_by_an_address(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"secret")
    assert "unknown url type" in why((tmp_path / "x").as_uri())
