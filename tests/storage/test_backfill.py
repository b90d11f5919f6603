"""Events found in the history stand in front of everything, and move nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from storage import archive, backfill, journal
from storage.records import EventId, HeardEvent, Recording, SessionId
from storage.store import Store
from tests.storage.test_archive import ROOM, recording

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)


def heard(event_id: str, session: str | None = None) -> HeardEvent:
    return HeardEvent(ROOM, EventId(event_id), {"a": 1}, session_id=SessionId(session) if session else None)


def placed(event: HeardEvent) -> Recording:
    return replace(recording(event.event_id), position=event.position)


async def test_the_past_is_placed_in_front_in_its_order_and_what_was_heard_keeps_its_place(store: Store) -> None:
    """The newest position, from which a joining member's right to hear counts, is never one of the history."""
    async with store.write() as db:
        later = await backfill.add(db, [heard("$3"), heard("$4", "s")], NOW)
        assert await journal.position(db) == 0
        known = await journal.add(db, heard("$live"), NOW)
        earlier = await backfill.add(db, [heard("$1"), heard("$live"), heard("$2")], NOW)
        assert await journal.position(db) == known
    assert [one.position for one in later] == [-2, -1]
    assert [one.position for one in earlier] == [-4, known, -3]
    async with store.read() as db:
        assert [one.event_id for one in await journal.sealed(db)] == ["$4"]
        assert await journal.unhandled(db, 10) == ()


async def test_places_of_the_past_are_not_given_twice_after_the_journal_was_pruned(store: Store) -> None:
    """A recording keeps the position of its start when the journal is pruned."""
    async with store.write() as db:
        (first,) = await backfill.add(db, [heard("$1")], NOW)
        await archive.add_recording(db, placed(first))
        await journal.prune(db, NOW + timedelta(days=1))
        (second,) = await backfill.add(db, [heard("$0")], NOW)
        await archive.add_recording(db, placed(second))
        await backfill.renumber(db, ROOM)
        found = await archive.recordings(db, ROOM)
    assert second.position < first.position
    assert {str(one.event_id): one.number for one in found} == {"$0": 1, "$1": 2}
