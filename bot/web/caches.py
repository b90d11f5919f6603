"""Three kinds of caches in memory: until the next commit, the most recently used, and built only once at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class CommitCache(Generic[Key, Value]):
    """Values read from the store, kept until its next commit, each read once for all concurrent requests. `commits`
    counts them; `most` values at a time."""

    def __init__(self, commits: Callable[[], int], most: int = 4096) -> None:
        self._commits = commits
        self._most = most
        self._kept: dict[Key, Value] = {}
        self._loading: dict[tuple[int, Key], asyncio.Task[Value]] = {}
        self._read_at: int | None = None

    def known(self, key: Key) -> Value | None:
        """Return the kept value, if there is one."""
        return self._kept.get(key) if self._commits() == self._read_at else None

    async def get(self, key: Key, load: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """Return the kept value, else load it. Raises what `load` raises, and keeps nothing then."""
        now = self._commits()
        if now != self._read_at:
            self._kept.clear()
            self._read_at = now
        elif key in self._kept:
            return self._kept[key]
        task = self._loading.get((now, key))  # a load that began before the last commit may have missed it
        if task is None:
            task = self._loading[now, key] = asyncio.create_task(load())
            task.add_done_callback(lambda done: self._loaded(now, key, done))
        # A client that disconnects must not cancel the load for the others.
        return await asyncio.shield(task)

    def _loaded(self, now: int, key: Key, done: "asyncio.Task[Value]") -> None:
        del self._loading[now, key]
        if done.cancelled() or done.exception() is not None:
            return
        if self._read_at == now == self._commits():  # nothing was committed during the load
            if len(self._kept) >= self._most:
                self._kept.clear()
            self._kept[key] = done.result()


class LruCache(Generic[Key, Value]):
    """The most recently used values whose weights fit into `budget`; without `weigh` each value weighs 1."""

    def __init__(self, budget: int, weigh: Callable[[Value], int] = lambda value: 1) -> None:
        self._budget = budget
        self._weigh = weigh
        self._kept: dict[Key, Value] = {}
        self._weight = 0

    def get(self, key: Key) -> Value | None:
        value = self._kept.pop(key, None)
        if value is not None:
            self._kept[key] = value  # the most recently used stands last
        return value

    def drop(self, key: Key) -> None:
        value = self._kept.pop(key, None)
        if value is not None:
            self._weight -= self._weigh(value)

    def put(self, key: Key, value: Value) -> None:
        old = self._kept.pop(key, None)
        self._weight += self._weigh(value) - (self._weigh(old) if old is not None else 0)
        self._kept[key] = value
        while self._weight > self._budget and len(self._kept) > 1:
            self._weight -= self._weigh(self._kept.pop(next(iter(self._kept))))


class OnceCache(Generic[Key, Value]):
    """Values that are costly to build: each is built once for all concurrent requests, then kept as in `LruCache`."""

    def __init__(self, budget: int, weigh: Callable[[Value], int] = lambda value: 1) -> None:
        self._kept: LruCache[Key, Value] = LruCache(budget, weigh)
        self._building: dict[Key, asyncio.Task[Value]] = {}

    def known(self, key: Key) -> Value | None:
        """Return the kept value, if there is one."""
        return self._kept.get(key)

    def drop(self, key: Key) -> None:
        """Keep this value no longer."""
        self._kept.drop(key)

    async def get(self, key: Key, build: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """Return the kept value, else build it. Raises what `build` raises, and keeps nothing then."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        task = self._building.get(key)
        if task is None:
            task = self._building[key] = asyncio.create_task(build())
            task.add_done_callback(lambda done: self._built(key, done))
        # A client that disconnects must not cancel the build for the others.
        return await asyncio.shield(task)

    def _built(self, key: Key, done: "asyncio.Task[Value]") -> None:
        del self._building[key]
        if not done.cancelled() and done.exception() is None:
            self._kept.put(key, done.result())
