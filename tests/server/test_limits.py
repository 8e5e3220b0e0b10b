"""The request guard: host, token, origin, rate limit, body size, timeout."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tellapart.server.metrics import Metrics
from tellapart.server.middleware import RequestGuard, TokenBucket
from tellapart.server.settings import ServerSettings

from .conftest import encoded, form, noise

Other = Callable[..., TestClient]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:8000", 200), ("evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("localhost@evil.example", 421), ("evil.example#localhost", 421), ("", 421),
        ("192.168.0.7:8000", 421), ("[::1", 421), ("localhost:port", 200),
    ],
)  # fmt: skip
def test_a_private_server_answers_to_its_own_names_alone(client: TestClient, host: str, status: int) -> None:
    assert client.get("/health", headers={"host": host}).status_code == status


def test_a_named_host_is_answered_to(other: Other) -> None:
    client = other(host="192.168.0.7")
    assert client.get("/health", headers={"host": "192.168.0.7:8000"}).status_code == 200
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 421
    assert other(host="0.0.0.0").get("/health", headers={"host": "any.example"}).status_code == 200


def test_the_token_opens_everything_and_nothing_else_does(other: Other) -> None:
    client = other(token="sésame")
    basic = base64.b64encode("me:sésame".encode()).decode()
    for header in ("", "Bearer", "Bearer wrong", "Basic x", "Basic " + base64.b64encode(b"me:wrong").decode(), "Digest sesame"):
        reply = client.get("/api/runs", headers={"authorization": header})
        assert reply.status_code == 401 and reply.headers["www-authenticate"].startswith("Basic realm=")
    for header in ("Bearer sésame", "bearer sésame", f"Basic {basic}"):
        assert client.get("/api/runs", headers={"authorization": header.encode()}).status_code == 200
    for path in ("/", "/metrics", "/openapi.json", "/static/page.css", "/leaderboard"):
        assert client.get(path).status_code == 401
    assert client.get("/health").status_code == 200
    assert "set-cookie" not in client.get("/").headers


def test_a_form_of_another_site_is_refused(client: TestClient) -> None:
    picture = form(encoded(noise(1, True)))
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9000", "http://[", ""):
        assert client.post("/api/predict", headers={"origin": origin}, **picture).status_code == 403
    assert client.post("/api/predict", headers={"origin": "http://127.0.0.1:8000"}, **picture).status_code == 200
    assert client.get("/", headers={"origin": "http://evil.example"}).status_code == 200


def test_a_client_that_asks_too_often_waits(other: Other) -> None:
    client, picture = other(rate=0.001), form(encoded(noise(1, True)))  # the next one in a quarter of an hour
    assert client.post("/api/predict", **picture).status_code == 200
    reply = client.post("/api/predict", **picture)
    assert reply.status_code == 429 and 1 <= int(reply.headers["retry-after"]) <= 1000
    assert client.get("/api/leaderboard").status_code == 429
    assert client.get("/health").status_code == client.get("/static/page.css").status_code == 200  # these cost nothing


def test_the_bucket_fills_with_time() -> None:
    rate = TokenBucket(2.0, 4.0)
    assert [rate.acquire("a", 0.0) for _ in range(4)] == [0, 0, 0, 0]
    assert rate.acquire("a", 0.0) == pytest.approx(0.5)
    assert rate.acquire("b", 0.0) == 0
    assert rate.acquire("a", 0.4) > 0 and rate.acquire("a", 0.51) == 0 and rate.acquire("a", 0.6) > 0
    for number in range(10_000):
        rate.acquire(f"c{number}", 1.0)
    assert len(rate._left) <= 4_096  # memory does not grow with those who ask


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    for path in ("/", "/nothing", "/api/runs", "/static/page.js", "/health"):
        headers = client.get(path, headers={"accept": "text/html"}).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"


# --- the guard alone: what a client sends, byte by byte -----------------------------------------------------------------


class Wire:
    """One request's messages, and what came back."""

    def __init__(self, chunks: list[bytes], headers: dict[str, str], wait: float = 0.0) -> None:
        self.chunks, self.wait, self.sent, self.taken = list(chunks), wait, [], 0
        raw = [(k.encode(), v.encode()) for k, v in {"host": "localhost", **headers}.items()]
        self.scope = {"type": "http", "method": "POST", "path": "/api/predict", "headers": raw, "client": ("1.2.3.4", 5)}

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(self.wait)
        self.taken += 1
        return {"type": "http.request", "body": self.chunks.pop(0) if self.chunks else b"", "more_body": bool(self.chunks)}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def through(self, app: Any, **options: Any) -> int:
        from starlette.responses import PlainTextResponse

        guard = RequestGuard(
            app, ServerSettings(**options), Metrics(), lambda _, error: PlainTextResponse(error.message, error.status)
        )
        asyncio.run(guard(self.scope, self.receive, self.send))
        assert self.sent[-1].get("more_body", False) is False
        return self.sent[0]["status"]


async def reads_all(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


async def never_answers(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(60)


async def breaks(scope: Any, receive: Any, send: Any) -> None:
    raise KeyError("something of ours")


def test_a_body_is_cut_off_while_it_arrives_whatever_its_header_says() -> None:
    chunks = [bytes(50_000)] * 40
    wire = Wire(chunks, {"transfer-encoding": "chunked"})
    assert wire.through(reads_all, max_bytes=100_000) == 413
    assert Wire(chunks, {"transfer-encoding": "chunked"}).through(reads_all, max_bytes=2_000_000) == 200
    announced = Wire(chunks, {"content-length": "2000000", "expect": "100-continue"})
    assert announced.through(reads_all, max_bytes=100_000) == 413
    assert announced.taken == 0  # not a byte was asked for
    assert (b"connection", b"close") in announced.sent[0]["headers"]


def test_who_sends_too_slowly_is_cut_off() -> None:
    assert Wire([b"x"] * 100, {"content-length": "100"}, wait=0.05).through(reads_all, timeout=0.3) == 408


def test_what_is_answered_too_slowly_is_said() -> None:
    assert Wire([], {}).through(never_answers, timeout=0.1) == 504


def test_a_fault_of_ours_is_an_answer_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire([], {})
    assert wire.through(breaks) == 500
    assert "something of ours" not in str(wire.sent)
    assert "something of ours" in caplog.text
