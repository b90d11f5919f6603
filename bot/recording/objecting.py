"""Objections to a recording: whose sound it takes, and from where on each of them is asked for it. Pure."""

from collections.abc import Iterable

from bot.recording.chunks import OUT_OF_TURN, is_removed
from bot.recording.kinds import kind_of
from bot.recording.session import transmissions
from storage.records import Chunk, Position, Recording, UserId


def taking_part(recording: Recording, chunks: Iterable[Chunk]) -> frozenset[UserId]:
    """Return the members whose sound a recording holds or waits for: its broadcaster, and the senders of what was not
    taken out."""
    heard = {chunk.sender for chunk in chunks if not is_removed(chunk) and chunk.reason != OUT_OF_TURN}
    running = {each.sender for each in recording.transmissions if each.state.is_open}
    return frozenset({recording.broadcaster, *heard, *running})


def began(recording: Recording, chunk: Chunk) -> Position:
    """Return the position at which its sender began what a chunk is a part of: a message, or a broadcast."""
    if not kind_of(recording).several_speakers:
        return recording.position
    transmission = transmissions.find(recording, chunk.transmission)
    return transmission.position if transmission else chunk.position
