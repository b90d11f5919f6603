"""Questions that the bot asks before it does what cannot be undone: at most one of a member is open in a room."""

from datetime import datetime

from sqlalchemy import delete, select, update

from storage.database import Connection
from storage.records import EventId, Question, RoomId, UserId
from storage.rows import columns, put, record
from storage.tables import questions


async def ask(db: Connection, question: Question) -> None:
    """Store a question. An earlier one that its asker left open in the room is answered by it."""
    theirs = (questions.c.room_id == question.room_id) & (questions.c.asker == question.asker)
    await db.execute(update(questions).where(theirs).values(answered=True))
    await put(db, questions, columns(question))


async def said(db: Connection, command: EventId, event_id: EventId, at: datetime) -> None:
    """Note that a question is in the room, as which event and since when; the earliest time counts."""
    row = (await db.execute(select(questions).where(questions.c.command == command))).one_or_none()
    if row is None:
        return
    said_at = max(row.asked_at, min(row.said_at or at, at))
    found = update(questions).where(questions.c.command == command)
    await db.execute(found.values(event_id=event_id, said_at=said_at))


async def open_of(db: Connection, room_id: RoomId, asker: UserId) -> Question | None:
    """Return the question that a member has not answered in a room, whether its time is over or not."""
    theirs = (questions.c.room_id == room_id) & (questions.c.asker == asker) & ~questions.c.answered
    row = (await db.execute(select(questions).where(theirs))).one_or_none()
    return record(Question, row) if row else None


async def close(db: Connection, command: EventId) -> None:
    """Mark a question as answered."""
    await db.execute(update(questions).where(questions.c.command == command).values(answered=True))


async def prune(db: Connection, before: datetime) -> None:
    """Delete the questions that were asked before this time."""
    await db.execute(delete(questions).where(questions.c.asked_at < before))
