"""The caches of the web server."""

import asyncio

import pytest

from bot.web.caches import CommitCache, LruCache, OnceCache


class Shelf:
    """A value that can be read and written; it counts both."""

    def __init__(self) -> None:
        self.value = "old"
        self.writes = 0
        self.reads = 0
        self.written_while_read: str | None = None

    def write(self, value: str) -> None:
        self.value = value
        self.writes += 1

    async def read(self) -> str:
        self.reads += 1
        found = self.value
        if self.written_while_read is not None:
            self.write(self.written_while_read)
            self.written_while_read = None
        return found


async def test_kept_until_something_is_written() -> None:
    """A value is read once until the next commit."""
    shelf = Shelf()
    memo: CommitCache[str, str] = CommitCache(lambda: shelf.writes)
    assert [await memo.get("k", shelf.read) for _ in range(3)] == ["old"] * 3
    assert shelf.reads == 1
    shelf.write("new")
    assert await memo.get("k", shelf.read) == "new"


async def test_value_read_during_a_write_is_not_kept() -> None:
    """A value that was read during a commit may be stale and is not kept."""
    shelf = Shelf()
    memo: CommitCache[str, str] = CommitCache(lambda: shelf.writes)
    shelf.written_while_read = "new"
    assert await memo.get("k", shelf.read) == "old"
    assert await memo.get("k", shelf.read) == "new"


async def test_many_who_ask_at_once_get_one_reading() -> None:
    """Concurrent requests share one read, also when the first of them is cancelled; a request after a commit shares
    none that began before it."""
    shelf, workshop = Shelf(), Workshop()
    memo: CommitCache[str, int] = CommitCache(lambda: shelf.writes)
    waiting = [asyncio.create_task(memo.get("k", workshop.make)) for _ in range(5)]
    await asyncio.wait(waiting, timeout=0)
    waiting[0].cancel()
    shelf.write("new")
    late = asyncio.create_task(memo.get("k", workshop.make))
    await asyncio.wait([late], timeout=0)
    assert workshop.made == 2
    workshop.door.set()
    await asyncio.gather(late, *waiting, return_exceptions=True)
    assert [task.cancelled() for task in waiting] == [True, False, False, False, False]
    await memo.get("k", workshop.make)
    assert workshop.made == 2


async def test_memory_is_bounded() -> None:
    """Requests for ever more keys do not fill the memory."""
    memo: CommitCache[int, str] = CommitCache(lambda: 0, most=10)
    shelf = Shelf()
    for number in range(100):
        await memo.get(number, shelf.read)
    assert len(memo._kept) <= 10


def test_the_least_used_goes_first() -> None:
    """Above the budget the least recently used value is dropped."""
    recent: LruCache[str, bytes] = LruCache(10, len)
    recent.put("a", b"aaaa")
    recent.put("b", b"bbbb")
    assert recent.get("a") == b"aaaa"
    recent.put("c", b"cccc")
    assert recent.get("b") is None
    assert recent.get("a") == b"aaaa"
    recent.put("a", b"a")
    recent.put("d", b"ddddd")
    assert recent.get("c") == b"cccc"


class Workshop:
    """A builder that waits for its door to open; it counts its builds."""

    def __init__(self) -> None:
        self.door = asyncio.Event()
        self.made = 0
        self.broken = False

    async def make(self) -> int:
        self.made += 1
        await self.door.wait()
        if self.broken:
            raise RuntimeError("broken")
        return self.made


async def test_many_who_ask_at_once_get_one_making() -> None:
    """Concurrent requests share one build, also when the first of them is cancelled."""
    workshop = Workshop()
    things: OnceCache[str, int] = OnceCache(10)
    waiting = [asyncio.create_task(things.get("k", workshop.make)) for _ in range(5)]
    await asyncio.wait(waiting, timeout=0)
    waiting[0].cancel()
    workshop.door.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [1] * 4
    assert await things.get("k", workshop.make) == 1


async def test_what_fails_is_made_again() -> None:
    """A failure reaches the caller and is not kept."""
    workshop = Workshop()
    workshop.door.set()
    workshop.broken = True
    things: OnceCache[str, int] = OnceCache(10)
    with pytest.raises(RuntimeError):
        await things.get("k", workshop.make)
    workshop.broken = False
    assert await things.get("k", workshop.make) == 2
