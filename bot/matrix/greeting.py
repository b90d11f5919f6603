"""The one notice that tells a room what is recorded there, for whom, and how to stop it."""

from datetime import datetime

from bot import words
from storage import heirs, jobs, journal
from storage.database import Connection
from storage.records import JobKind, NewJob, Room, Visibility


async def greet(db: Connection, room: Room, now: datetime, *, prefix: str) -> None:
    """Has the notice said, once for each change that asks for it: the bot's coming, and a podcast that goes on here."""
    subject = f"welcome:{room.room_id}:{await journal.position(db)}:{room.revision}"
    payload = {"room_id": room.room_id, "body": await greeting(db, room, prefix=prefix)}
    await jobs.add(db, NewJob(JobKind.NOTICE, subject, payload, once=True), now)


async def greeting(db: Connection, room: Room, *, prefix: str) -> str:
    """Its text, as things stand."""
    line = await heirs.line(db, room.room_id)
    if line[-1] != room.room_id:
        return words.GOES_ON_ELSEWHERE
    return words.welcome(
        records=room.recording_on,
        direct=room.direct,
        public=room.visibility is Visibility.PUBLIC,
        continues=line[0] != room.room_id,
        prefix=prefix,
    )
