"""The files that studios have uploaded, as their recordings go on: what is not recorded is not kept either, and a
recording that ends from outside ends its studio. In the caller's transaction.

A chunk keeps its file by a row of its own. The slice that was uploaded names the same file, so that it is there until
the chunk is stored; so whatever takes sound out of a recording takes it from the slice, too.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from bot.dialects import studio as events
from bot.recording.chunks import GIVEN_UP, is_removed
from bot.studio import ending
from storage import archive, studios
from storage.chunks import appended
from storage.database import Connection
from storage.records import BlobKey, Chunk, EndedBy, EventId, Recording, RecordingState, Studio

FROM_OUTSIDE = frozenset(
    (EndedBy.LIMIT, EndedBy.LEFT, EndedBy.REMOVED, EndedBy.SWITCHED_OFF, EndedBy.RESTARTED),
)
"""The ends after which a studio takes nothing more. A client that was silent for long (`abandoned`) may go on."""


async def ignored(db: Connection, event_id: EventId) -> set[BlobKey]:
    """Drop a slice whose event has come, unless it is a chunk now that is wanted; return its file, if nothing else is
    to be done with it."""
    if not events.is_ours(event_id):
        return set()
    chunk = await archive.chunk_of_event(db, event_id)
    return set() if chunk is not None and not _is_unwanted(chunk) else await _drop(db, [event_id])


async def follow(
    db: Connection,
    before: tuple[Recording, Sequence[Chunk]],
    after: tuple[Recording, Sequence[Chunk]],
    now: datetime,
) -> set[BlobKey]:
    """Drop the slices of chunks whose sound a recording does not want any more, and end the studio of a recording that
    was ended from outside. Return the files that are to be removed."""
    (earlier, chunks), (later, changed) = before, after
    if earlier.via is None:
        return set()
    new = [chunk for chunk in _changed(chunks, changed) if _is_unwanted(chunk)]
    gone = await _drop(db, [chunk.event_id for chunk in new if chunk.event_id is not None])
    if earlier.state is RecordingState.LIVE and later.state is not RecordingState.LIVE:
        await _end(db, later, now)
    if earlier.cover is not None and later.cover != earlier.cover:
        gone.add(earlier.cover)
    return gone


async def erase(db: Connection, broadcasts: Iterable[EventId], now: datetime) -> set[BlobKey]:
    """Leave nothing of the studios of deleted broadcasts but their ids; return the files that are to be removed."""
    gone = set[BlobKey]()
    for broadcast in broadcasts:
        made_in = await _studio(db, broadcast)
        if made_in is not None:
            gone |= await studios.erase(db, made_in, now)
    return gone


async def _end(db: Connection, recording: Recording, now: datetime) -> None:
    made_in = await _studio(db, recording.event_id) if recording.ended_by in FROM_OUTSIDE else None
    if made_in is not None:
        await ending.close(db, made_in, now)


async def _drop(db: Connection, chunks: Sequence[EventId]) -> set[BlobKey]:
    """Drop the sound of the slices with these events."""
    gone, by_key = set[BlobKey](), dict[str, set[int]]()
    for event_id in chunks:
        key, number = events.key_of(event_id), events.number_of(event_id)
        if key is not None and number is not None:
            by_key.setdefault(key, set()).add(number)
    for key, numbers in by_key.items():
        made_in = await studios.by_key(db, key)
        if made_in is not None:
            gone |= await studios.drop_sound(db, made_in.id, numbers)
    return gone


async def _studio(db: Connection, broadcast: EventId) -> Studio | None:
    key = events.key_of(broadcast)
    return await studios.by_key(db, key) if key is not None else None


def _changed(before: Sequence[Chunk], after: Sequence[Chunk]) -> Sequence[Chunk]:
    new = appended(before, after)
    if new is not None:
        return new
    known = {chunk.id: chunk for chunk in before}
    return [chunk for chunk in after if known.get(chunk.id) is not chunk]


def _is_unwanted(chunk: Chunk) -> bool:
    return is_removed(chunk) or chunk.reason in GIVEN_UP
