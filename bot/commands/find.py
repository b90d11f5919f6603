"""Recordings as people name them."""

from collections.abc import Callable

from bot.commands.parse import Code, Last, RecordingName
from storage import archive, heirs
from storage.database import Connection
from storage.records import Recording, RecordingState, RoomId


async def find_recording(db: Connection, room_id: RoomId | None, name: RecordingName) -> Recording | None:
    """A recording of this room's podcast that was not deleted; of another none: codes tell nothing there. For who runs
    the bot (None) any."""
    match name:
        case Last():
            return next(iter(await newest(db, room_id, 1, lambda state: state.may_have_audio)), None)
        case Code(letters=letters):
            found = await archive.recording_by_code(db, letters)
        case event_id:
            found = await archive.recording_by_event(db, event_id)
    if found is None or found.state is RecordingState.DELETED:
        return None
    return found if room_id is None or found.room_id in await heirs.line(db, room_id) else None


async def newest(
    db: Connection, room_id: RoomId | None, count: int, suits: Callable[[RecordingState], bool]
) -> tuple[Recording, ...]:
    """The newest `count` recordings of this room's podcast (None: of all) whose state suits, newest first."""
    line = await heirs.line(db, room_id) if room_id is not None else None
    limit = 2 * count + 10
    while True:
        looked_at = await archive.recordings(db, line, limit=limit)
        found = [recording for recording in looked_at if suits(recording.state)]
        if len(found) >= count or len(looked_at) < limit:
            return tuple(found[:count])
        limit *= 4
