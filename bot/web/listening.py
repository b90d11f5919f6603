"""The recordings that somebody listens to while they are live: their tracks only grow, and who speaks is told how many
listen.

Who listens is in memory, and nobody's name or address is. Where other processes may make the frames it is written down
too, at the first request and then every few seconds, as a number for each process.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime

from storage import live_listening
from storage.database import Connection
from storage.errors import StoreError
from storage.live_listening import LISTENED_FOR
from storage.records import RecordingId
from storage.store import Store

log = logging.getLogger(__name__)

MOST_ASKED = 1000  # recordings
MOST_LISTENERS = 10_000
"""Players of one recording that are told apart."""
WRITE_EVERY_S = LISTENED_FOR.total_seconds() / 3

Player = Hashable
"""A player, as far as it can be told from others: the personal address and the kind of app, or the client and the kind
of app. In memory only, for half a minute."""


class Listening:
    """The recordings that players of this process ask for."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._name = secrets.token_hex(8)  # of this process
        self._asked: OrderedDict[RecordingId, OrderedDict[Player, datetime]] = OrderedDict()  # when; the latest last
        self._unwritten: set[RecordingId] = set()
        self._wanted = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    def note(self, recording_id: RecordingId, player: Player = None) -> None:
        """Note that a player asks for it now."""
        players = self._asked.setdefault(recording_id, OrderedDict())
        players[hash(player)] = self._clock()
        players.move_to_end(hash(player))
        if len(players) > MOST_LISTENERS:
            players.popitem(last=False)
        self._asked.move_to_end(recording_id)
        if len(self._asked) > MOST_ASKED:
            self._asked.popitem(last=False)
        if self._writing is not None:
            self._unwritten.add(recording_id)
            self._wanted.set()

    def is_listened(self, recording_id: RecordingId) -> bool:
        """Tell whether somebody listens to it, by this process."""
        return self.here(recording_id) > 0

    def here(self, recording_id: RecordingId) -> int:
        """Return how many players listen to it, by this process."""
        players, now = self._asked.get(recording_id), self._clock()
        while players and now - next(iter(players.values())) >= LISTENED_FOR:
            players.popitem(last=False)
        return len(players) if players else 0

    async def is_listened_anywhere(self, db: Connection, recording_id: RecordingId) -> bool:
        """Tell whether somebody listens to it, by whichever process."""
        if self.is_listened(recording_id):
            return True
        return self._store.shared and await live_listening.is_listened(db, recording_id, self._clock())

    async def count(self, db: Connection, recording_id: RecordingId) -> int:
        """Return how many players listen to it, by all processes."""
        here = self.here(recording_id)
        if not self._store.shared:
            return here
        return here + await live_listening.count(db, recording_id, self._clock(), but=self._name)

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
            noted, self._unwritten = {each: self.here(each) for each in self._unwritten}, set()
            try:
                async with self._store.write() as db:
                    await live_listening.note(db, self._name, noted, self._clock())
            except StoreError as error:
                log.error("who listens could not be written: %s", error)
            await asyncio.sleep(WRITE_EVERY_S)
