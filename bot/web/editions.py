"""Dates of documents: each document's Last-Modified moves with its content, and with nothing else.

They are written down before a document is sent, so that a restart keeps them. Those that come at once, as when all apps
of a podcast's listeners fetch a new episode, are written together: each commit makes the caches read anew.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from storage import feed_editions
from storage.errors import StoreError
from storage.records import FeedEdition
from storage.store import Store

log = logging.getLogger(__name__)

SECOND = timedelta(seconds=1)
AT_ONCE = 500


class Editions:
    """The editions of documents. Names are those of `storage.feed_editions`."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[tuple[str, str], asyncio.Future[datetime]] = {}  # by name and digest
        self._working: asyncio.Task[None] | None = None

    async def changed_at(self, name: str, digest: str) -> datetime:
        """Return when a document got the content of this digest, in whole seconds; now if it is new. Raises
        StoreError where that can't be read."""
        answer = self._waiting.get((name, digest))
        if answer is None:
            answer = self._waiting[name, digest] = asyncio.get_running_loop().create_future()
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await asyncio.shield(answer)

    async def _work(self) -> None:
        while self._waiting:
            batch: dict[str, tuple[str, asyncio.Future[datetime]]] = {}
            for name, digest in list(self._waiting)[:AT_ONCE]:
                if name not in batch:
                    batch[name] = (digest, self._waiting.pop((name, digest)))
            try:
                dates = await self._dates({name: digest for name, (digest, _) in batch.items()})
            except Exception as error:
                for _, answer in batch.values():
                    answer.set_exception(error)
            else:
                for name, (_, answer) in batch.items():
                    answer.set_result(dates[name])
        self._working = None

    async def _dates(self, digests: dict[str, str]) -> dict[str, datetime]:
        now = self._clock().replace(microsecond=0)
        async with self._store.read() as db:
            known = await feed_editions.of(db, digests)
        new = [
            FeedEdition(name, digest, _after(known.get(name), now))
            for name, digest in digests.items()
            if name not in known or known[name].digest != digest
        ]
        if new:
            try:
                new = await self._save(new)
            except StoreError as error:  # the documents go out all the same
                log.error("the dates of %d documents could not be written: %s", len(new), error)
        return {name: edition.changed_at for name, edition in known.items()} | {
            each.name: each.changed_at for each in new
        }

    async def _save(self, new: list[FeedEdition]) -> list[FeedEdition]:
        """Write new editions, and return them with the dates that hold: another process may have been first. Raises
        StoreError."""
        async with self._store.write() as db:
            first = await feed_editions.of(db, [each.name for each in new]) if self._store.shared else {}
            digests = {name: edition.digest for name, edition in first.items()}
            await feed_editions.save(db, [each for each in new if digests.get(each.name) != each.digest])
        return [first[each.name] if digests.get(each.name) == each.digest else each for each in new]


def _after(before: FeedEdition | None, now: datetime) -> datetime:
    """Return the date of a new edition: no two of one document in the same second, which is all that a client sees."""
    return now if before is None else max(now, before.changed_at + SECOND)
