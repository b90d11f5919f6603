"""Answers kept while nothing is written: a burst of requests costs the archive one look."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memo(Generic[Key, Value]):
    """Kept until something is written: `commits` counts that. `most` at a time."""

    def __init__(self, commits: Callable[[], int], most: int = 4096) -> None:
        self._commits = commits
        self._most = most
        self._kept: dict[Key, Value] = {}
        self._read_at: int | None = None

    async def get(self, key: Key, load: Callable[[], Awaitable[Value]]) -> Value:
        """The kept value, or what `load` reads."""
        now = self._commits()
        if now != self._read_at:
            self._kept.clear()
            self._read_at = now
        elif key in self._kept:
            return self._kept[key]
        value = await load()
        if self._read_at == now == self._commits():  # nothing was written while it was read
            if len(self._kept) >= self._most:
                self._kept.clear()
            self._kept[key] = value
        return value


class Recent(Generic[Key, Value]):
    """The last few, by use; `weigh` says how much of `budget` one takes."""

    def __init__(self, budget: int, weigh: Callable[[Value], int] = lambda value: 1) -> None:
        self._budget = budget
        self._weigh = weigh
        self._kept: dict[Key, Value] = {}
        self._weight = 0

    def get(self, key: Key) -> Value | None:
        value = self._kept.pop(key, None)
        if value is not None:
            self._kept[key] = value  # the youngest stands last
        return value

    def put(self, key: Key, value: Value) -> None:
        old = self._kept.pop(key, None)
        self._weight += self._weigh(value) - (self._weigh(old) if old is not None else 0)
        self._kept[key] = value
        while self._weight > self._budget and len(self._kept) > 1:
            self._weight -= self._weigh(self._kept.pop(next(iter(self._kept))))


class Made(Generic[Key, Value]):
    """What is dear to make: made once, however many ask for it at the same time, and kept by `Recent`."""

    def __init__(self, budget: int, weigh: Callable[[Value], int] = lambda value: 1) -> None:
        self._kept: Recent[Key, Value] = Recent(budget, weigh)
        self._making: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key, make: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """The kept value, or what `make` gives. Raises what that raises, and keeps nothing then."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(make())
            task.add_done_callback(lambda done: self._made(key, done))
        # One who hangs up must not undo what the others wait for.
        return await asyncio.shield(task)

    def _made(self, key: Key, done: "asyncio.Task[Value]") -> None:
        del self._making[key]
        if not done.cancelled() and done.exception() is None:
            self._kept.put(key, done.result())
