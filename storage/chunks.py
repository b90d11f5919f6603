"""The chunks of running recordings, read once and cached: each event asks for all of them."""

import operator
from collections.abc import Sequence

from storage import archive
from storage.cache import EditionCache
from storage.database import Connection
from storage.records import Chunk, RecordingId

MOST = 40_000  # of all recordings together, 1.2 KB each; a hundred broadcasts of four hours in 120 s have 12,000,
# a call of six hours with eight speakers 17,000


def appended(before: Sequence[Chunk], after: Sequence[Chunk]) -> Sequence[Chunk] | None:
    """Return the chunks that `after` has behind those of `before`; None if any of these has changed or is gone. Takes
    no longer than a millisecond for a long call, and holds for the same objects only."""
    if len(after) < len(before) or not all(map(operator.is_, before, after)):
        return None
    return after[len(before) :]


class Chunks:
    """A cache of chunks. It reads and writes inside the caller's transaction."""

    def __init__(self, most: int = MOST) -> None:
        self._cache: EditionCache[tuple[Chunk, ...]] = EditionCache(most)

    async def of(self, db: Connection, recording_id: RecordingId) -> tuple[Chunk, ...]:
        """Return a recording's chunks, as `archive.chunks`."""
        edition = await archive.edition(db, recording_id)
        chunks = self._cache.get(recording_id, edition)
        if chunks is None:
            chunks = await archive.chunks(db, recording_id)
            self._cache.put(recording_id, edition, chunks, len(chunks))
        return chunks

    async def change(
        self, db: Connection, recording_id: RecordingId, before: Sequence[Chunk], after: Sequence[Chunk]
    ) -> None:
        """Write the changes from `before` to `after`: this recording's chunks, and chunks that moved to it from
        others."""
        behind = appended(before, after)
        if behind is not None and _goes_on(recording_id, before, behind):
            if behind:
                await archive.save_chunks(db, behind)
                self._cache.put(recording_id, await archive.edition(db, recording_id), tuple(after), len(after))
            return
        known = {chunk.id: chunk for chunk in before}
        new = [chunk for chunk in after if (old := known.pop(chunk.id, None)) is not chunk and old != chunk]
        if not new and not known:
            return
        await archive.save_chunks(db, new)
        await archive.delete_chunks(db, recording_id, list(known))
        mine = sorted(
            (chunk for chunk in after if chunk.recording_id == recording_id), key=lambda chunk: chunk.position
        )
        self._cache.put(recording_id, await archive.edition(db, recording_id), tuple(mine), len(mine))

    def forget(self, recording_id: RecordingId) -> None:
        """Drop a recording's chunks from the cache: they will not be needed again soon."""
        self._cache.drop(recording_id)


def _goes_on(recording_id: RecordingId, before: Sequence[Chunk], behind: Sequence[Chunk]) -> bool:
    """Return whether these chunks follow those before in the order of positions. Chunks of other recordings stand last
    among those before."""
    order = [chunk.position for chunk in (*before[-1:], *behind)]
    return order == sorted(order) and all(chunk.recording_id == recording_id for chunk in (*before[-1:], *behind))
