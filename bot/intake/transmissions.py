"""Sessions of transmissions, seen from outside of the recorder: a moderator ends the one that runs."""

from collections.abc import Awaitable, Callable

from bot.recording.model import Ended, RecordingEvent
from bot.recording.session.machine import TRANSMISSIONS
from storage import sessions
from storage.database import Connection
from storage.records import EndedBy, Recording, RecordingId, RoomId

Apply = Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]
"""The recorder's application of an event to a recording, in the caller's transaction."""


async def end(db: Connection, apply: Apply, room_id: RoomId) -> tuple[Recording, ...]:
    """End the live sessions of a room's walkie-talkie, and return them: one at most, but for what came
    late. The next transmission begins another one."""
    live = await sessions.live(db, room_id, TRANSMISSIONS)
    for recording in live:
        await apply(db, recording.id, Ended(EndedBy.STOPPED))
    return live
