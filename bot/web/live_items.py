"""Live broadcasts that the feeds of public rooms announce: those that begin, run, or ended a short time ago."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from bot.feeds.catalog import ENDED_FOR, live_status, may_be_live
from bot.feeds.model import LiveStatus
from bot.web.access import Access, Family, may_hear_recording
from bot.web.caches import CommitCache
from bot.web.episodes import rooms_of
from storage import archive, tracks
from storage.database import Connection
from storage.records import Recording, RoomId
from storage.store import Store

NEWEST = 10
"""The number of a podcast's newest recordings that are looked at."""

Stage = tuple[Recording, LiveStatus]


class LiveItems:
    """The broadcasts of all rooms that feeds announce."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._all: CommitCache[None, dict[RoomId, list[tuple[Recording, bool]]]] = CommitCache(
            lambda: store.database.changes.number
        )
        self._newest: CommitCache[tuple[RoomId, ...], tuple[tuple[Recording, bool], ...]] = CommitCache(
            lambda: store.database.changes.number
        )

    async def of(self, access: Access) -> tuple[Stage, ...]:
        """Return the broadcasts that a public feed announces, the newest first; none for a personal one."""
        if access.claim.family is not Family.PUBLIC:
            return ()
        newest = await self._newest.get(rooms_of(access), partial(self._read, rooms_of(access)))
        return self._announced(access, newest) if newest else ()

    async def of_all(self, accesses: Sequence[Access]) -> list[tuple[Stage, ...]]:
        """Return the broadcasts of each of these public feeds, by one look at all rooms."""
        newest = await self._all.get(None, self._read_all)
        of_each = [[each for room_id in rooms_of(access) for each in newest.get(room_id, ())] for access in accesses]
        return [self._announced(access, its) if its else () for access, its in zip(accesses, of_each, strict=True)]

    def hold(self, access: Access, stages: Sequence[Stage]) -> bool:
        """Return whether these are still the broadcasts that the feed of an access announces; False where that has
        to be read."""
        if access.claim.family is not Family.PUBLIC:
            return True
        newest = self._newest.known(rooms_of(access))
        if not newest:
            return newest is not None and not stages
        return self._announced(access, newest) == stages

    def _announced(self, access: Access, newest: Sequence[tuple[Recording, bool]]) -> tuple[Stage, ...]:
        now = self._clock()
        stages = [
            (recording, live_status(recording, now, has_sound=has_sound))
            for recording, has_sound in newest
            if may_hear_recording(access, recording)
        ]
        return tuple((recording, stage) for recording, stage in stages if stage is not None)

    async def _read(self, room_ids: Sequence[RoomId]) -> tuple[tuple[Recording, bool], ...]:
        now = self._clock()
        async with self._store.read() as db:
            # Whatever ended long ago is announced no more, and each request of a feed asks.
            newest = [each for each in await archive.recordings(db, room_ids, NEWEST) if may_be_live(each, now)]
            return tuple([(recording, await _has_sound(db, recording)) for recording in newest])

    async def _read_all(self) -> dict[RoomId, list[tuple[Recording, bool]]]:
        found = defaultdict[RoomId, list[tuple[Recording, bool]]](list)
        async with self._store.read() as db:
            for each in await archive.live_or_ended_since(db, self._clock() - ENDED_FOR, NEWEST):
                found[each.room_id].append((each, await _has_sound(db, each)))
        return dict(found)


async def _has_sound(db: Connection, recording: Recording) -> bool:
    return await tracks.reach(db, recording.id) > 0 or await archive.episode(db, recording.id) is not None


def key_of_stages(stages: Sequence[Stage]) -> tuple[object, ...]:
    """Return a key that changes with what a feed says of these broadcasts."""
    return tuple(
        (each.id, stage, each.ended_at, each.title, each.description, each.broadcaster_name, each.speakers)
        for each, stage in stages
    )
