"""Requests that wait at the same time are predicted in one batch; none fails because of another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from tellapart.inference.predictor import BatchOutput
from tellapart.server.batching import BackgroundWorker, Batcher, QueueFull
from tellapart.types import Problem


class Gate:
    """Answers with the length of each content; the first batch waits until it is opened."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def __call__(self, contents: Sequence[bytes], names: Sequence[str]) -> BatchOutput:
        self.batches.append(len(contents))
        self.entered.set()
        assert self.open.wait(20)
        if any(content == b"poison" for content in contents):
            raise ValueError("poison")
        bad = [row for row, content in enumerate(contents) if content.startswith(b"bad")]
        rows = np.array([row for row in range(len(contents)) if row not in bad], dtype=np.int64)
        proba = np.array([[len(contents[row]), 0.0] for row in rows], dtype=np.float32).reshape(-1, 2)
        return BatchOutput(rows, proba, tuple(Problem("corrupt image", names[row], f"wrong {row}") for row in bad))


@pytest.fixture
def gate() -> Gate:
    return Gate()


def batcher(gate: Gate, batch_size: int = 4, waiting: int = 100, counted: list | None = None) -> Batcher:
    counts = [] if counted is None else counted
    return Batcher(gate, "test", batch_size, waiting, lambda images, bad: counts.append((images, bad)))


def test_waiting_requests_are_predicted_in_one_batch(gate: Gate) -> None:
    counted: list[tuple[int, int]] = []
    lane = batcher(gate, batch_size=4, counted=counted)
    first = lane.submit([b"a"])
    assert gate.entered.wait(20)
    others = [lane.submit([b"bb"]), lane.submit([b"ccc", b"bad", b"dddd"]), lane.submit([b"eeeee"]), lane.submit([b"f"])]
    assert lane.waiting == 6
    gate.open.set()
    lane.close()
    assert gate.batches == [1, 4, 2]  # one at once; then as many whole requests as fit
    said = [future.result() for future in (first, *others)]
    assert [[one if isinstance(one, str) else int(one.proba[0]) for one in of] for of in said] == [
        [1], [2], [3, "wrong 2", 4], [5], [1],
    ]  # fmt: skip
    assert counted == [(1, 0), (4, 1), (2, 0)]


def test_the_stopwatch_runs_while_a_batch_is_predicted(gate: Gate) -> None:
    lane = batcher(gate)
    assert lane.stopwatch.seconds(1e12) == 0
    lane.submit([b"a"])
    assert gate.entered.wait(20)
    assert lane.stopwatch.seconds(1e12) > 0 == lane.stopwatch.seconds(lane.stopwatch._since or 0)
    gate.open.set()
    lane.close()
    assert lane.stopwatch.seconds(1e12) == 0


def test_an_error_fails_only_the_request_that_caused_it(gate: Gate) -> None:
    lane = batcher(gate)
    lane.submit([b"a"])
    assert gate.entered.wait(20)
    good, bad, fine = lane.submit([b"good"]), lane.submit([b"poison"]), lane.submit([b"fine!"])
    gate.open.set()
    lane.close()
    assert int(good.result()[0].proba[0]) == 4 and int(fine.result()[0].proba[0]) == 5  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="poison"):
        bad.result()


def test_a_full_queue_refuses_at_once_in_images_and_in_bytes(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellapart.server.batching._BYTES", 1_000)
    lane = batcher(gate, waiting=3)
    lane.submit([b"a"])
    assert gate.entered.wait(20)
    lane.submit([b"b", b"c"])
    with pytest.raises(QueueFull):
        lane.submit([b"d", b"e"])
    lane.submit([b"d"])
    gate.open.set()
    lane.close()
    with pytest.raises(QueueFull):
        lane.submit([b"late"])
    other = batcher(Gate())
    with pytest.raises(QueueFull):
        other.submit([bytes(1_001)])
    other.close()


def test_a_canceled_request_is_not_predicted(gate: Gate) -> None:
    lane = batcher(gate)

    async def leave() -> None:
        waiting = asyncio.create_task(lane.predict([b"gone"]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    lane.submit([b"a"])
    assert gate.entered.wait(20)
    asyncio.run(leave())
    gate.open.set()
    lane.close()
    assert gate.batches == [1]


def test_slow_work_is_bounded_and_its_errors_arrive() -> None:
    lane, wait = BackgroundWorker("test", waiting=2), threading.Event()

    async def crowd() -> list:
        tasks = [asyncio.create_task(lane.run(lambda _: wait.wait())) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull):
            await lane.run(lambda _: 0)
        wait.set()
        await asyncio.gather(*tasks)
        with pytest.raises(ZeroDivisionError):
            await lane.run(lambda _: 1 // 0)
        return [await lane.run(lambda _: 7)]

    assert asyncio.run(crowd()) == [7]
    lane.close()
