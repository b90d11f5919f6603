"""Media that could not be used are asked for anew: when somebody wants a recording made again, or searches the past."""

from datetime import datetime

from bot import orders
from bot.recording.chunks import is_fetchable
from storage import archive, jobs
from storage.database import Connection
from storage.records import Chunk, Recording


def lacks_source(chunk: Chunk) -> bool:
    """Better media would be taken, and where they are stands in the chunk's event alone."""
    return is_fetchable(chunk) and chunk.source is None


async def ask_anew(db: Connection, recording: Recording, now: datetime) -> int:
    """Writes down that all chunks of a recording that could not be had, or used, are asked for now, as if for the first
    time; how many they are. Where a chunk's source is not kept the broadcast is read anew."""
    wanted = [chunk for chunk in await archive.chunks(db, recording.id) if is_fetchable(chunk)]
    for chunk in wanted:
        if chunk.source is not None:
            await jobs.add(db, orders.Fetch(chunk.id, recording.id).job(), now)
    if any(map(lacks_source, wanted)):
        reread = orders.Reread(recording.event_id, recording.room_id, recording.broadcaster)
        await jobs.add(db, reread.job(), now)
    return len(wanted)
