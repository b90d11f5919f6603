"""The recordings that somebody listens to while they are live: their tracks only grow.

Who listens is in memory. Where other processes may make the frames it is written down too, at the first request and
then every few seconds.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from storage import live_listening
from storage.database import Connection
from storage.errors import StoreError
from storage.live_listening import LISTENED_FOR
from storage.records import RecordingId
from storage.store import Store

log = logging.getLogger(__name__)

MOST_ASKED = 1000  # recordings
WRITE_EVERY_S = LISTENED_FOR.total_seconds() / 3


class Listening:
    """The recordings that players of this process ask for."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._asked: OrderedDict[RecordingId, datetime] = OrderedDict()  # when; the latest last
        self._unwritten: set[RecordingId] = set()
        self._wanted = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    def note(self, recording_id: RecordingId) -> None:
        """Note that a player asks for it now."""
        self._asked[recording_id] = self._clock()
        self._asked.move_to_end(recording_id)
        if len(self._asked) > MOST_ASKED:
            self._asked.popitem(last=False)
        if self._writing is not None:
            self._unwritten.add(recording_id)
            self._wanted.set()

    def is_listened(self, recording_id: RecordingId) -> bool:
        """Tell whether somebody listens to it, by this process."""
        asked = self._asked.get(recording_id)
        return asked is not None and self._clock() - asked < LISTENED_FOR

    async def is_listened_anywhere(self, db: Connection, recording_id: RecordingId) -> bool:
        """Tell whether somebody listens to it, by whichever process."""
        if self.is_listened(recording_id):
            return True
        return self._store.shared and await live_listening.is_listened(db, recording_id, self._clock())

    def start(self) -> None:
        if self._store.shared:
            self._writing = asyncio.create_task(self._write())

    async def stop(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None

    async def _write(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            noted, self._unwritten = self._unwritten, set()
            try:
                async with self._store.write() as db:
                    await live_listening.note(db, noted, self._clock())
            except StoreError as error:
                log.error("who listens could not be written: %s", error)
            await asyncio.sleep(WRITE_EVERY_S)
