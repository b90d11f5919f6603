"""Another try at unusable media, when somebody rebuilds a recording or searches a room's history."""

from datetime import datetime

from bot import orders
from bot.recording.chunks import is_fetchable
from bot.recording.kinds import kind_of
from storage import archive, jobs
from storage.database import Connection
from storage.records import Chunk, Recording


def lacks_source(chunk: Chunk) -> bool:
    """Return whether better media are wanted and their address is only in the chunk's event."""
    return is_fetchable(chunk) and chunk.source is None


async def ask_anew(db: Connection, recording: Recording, now: datetime) -> int:
    """Order another fetch of all chunks whose media were missing or unusable; return how many.

    Where the address of a chunk's media is not kept, its broadcast is read again.
    """
    wanted = [chunk for chunk in await archive.chunks(db, recording.id) if is_fetchable(chunk)]
    for chunk in wanted:
        if chunk.source is not None:
            await jobs.add(db, orders.Fetch(chunk.id, recording.id).job(), now)
    if kind_of(recording).related and any(map(lacks_source, wanted)):
        await jobs.add(db, orders.Reread.known(recording).job(), now)
    return len(wanted)
