"""The pieces of sound and silence in a ledger, in the order in which they are joined."""

from collections.abc import Iterable, Iterator

from bot.audio.plan import Piece, Silence, Sound
from bot.recording.ledger import Entry
from storage.records import BlobKey, Chunk


def pieces_of(entries: Iterable[Entry]) -> Iterator[Piece]:
    """Yield a piece for each entry that takes time, and for the pause before it."""
    for entry in entries:
        if entry.pause:
            yield Silence(entry.pause, pause=True)
        if entry.sounds:
            assert entry.blob is not None
            yield Sound(entry.blob, entry.container, entry.continues, entry.samples)
        elif entry.samples:
            yield Silence(entry.samples)


def channels_of(entries: Iterable[Entry], chunks: Iterable[Chunk]) -> int:
    """Return 2 if every audible chunk was recorded in stereo, else 1."""
    stereo = {chunk.blob for chunk in chunks if chunk.facts is not None and chunk.facts.channels == 2}
    heard: set[BlobKey | None] = {entry.blob for entry in entries if entry.sounds}
    return 2 if heard and heard <= stereo else 1
