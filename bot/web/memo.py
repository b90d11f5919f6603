"""Answers kept while nothing is written: a burst of requests costs the archive one look."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

Version = Callable[[], int | None]
"""A number that is another one after each commit; None: unknown, so nothing is kept."""


class Memo(Generic[Key, Value]):
    """Kept as long as the store's version is the one that they were read at, `most` at a time."""

    def __init__(self, version: Version, most: int = 4096) -> None:
        self._version = version
        self._most = most
        self._kept: dict[Key, Value] = {}
        self._read_at: int | None = None

    async def get(self, key: Key, load: Callable[[], Awaitable[Value]]) -> Value:
        """The kept value, or what `load` reads."""
        now = self._version()
        if now is None:
            return await load()
        if now != self._read_at:
            self._kept.clear()
            self._read_at = now
        elif key in self._kept:
            return self._kept[key]
        value = await load()
        if self._read_at == now == self._version():  # nothing was written while it was read
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
