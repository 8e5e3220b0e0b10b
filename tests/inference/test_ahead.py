"""Portions: the same cuts however fast the images come, few images ahead, errors in their turn, nothing left running."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from tellapart.errors import DataError, ImageError
from tellapart.inference import prefetch as prefetch_module
from tellapart.inference.image_sources.base import ImageRef, Source, UniqueImages
from tellapart.inference.prefetch import BatchLimit, prefetch


class _Numbers(Source):
    """Images of given lengths; a negative one cannot be read."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths, self.given, self.closed, self.open = lengths, 0, False, 0

    def items(self) -> Iterator[ImageRef]:
        for row in range(len(self.lengths)):
            self.given += 1
            yield ImageRef(f"{row}", self, row)

    def read(self, name: str, key: int) -> bytes:
        time.sleep(random.Random(key).random() / 500)
        assert not self.closed
        if self.lengths[key] < 0:
            raise ImageError(name, "negative")
        return b"x" * self.lengths[key]


def test_portions_are_cut_by_number_and_bytes_and_keep_the_order():
    source = _Numbers([1] * 10 + [50, 60, 1, -1, 200, 1, 1])
    with prefetch(source.items(), BatchLimit(4, 100)) as found:
        cut = [(p.names, [len(c) if isinstance(c, bytes) else c.reason for c in p.contents]) for p in found]
    assert [name for names, _ in cut for name in names] == [str(n) for n in range(17)]
    assert [lengths for _, lengths in cut] == [
        [1] * 4, [1] * 4, [1, 1, 50, 60], [1, "negative", 200], [1, 1],
    ]  # fmt: skip


def test_few_images_are_ahead_of_those_that_are_taken():
    source = _Numbers([1] * 1000)
    with prefetch(source.items(), BatchLimit(10, 10**6)) as found:
        for _ in range(3):
            next(found)
            time.sleep(0.05)
        # taken, one that waits, one under way that nobody wants yet, and those that are being read
        assert 30 <= source.given <= 30 + 3 * 10 + (prefetch_module._PENDING + 2) * prefetch_module._CHUNK


def test_a_source_is_closed_after_its_last_image():
    first, second = _Numbers([1] * 30), _Numbers([2] * 30)

    def both() -> Iterator[ImageRef | Source]:
        for source in (first, second):
            yield from source.items()
            yield source

    close = lambda source: setattr(source, "closed", True)  # noqa: E731
    for source in (first, second):
        source.close = close.__get__(source)
    with prefetch(both(), BatchLimit(7, 100)) as found:
        assert sum(len(p.names) for p in found) == 60
    assert first.closed and second.closed


def test_an_error_comes_after_what_stood_before_it():
    def broken() -> Iterator[ImageRef]:
        yield from _Numbers([1] * 20).items()
        raise DataError("the table is damaged")

    with prefetch(broken(), BatchLimit(4, 100)) as found:
        assert len(next(found).names) == 4
        with pytest.raises(DataError, match="damaged"):
            list(found)


def test_nothing_goes_on_when_nobody_wants_more():
    def reading() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("reading")]

    with prefetch(_Numbers([1] * 10_000).items(), BatchLimit(5, 100)) as found:
        next(found)
    with pytest.raises(RuntimeError), prefetch(_Numbers([1] * 10_000).items(), BatchLimit(5, 100)) as found:
        next(found)
        raise RuntimeError
    for thread in reading():
        thread.join()  # a thread that goes on keeps the test from ending


def test_each_name_once():
    draw = random.Random(0)
    sources = [_Numbers([1] * draw.randrange(1, 30)) for _ in range(20)]
    images = UniqueImages(sources)
    names = [item.name for item in images if isinstance(item, ImageRef)]
    assert names == [str(row) for row in range(max(len(source.lengths) for source in sources))] or len(set(names)) == len(names)
    assert images.duplicates == sum(len(source.lengths) for source in sources) - len(names)
