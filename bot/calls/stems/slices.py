"""Slices of stems: whole Ogg files of some ten seconds, as Element Web cuts its broadcasts. The header pages are
repeated; page numbers and granules run on."""

import hashlib
import io
import logging
from dataclasses import dataclass

from bot.audio.opus import facts_of, opus_streams
from bot.calls.stems.stream import Run
from bot.calls.stems.windows import window_of
from bot.errors import GiveUp
from bot.recording.call.layout import WINDOW
from storage.records import BlobKey, Chunk, ChunkFacts, ChunkId, ChunkState, Position, RecordingId, Samples, Stem

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice that is cut. Its pages lie in the file of its stem, `pages_size` bytes from `offset` on."""

    stem: Stem
    at: Samples  # where it begins on the clock of the call
    first_page: int
    headers: bytes
    offset: int
    pages_size: int
    facts: ChunkFacts
    key: BlobKey
    position: Position  # in the journal when it began

    @property
    def window(self) -> int:
        return window_of(self.at)

    def chunk(self, recording_id: RecordingId) -> Chunk:
        """Return the chunk that it is once its bytes are stored. No two slices of a stem begin with the same page."""
        return Chunk(
            id=ChunkId(f"call-{recording_id}-{self.stem.number}-{self.first_page}"),
            recording_id=recording_id,
            event_id=None,
            sender=self.stem.user_id,
            position=self.position,
            state=ChunkState.STORED,
            blob=self.key,
            bytes=len(self.headers) + self.pages_size,
            facts=self.facts,
            stem=self.stem.number,
            at=self.at,
        )


def slice_of(stem: Stem, headers: bytes, run: Run, position: Position) -> Slice | None:
    """Make the slice of a run of pages; its facts are read from its bytes, as of any chunk. Takes milliseconds. None,
    and a line in the log, where that can't be done: whatever a peer has sent harms its own stem alone."""
    data = headers + run.pages
    try:
        facts = facts_of(opus_streams(io.BytesIO(data), max_samples=2 * WINDOW))
    except GiveUp as error:
        log.error("a slice can't be read: stem=%d page=%d: %s", stem.number, run.first_page, error)
        return None
    key = BlobKey(hashlib.sha256(data).hexdigest())
    return Slice(stem, run.at, run.first_page, headers, run.offset, len(run.pages), facts, key, position)
