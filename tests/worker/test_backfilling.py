"""The search of a room's history: resumed where it stopped, told of once, also when it may not be made."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from bot import orders, words
from bot.errors import GiveUp, TryLater
from bot.worker.attempts import Handler
from bot.worker.backfilling import Backfilling
from bot.worker.room_history import HistoryPage, RoomHistory
from storage import archive, jobs, rooms
from storage.database import Connection
from storage.records import (
    EventId,
    HeardEvent,
    HistoryVisibility,
    Job,
    Position,
    Recording,
    RecordingState,
    RoomId,
    UserId,
)
from storage.store import Store
from tests.clock import Clock
from tests.factories import a_recording, a_room
from tests.world import ALICE, INFO

ROOM = RoomId("!r:hs")


class History(RoomHistory):
    """Three pages of two broadcasts each; `fails_at` raises once at that page."""

    def __init__(self, error: Exception | None = None, fails_at: int = -1) -> None:
        self.error, self.fails_at = error, fails_at
        self.read: list[int] = []

    async def pages(self, room_id: RoomId, cursor: str | None) -> AsyncIterator[HistoryPage]:
        for number in range(int(cursor or 0), 3):
            if number == self.fails_at and self.error is not None:
                error, self.error = self.error, None
                raise error
            self.read.append(number)
            started = tuple(heard(f"${number}{letter}") for letter in "ab")
            yield HistoryPage(started, str(number + 1) if number < 2 else None)

    async def related(self, room_id: RoomId, started: EventId, sender: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        yield ()


def heard(event_id: str) -> HeardEvent:
    event = {"type": INFO, "sender": ALICE, "state_key": ALICE, "content": {"state": "started"}, "origin_server_ts": 0}
    return HeardEvent(ROOM, EventId(event_id), event)


class Adopter:
    def __init__(self, clock: Clock, **recordings: Any) -> None:
        self.clock = clock
        self.recordings = {"state": RecordingState.EMPTY, **recordings}

    async def __call__(self, db: Connection, events: Sequence[HeardEvent]) -> Recording | None:
        recording = a_recording(
            at=self.clock(),
            room_id=ROOM,
            event_id=events[0].event_id,
            position=Position(-1),
            history_visibility=HistoryVisibility.SHARED,
            **self.recordings,
        )
        return await archive.add_recording(db, recording)


async def claimed(store: Store, clock: Clock) -> Job:
    async with store.write() as db:
        (job,) = await jobs.claim(db, [orders.Backfill.kind], clock(), 1)
    return job


async def notices(store: Store) -> list[str]:
    async with store.read() as db:
        return [job.payload["body"] for job in await jobs.unfinished(db, orders.Notice.kind)]


async def begin(store: Store, clock: Clock) -> Job:
    async with store.write() as db:
        await jobs.add(db, orders.Backfill(ROOM).job(), clock())
    return await claimed(store, clock)


async def test_a_search_that_was_cut_off_goes_on_where_it_was(store: Store) -> None:
    """Adopted broadcasts stay, no finished page is read again, and the room is told once at the end."""
    clock, past = Clock(), History(TryLater("the homeserver is away"), fails_at=2)
    search: Handler = Backfilling(store, past, adopt=Adopter(clock), clock=clock)
    job = await begin(store, clock)
    with pytest.raises(TryLater):
        await search(job)
    async with store.write() as db:
        await jobs.put_back(db, job, None, clock(), clock())
    await search(await claimed(store, clock))
    assert past.read == [0, 1, 2]
    assert await notices(store) == ["I found 6 past broadcasts: 6 without sound."]
    async with store.read() as db:
        assert len(await archive.recordings(db, ROOM)) == 6


async def test_what_was_found_and_waits_for_approval_is_said_so(store: Store) -> None:
    """Nobody would learn it otherwise: past broadcasts are not announced one by one."""
    clock = Clock()
    adopt = Adopter(clock, state=RecordingState.COMPLETE, unreviewed=True)
    await Backfilling(store, History(), adopt=adopt, clock=clock)(await begin(store, clock))
    report = "I found 6 past broadcasts: 6 recorded whole. 6 of them wait for approval: `review` tells which."
    assert await notices(store) == [report]


async def test_a_history_that_may_not_be_read_is_said_so(store: Store) -> None:
    """The job is given up, and whoever asked knows why."""
    clock = Clock()
    search = Backfilling(store, History(GiveUp("no", reason="forbidden"), 0), adopt=Adopter(clock), clock=clock)
    with pytest.raises(GiveUp):
        await search(await begin(store, clock))
    assert await notices(store) == ["The homeserver does not let me read this room's history."]


async def test_a_room_that_was_not_told_yet_is_not_searched(store: Store) -> None:
    """Nothing is recorded of it, not of its past either, before the bot could say so."""
    clock, past = Clock(), History()
    async with store.write() as db:
        await rooms.save_room(db, a_room(ROOM, at=clock(), recording_on=False, told_at=None))
    with pytest.raises(GiveUp):
        await Backfilling(store, past, adopt=Adopter(clock), clock=clock)(await begin(store, clock))
    assert past.read == []
    assert await notices(store) == [words.NOT_TOLD]
