"""The speakers of a recording: the one rule for its JSON, pages, tags, feeds and notices. Pure.

A speaker is somebody whose sound is in the audio. They stand in the order of their first sound, under the display name
that they had when they spoke; whoever has no sound left is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bot.recording.chunks import is_removed
from bot.recording.ledger import Entry, Ledger
from storage.records import Chunk, Recording, Samples, UserId


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker with their display name as it came, and the length of what is heard of them."""

    user_id: UserId
    name: str | None
    heard: Samples


def speakers(recording: Recording, chunks: Iterable[Chunk], ledger: Ledger) -> tuple[Speaker, ...]:
    """Return the speakers of a recording, in the order of their first sound."""
    by_id = {chunk.id: chunk for chunk in chunks}
    heard: dict[UserId, Speaker] = {}
    for entry in ledger.entries:
        if not entry.sounds or entry.chunk_id is None:
            continue
        chunk = by_id[entry.chunk_id]
        known = heard.get(chunk.sender, Speaker(chunk.sender, None, Samples(0)))
        name = known.name or name_of(recording, chunk)
        heard[chunk.sender] = Speaker(chunk.sender, name, Samples(known.heard + _heard(entry)))
    return tuple(heard.values())


def name_of(recording: Recording, chunk: Chunk) -> str | None:
    """Return the display name of a chunk's sender when they sent it; None where it was taken out."""
    if is_removed(chunk):
        return None
    if chunk.sender_name is None and chunk.sender == recording.broadcaster:
        return recording.broadcaster_name
    return chunk.sender_name


def _heard(entry: Entry) -> int:
    return entry.samples - sum(hole.samples for hole in entry.holes)
