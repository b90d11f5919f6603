"""The speakers of a recording: the one rule for its JSON, pages, tags, feeds and notices. Pure.

A speaker is somebody whose sound is in the audio. They stand in the order of their first sound, under the display name
that they had when they spoke; whoever has no sound left is none. A recording with several speakers keeps them in its
row (`credited`), so that whatever lists recordings need not read their chunks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from bot.recording.chunks import OUT_OF_TURN, is_removed
from bot.recording.ledger import Entry, Ledger
from storage.records import Chunk, Credit, Recording, Samples, UserId

MOST_CREDITED = 200
LONGEST_NAME = 255
"""Bounds of a recording's row, which every list of recordings reads, and of a message's: names are strangers' words."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker, and the length of what is heard of them."""

    credit: Credit
    heard: Samples


def speakers(recording: Recording, chunks: Iterable[Chunk], ledger: Ledger) -> tuple[Speaker, ...]:
    """Return the speakers of a recording, in the order of their first sound."""
    by_id = {chunk.id: chunk for chunk in chunks}
    found: dict[UserId, Speaker] = {}
    for entry in ledger.entries:
        if entry.sounds and entry.chunk_id is not None:
            chunk = by_id[entry.chunk_id]
            add_sound(found, chunk.sender, name_of(recording, chunk), _heard(entry))
    return tuple(found.values())


def add_sound(found: dict[UserId, Speaker], user: UserId, name: str | None, samples: int) -> None:
    """Add sound of a user to the speakers that were found so far."""
    known = found.get(user, Speaker(Credit(user, None), Samples(0)))
    found[user] = Speaker(Credit(user, known.credit.name or name), Samples(known.heard + samples))


def name_of(recording: Recording, chunk: Chunk) -> str | None:
    """Return the display name of a chunk's sender when they sent it; None where it was taken out."""
    if is_removed(chunk):
        return None
    if chunk.sender_name is None and chunk.sender == recording.broadcaster:
        return recording.broadcaster_name
    return chunk.sender_name


def credits_of(recording: Recording) -> tuple[Credit, ...]:
    """Return the speakers that a recording's row names. Whoever began it stands for those who are not heard yet."""
    return recording.speakers or (Credit(recording.broadcaster, recording.broadcaster_name),)


def taking_part(recording: Recording, chunks: Iterable[Chunk]) -> frozenset[UserId]:
    """Return the members whose sound a recording holds or waits for: its broadcaster, and the senders of what was not
    taken out."""
    running = {each.sender for each in recording.transmissions if each.state.is_open}
    return frozenset({recording.broadcaster, *senders(chunks), *running})


def senders(chunks: Iterable[Chunk]) -> frozenset[UserId]:
    """Return the senders of what was not taken out."""
    return frozenset(chunk.sender for chunk in _remaining(chunks))


def credited(recording: Recording, chunks: Iterable[Chunk], ledger: Ledger) -> Recording:
    """Return a recording of several speakers with those who are in its audio now. Its broadcaster is the first of them;
    while nobody is heard, whoever sent the first message that is left in it."""
    chunks = tuple(chunks)
    spoke = bounded(speaker.credit for speaker in speakers(recording, chunks, ledger))
    after = replace(recording, speakers=spoke)
    if spoke:
        return replace(after, broadcaster=spoke[0].user_id, broadcaster_name=spoke[0].name)
    first = _first(_remaining(chunks))
    if first is None:
        began = _first(chunks)  # nobody has anything left, so nobody's name stays
        return replace(after, broadcaster=began.sender, broadcaster_name=None) if began else after
    known = recording.broadcaster_name if first.sender == recording.broadcaster else None
    return replace(after, broadcaster=first.sender, broadcaster_name=first.sender_name or known)


def _first(chunks: Iterable[Chunk]) -> Chunk | None:
    return min(chunks, key=lambda chunk: (chunk.position, chunk.id), default=None)


def _remaining(chunks: Iterable[Chunk]) -> list[Chunk]:
    return [chunk for chunk in chunks if not is_removed(chunk) and chunk.reason != OUT_OF_TURN]


def bounded(spoke: Iterable[Credit]) -> tuple[Credit, ...]:
    """Return as much of the credits as a recording's row holds."""
    return tuple(replace(each, name=each.name and each.name[:LONGEST_NAME]) for each in islice(spoke, MOST_CREDITED))


def _heard(entry: Entry) -> int:
    return entry.samples - sum(hole.samples for hole in (*entry.holes, *entry.unrecorded))
