"""The pieces of sound and silence in a ledger, in the order in which they are joined."""

from collections.abc import Iterable, Iterator

from bot.audio.plan import Mix, Piece, Silence, Sound
from bot.recording.ledger import Entry
from storage.records import BlobKey, Chunk


def pieces_of(entries: Iterable[Entry]) -> Iterator[Piece]:
    """Yield a piece for each entry that takes time, and for the pause before it."""
    for entry in entries:
        if entry.pause:
            yield Silence(entry.pause, pause=True)
        piece = piece_of_entry(entry)
        if piece.samples:
            yield piece


def piece_of_entry(entry: Entry) -> Piece:
    """Return the piece for an entry, without the pause before it."""
    if not entry.sounds:
        return Silence(entry.samples)
    if entry.parts:
        return Mix(entry.parts, entry.samples)
    assert entry.blob is not None
    return Sound(entry.blob, entry.container, entry.continues, entry.samples)


def channels_of(entries: Iterable[Entry], chunks: Iterable[Chunk]) -> int:
    """Return 2 if every audible chunk was recorded in stereo, else 1: a call is mono."""
    stereo = {chunk.blob for chunk in chunks if chunk.facts is not None and chunk.facts.channels == 2}
    heard: set[BlobKey | None] = {entry.blob for entry in entries if entry.sounds}
    return 2 if heard and None not in heard and heard <= stereo else 1
