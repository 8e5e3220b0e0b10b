"""`tellapart serve`: what it passes on, and what it refuses before it listens."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tellapart.cli import serve
from tellapart.errors import RunError, SystemLimitError
from tellapart.server import run


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server was told."""
    found: dict[str, Any] = {}

    def listen(names: Any, options: Any, port: int, ready: Any) -> None:
        found.update(names=names, options=options, port=port)
        ready(f"http://{options.host}:{port}")

    monkeypatch.setattr(run, "serve", listen)
    return found


def invoke(*arguments: str, **environment: str) -> Any:
    app = typer.Typer()
    app.command()(serve.run)
    return CliRunner().invoke(app, arguments, env={"TELLAPART_TOKEN": None, **environment})


def test_it_is_private_and_keeps_nothing_unless_told_otherwise(told: dict[str, Any]) -> None:
    found = invoke("a", "b", "-q")
    assert found.exit_code == 0 and found.stdout == "http://127.0.0.1:8000\n"
    options = told["options"]
    assert told["names"] == ["a", "b"] and options.is_private and options.token is None and options.keep is None


def test_every_option_arrives(told: dict[str, Any], tmp_path: Any) -> None:
    given = [
        *("--host", "0.0.0.0", "--port", "0", "--token", "t", "--max-bytes", "5000", "--max-pixels", "9"),
        *(
            "--timeout",
            "2.5",
            "--rate",
            "0",
            "--connections",
            "7",
            "--keep",
            str(tmp_path),
            "--runs",
            "elsewhere",
            "--device",
            "cpu",
        ),
    ]
    assert invoke("a", *given).exit_code == 0
    options = told["options"]
    assert (options.host, told["port"], options.token, options.max_bytes, options.max_pixels) == ("0.0.0.0", 0, "t", 5000, 9)
    assert (options.timeout, options.rate, options.connections, options.keep) == (2.5, 0, 7, tmp_path)
    assert (str(options.settings.runs), options.settings.device, options.is_private) == ("elsewhere", "cpu", False)


def test_the_token_may_come_from_the_environment(told: dict[str, Any]) -> None:
    invoke("a", TELLAPART_TOKEN="quiet")
    assert told["options"].token == "quiet"
    invoke("a", TELLAPART_TOKEN="")
    assert told["options"].token is None


def test_a_token_on_the_command_line_works_with_a_warning(told: dict[str, Any]) -> None:
    found = invoke("a", "--token", "t")
    assert told["options"].token == "t"
    assert "other users of this machine can read the token" in found.stderr and "--token-file" in found.stderr


def test_the_token_may_come_from_a_file(told: dict[str, Any], tmp_path: Any) -> None:
    file = tmp_path / "token"
    file.write_text("  secret \nnot this\n")
    found = invoke("a", "--token-file", str(file), TELLAPART_TOKEN="other")
    assert told["options"].token == "secret" and found.stderr == ""
    told.clear()
    both = invoke("a", "--token-file", str(file), "--token", "t")
    assert both.exit_code == 2 and "choose one" in both.stderr and not told
    file.write_text("\n")
    assert isinstance(invoke("a", "--token-file", str(file)).exception, SystemLimitError) and not told


@pytest.mark.parametrize(
    "wrong", [(), ("a", "--port", "70000"), ("a", "--rate", "-1"), ("a", "--connections", "-1"), ("a", "--timeout", "0")]
)
def test_wrong_usage(told: dict[str, Any], wrong: tuple[str, ...]) -> None:
    assert invoke(*wrong).exit_code == 2 and not told


def test_a_run_that_is_not_there(tmp_path: Any) -> None:
    found = invoke("nothing", "--port", "0", "--runs", str(tmp_path))
    assert isinstance(found.exception, RunError) and "unknown run 'nothing'" in str(found.exception)
