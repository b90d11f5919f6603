"""The search for recordings by who speaks in them."""

from typing import Any

import pytest
from sqlalchemy import event

from storage import archive, spoken
from storage.database import Connection
from storage.records import ChunkId, EventId, RoomId, UserId
from storage.store import Store
from tests.factories import a_chunk, a_recording

ALICE, BOB, CAROL = UserId("@a:hs"), UserId("@b:hs"), UserId("@c:hs")
HERE, THERE = RoomId("!here:hs"), RoomId("!there:hs")


async def begun(db: Connection, broadcaster: UserId, *senders: UserId, room_id: RoomId = HERE) -> str:
    """Store a recording with a chunk of each sender; return its code."""
    count = len(await archive.recordings(db))
    row = a_recording(room_id=room_id, event_id=EventId(f"$e{count}"), broadcaster=broadcaster)
    made = await archive.add_recording(db, row)
    for number, sender in enumerate(senders):
        chunk_id = ChunkId(f"c{count}-{number}")
        await archive.save_chunks(
            db, [a_chunk(id=chunk_id, event_id=EventId(f"${chunk_id}"), recording_id=made.id, sender=sender)]
        )
    return made.code


async def test_what_they_began_or_spoke_in_is_found(store: Store) -> None:
    """All that they began or sent sound to, by whether others speak in it; of these rooms alone if any are named."""
    async with store.write() as db:
        silent = await begun(db, ALICE)
        own = await begun(db, ALICE, ALICE, ALICE, room_id=THERE)
        joint, guest = await begun(db, ALICE, ALICE, BOB), await begun(db, BOB, BOB, ALICE)
        await begun(db, BOB, BOB, CAROL)
        everywhere, here = await spoken.by(db, ALICE, None, ()), await spoken.by(db, ALICE, [HERE], ())
    assert [[one.code for one in found] for found in everywhere] == [[silent, own], [joint, guest]]
    assert [[one.code for one in found] for found in here] == [[silent], [joint, guest]]


INDEXES = {"ix_recordings_broadcaster", "ix_chunks_sender", "ix_recordings_of_kind"}


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)  # its plans can be read by their names
async def test_nobody_elses_recordings_are_read(store: Store) -> None:
    """The database finds a member's recordings by three indexes."""
    said: list[tuple[str, Any]] = []
    async with store.write() as db:

        def note(*call: Any) -> None:
            said.append((call[2], call[3]))

        event.listen(db.sync_connection, "before_cursor_execute", note)
        await spoken.by(db, ALICE, None, ())
        event.remove(db.sync_connection, "before_cursor_execute", note)
        plans = [
            row.detail
            for statement, values in said
            for row in await db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
    assert [step for step in plans if step.startswith(("SCAN recordings", "SCAN chunks"))] == []
    assert {name for name in INDEXES for step in plans if name in step} == INDEXES
