"""A server in this process, answering with tiny runs, and one browser for all tests."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tellapart.inference.context import Settings
from tellapart.runs.store import Run
from tellapart.server.app import create_app
from tellapart.server.settings import ServerSettings

from ..server.conftest import encoded, home, noise, runs, settings  # noqa: F401
from .chromium import Chromium, find


@pytest.fixture(scope="session")
def address(runs: dict[str, Run], settings: Settings) -> Iterator[str]:  # noqa: F811
    """Of the server."""
    app = create_app([runs["net"], runs["linear"]], ServerSettings(settings=settings, max_bytes=1_000_000, rate=0))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http="h11", ws="none", log_level="error"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    listening.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser; the test is skipped where there is none."""
    if find() is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Chromium) -> Iterator[Chromium]:
    """The browser with a desktop's window, light, with scripts; at the end it must have had nothing to complain about."""
    chromium.look(1200, 900)
    chromium.messages.clear()
    yield chromium
    assert not [said for said in chromium.complaints() if "Failed to load resource" not in said]


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with something to say of itself."""
    path = tmp_path_factory.mktemp("photos") / "bright.jpg"
    path.write_bytes(encoded(noise(7, True, 64), "jpeg", quality=85))
    return path


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Any:
    """Half of it."""
    path = tmp_path_factory.mktemp("broken") / "half.jpg"
    path.write_bytes(photo.read_bytes()[:700])
    return path
