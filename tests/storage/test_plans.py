"""The journal is never read as a whole for what happens every second: it may have a million rows, of which few wait."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from storage import journal, orphans, overview
from storage.database import Connection
from storage.place import Place
from storage.records import EventId, HeardEvent, Position, SessionId
from storage.store import Store
from tests.factories import ALICE, NOW, ROOM
from tests.postgresql import of_the_file

pytestmark = of_the_file  # a server chooses by the size of its tables
READINGS: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "overview": lambda db: overview.look(db, NOW),
    "unhandled": lambda db: journal.unhandled(db, 100, NOW),
    "waits": lambda db: journal.waits(db, ROOM, ALICE),
    "waits_in": lambda db: journal.waits_in(db, ROOM),
    "waiting_at": lambda db: journal.waiting_at(db, Position(1)),
    "pending": lambda db: journal.pending(db, EventId("$e")),
    "wanted": lambda db: orphans.wanted(db, ROOM, ALICE, ("info",)),
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store with statistics about a journal of which little waits."""
    store = await Store.own(Place(tmp_path / "data"))
    async with store.write() as db:
        for number in range(200):
            event_id, session = EventId(f"$e{number}"), SessionId("session") if number % 50 == 0 else None
            heard = HeardEvent(ROOM, event_id, {"type": "m.room.message"}, session_id=session)
            position = await journal.add(db, heard, NOW)
            assert position is not None
            pending = await journal.pending(db, event_id)
            assert pending is not None
            await journal.handled(db, pending, keep=session is not None)
        await db.execute(text("ANALYZE"))
    yield store
    await store.close()


@asynccontextmanager
async def statements_of(db: Connection) -> AsyncIterator[list[tuple[str, Any]]]:
    """Collect what is executed meanwhile."""
    seen = list[tuple[str, Any]]()

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        seen.append((statement, parameters))

    event.listen(db.sync_connection, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.sync_connection, "before_cursor_execute", note)


@pytest.mark.parametrize("reading", READINGS)
async def test_no_reading_goes_through_the_journal(store: Store, reading: str) -> None:
    """Each statement finds its rows of the journal by an index of those that wait, or by a key."""
    async with store.read() as db:
        async with statements_of(db) as seen:
            await READINGS[reading](db)
        plans = [
            str(tuple(row)[3])
            for statement, parameters in seen
            for row in await db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert plans
    assert [plan for plan in plans if plan == "SCAN journal" or "ix_journal_session_id" in plan] == []


async def test_what_waits_is_counted(store: Store) -> None:
    """The figures are those of the rows."""
    async with store.write() as db:
        await journal.add(db, HeardEvent(ROOM, EventId("$new"), {"type": "m.room.message"}), NOW)
    async with store.read() as db:
        seen = await overview.look(db, NOW)
    assert (seen.unhandled, seen.oldest_unhandled) == (1, NOW)
    assert (seen.sealed, seen.oldest_sealed) == (4, NOW)
