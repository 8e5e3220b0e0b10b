"""Memory is shared by bytes: first come, first served; nothing is lost when a request ends."""

from __future__ import annotations

import asyncio

import pytest

from tellapart.server.budget import Budget, Busy, TooMuchMemory


def test_tasks_run_together_as_long_as_they_fit() -> None:
    async def use() -> None:
        budget, held, most, open_ = Budget(100), 0, 0, asyncio.Event()

        async def task(size: int) -> None:
            nonlocal held, most
            async with budget.reserved(size, 60):
                held += size
                most = max(most, held)
                await open_.wait()
                await asyncio.sleep(0)
                held -= size

        tasks = [asyncio.create_task(task(size)) for size in (60, 60, 30, 100, 10)]
        await asyncio.sleep(0)
        assert held == 60 and budget.free == 40  # the second waits, and those behind it: first come, first served
        open_.set()
        await asyncio.gather(*tasks)
        assert most == 100 and budget.free == 100

    asyncio.run(use())


def test_who_waits_too_long_is_told_and_lets_the_next_one_pass() -> None:
    async def use() -> None:
        budget = Budget(10)
        async with budget.reserved(6, 0):
            large = asyncio.create_task(_hold(budget, 8, 0))
            with pytest.raises(Busy):
                await large
            await _hold(budget, 4, 60)
        assert budget.free == 10

    asyncio.run(use())


def test_who_is_canceled_gives_everything_back() -> None:
    async def use() -> None:
        budget = Budget(10)
        async with budget.reserved(10, 0):
            waiting, next_ = (asyncio.create_task(_hold(budget, 10, 60)) for _ in range(2))
            await asyncio.sleep(0)
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await next_
        assert budget.free == 10

    asyncio.run(use())


def test_more_than_there_is_is_refused_at_once() -> None:
    with pytest.raises(TooMuchMemory, match="takes 11 MB of memory; the server has 10 MB"):
        asyncio.run(_hold(Budget(10_000_000), 11_000_000, 60))


def test_a_failure_gives_the_memory_back() -> None:
    async def use() -> None:
        budget = Budget(10)
        with pytest.raises(ZeroDivisionError):
            async with budget.reserved(10, 0):
                raise ZeroDivisionError
        assert budget.free == 10

    asyncio.run(use())


async def _hold(budget: Budget, size: int, patience: float) -> None:
    async with budget.reserved(size, patience):
        await asyncio.sleep(0)
