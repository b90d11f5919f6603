"""The commits of a database: a count for each table, and a wake-up for whoever waits for the next."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

QUIET = frozenset({"feed_editions", "live_listening", "workers"})
"""Tables of which nobody keeps anything in memory, and whose changes nobody waits for."""


class Changes:
    """Commits so far, and a wake-up for tasks that wait for the next. Each waiter has an event of its own, so none
    takes another's."""

    def __init__(self) -> None:
        self.number = 0  # commits so far, but to QUIET tables: the same number, the same content of the others
        self._of: Counter[str | None] = Counter()
        self._waiters: set[asyncio.Event] = set()

    def of(self, table: str) -> int:
        """Count the commits that may have written this table: the same number means the same rows."""
        return self._of[table] + self._of[None]

    def notify(self, tables: Collection[str | None] = (None,)) -> None:
        """Count a commit to these tables, and wake all waiters unless they are QUIET. None: it is not known which
        tables were written."""
        self._of.update(tables)
        if tables and QUIET.issuperset(tables):
            return
        self.number += 1
        for waiter in self._waiters:
            waiter.set()

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Event]:
        """Provide an event that is set by each commit from now on. Clear it before you look for work, then wait for
        it."""
        waiter = asyncio.Event()
        waiter.set()
        self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)
