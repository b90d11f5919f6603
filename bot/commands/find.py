"""Recordings by the names that people give: a code, `last`, an event id."""

from collections.abc import Callable

from bot.commands.parse import Code, Last, RecordingName
from bot.intake import shown
from storage import archive, heirs
from storage.database import Connection
from storage.records import Recording, RecordingState, RoomId


async def find_recording(db: Connection, room_id: RoomId | None, name: RecordingName) -> Recording | None:
    """Return a recording of this room's podcast (None: of any room) that was not deleted.

    A recording of another podcast is None: a code tells nothing outside its own.
    """
    match name:
        case Last():
            return next(iter(await newest(db, room_id, 1, lambda state: state.may_have_audio)), None)
        case Code(letters=letters):
            recording = await archive.recording_by_code(db, letters)
        case event_id:
            recording = await archive.recording_by_event(db, await shown.named_here(db, event_id))
    if recording is None or recording.state is RecordingState.DELETED:
        return None
    return recording if room_id is None or recording.room_id in await heirs.line(db, room_id) else None


async def newest(
    db: Connection, room_id: RoomId | None, count: int, suits: Callable[[RecordingState], bool]
) -> tuple[Recording, ...]:
    """Return the newest `count` recordings of this room's podcast (None: of all) whose state suits, newest first."""
    line = await heirs.line(db, room_id) if room_id is not None else None
    limit = 2 * count + 10
    while True:
        recordings = await archive.recordings(db, line, limit=limit)
        suitable = [recording for recording in recordings if suits(recording.state)]
        if len(suitable) >= count or len(recordings) < limit:
            return tuple(suitable[:count])
        limit *= 4
