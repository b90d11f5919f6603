"""The chunks of running recordings, read once and kept: each event asks for all of them."""

from collections.abc import Sequence

from storage import archive
from storage.cache import EditionCache
from storage.database import Connection
from storage.records import Chunk, RecordingId

MOST = 16_000  # of all recordings together, 1.2 KB each; a hundred broadcasts of four hours in 120 s have 12,000


class Chunks:
    """All reading and writing of them goes on inside the caller's transaction."""

    def __init__(self, most: int = MOST) -> None:
        self._kept: EditionCache[tuple[Chunk, ...]] = EditionCache(most)

    async def of(self, db: Connection, recording_id: RecordingId) -> tuple[Chunk, ...]:
        """As `archive.chunks`."""
        edition = await archive.edition(db, recording_id)
        kept = self._kept.get(recording_id, edition)
        if kept is None:
            kept = await archive.chunks(db, recording_id)
            self._kept.put(recording_id, edition, kept, len(kept))
        return kept

    async def change(
        self, db: Connection, recording_id: RecordingId, before: Sequence[Chunk], after: Sequence[Chunk]
    ) -> None:
        """Writes what became of `before`: this recording's chunks, and any of another's that may have come to it."""
        known = {chunk.id: chunk for chunk in before}
        new = [chunk for chunk in after if (old := known.pop(chunk.id, None)) is not chunk and old != chunk]
        if not new and not known:
            return
        await archive.save_chunks(db, new)
        await archive.delete_chunks(db, recording_id, list(known))
        mine = sorted((one for one in after if one.recording_id == recording_id), key=lambda one: one.position)
        self._kept.put(recording_id, await archive.edition(db, recording_id), tuple(mine), len(mine))

    def forget(self, recording_id: RecordingId) -> None:
        """It is not asked for again soon."""
        self._kept.drop(recording_id)
