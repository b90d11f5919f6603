"""Objections to a recording: from where on each of its speakers is asked for one. Pure."""

from bot.recording.kinds import kind_of
from bot.recording.session import transmissions
from storage.records import Chunk, Position, Recording


def began(recording: Recording, chunk: Chunk) -> Position:
    """Return the position at which its sender began what a chunk is a part of: a message, or a broadcast."""
    if not kind_of(recording).several_speakers:
        return recording.position
    transmission = transmissions.find(recording, chunk.transmission)
    return transmission.position if transmission else chunk.position
