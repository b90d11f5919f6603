"""Messages that a gap in the timeline hid, and sessions that are full."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.recorder import Recorder
from bot.recording.model import ChunkStored
from storage import gaps, journal, rooms
from storage.records import ChunkId, EndedBy, HeardEvent, Position, UserId, Visibility
from tests.recorder.voices import BEN, in_thread, joined, messages, record_messages, sessions, voice
from tests.recording.world import blob, limits, mp4
from tests.world import ROOM, World

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
async def _messages_are_recorded(world: World) -> None:
    await world.hear(joined(BEN, "Ben"))
    await record_messages(world)


async def gap(world: World) -> Position:
    """Open a gap that nothing waits for; return a position in it."""
    now = world.clock()
    async with world.store.write() as db:
        low = await journal.position(db)
        seen = await gaps.open_gap(
            db, ROOM, cursor="c", until_token=None, until_event=None, low=low, hold_until=now, now=now
        )
        await gaps.save(db, replace(seen, walking=False))
    return Position(low + 100)


async def found(world: World, late: HeardEvent, position: Position) -> None:
    """Find a message in the gap."""
    async with world.store.write() as db:
        await journal.add(db, replace(late, history=True), world.clock(), position=position)
    await world.settle()


async def test_a_message_found_in_a_gap_joins_the_session_before_it(world: World) -> None:
    """Its place is in the gap; the session after it keeps its own."""
    at = world.clock() - 60 * MINUTE
    await world.hear(voice("$1", at))
    place = await gap(world)
    await world.hear(voice("$3", at + 18 * MINUTE))
    await found(world, voice("$2", at + 9 * MINUTE), place)
    assert await messages(world) == [["$1", "$2"], ["$3"]]


async def test_without_one_before_it_joins_the_one_after_it(world: World) -> None:
    """The session keeps the id of the message that began it, and numbers follow the timeline."""
    at = world.clock() - 60 * MINUTE
    place = await gap(world)
    await world.hear(voice("$2", at))
    await found(world, voice("$1", at - 9 * MINUTE), place)
    await found(world, voice("$0", at - 30 * MINUTE), Position(place - 1))
    assert await messages(world) == [["$0"], ["$1", "$2"]]
    first, second = await sessions(world)
    assert (first.recording.number, second.recording.number) == (1, 2)
    assert second.recording.event_id == "$2"


async def test_it_joins_no_session_that_others_may_hear(world: World) -> None:
    """A member who joined in between hears what began afterwards, and nothing from before."""
    now = world.clock()
    place = await gap(world)
    await world.hear(joined(UserId("@carl:hs"), "Carl"), voice("$2", now))
    await found(world, voice("$1", now - MINUTE), place)
    assert await messages(world) == [["$1"], ["$2"]]


async def test_it_joins_no_session_that_is_public_since(world: World) -> None:
    """Going public counts for what is said after it."""
    now = world.clock()
    place = await gap(world)
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        since = await journal.position(db)
        await rooms.save_room(db, replace(room, visibility=Visibility.PUBLIC, public_since=since))
    await world.hear(voice("$2", now))
    await found(world, voice("$1", now - MINUTE), place)
    assert [(one.messages, one.recording.public) for one in await sessions(world)] == [(["$1"], False), (["$2"], True)]


def short(world: World, length_s: float) -> None:
    """Record sessions of this length at most."""
    world.recorder = Recorder(world.store, limits(max_broadcast_s=length_s), world.clock)


async def stored(world: World, name: str, length_s: float) -> None:
    """Store media of a message, longer than was announced."""
    (session,) = [one for one in await sessions(world) if name in one.messages]
    async with world.store.write() as db:
        event = ChunkStored(ChunkId(name), blob(name), 1000, mp4(length_s))
        await world.recorder.apply(db, session.recording.id, event)


async def test_a_session_that_is_full_is_followed_by_another_one(world: World) -> None:
    """The full one is over at once."""
    short(world, 2)
    now = world.clock()
    await world.hear(voice("$1", now), voice("$2", now), voice("$3", now, who=BEN))
    assert await messages(world) == [["$1", "$2"], ["$3"]]
    assert [one.recording.ended_by for one in await sessions(world)] == [EndedBy.LIMIT, None]


async def test_a_message_that_is_longer_than_announced_begins_another_one(world: World) -> None:
    """Nothing is lost, the thread stays, and a message that comes then goes on with it."""
    short(world, 10)
    now = world.clock()
    await world.hear(voice("$1", now, **in_thread("$r")), voice("$2", now, **in_thread("$r")))
    await stored(world, "$1", 6)
    await stored(world, "$2", 5)
    await world.hear(voice("$3", now, who=BEN, **in_thread("$r")))
    assert await messages(world) == [["$1"], ["$2", "$3"]]
    full, other = await sessions(world)
    assert (full.recording.ended_by, other.recording.thread) == (EndedBy.LIMIT, "$r")
    await stored(world, "$2", 5)
    assert (await sessions(world))[1].ledger.samples == 5 * 48_000
