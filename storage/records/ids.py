"""Types of ids and units. Pure."""

from collections.abc import Mapping
from typing import Any, NewType

RoomId = NewType("RoomId", str)


EventId = NewType("EventId", str)


UserId = NewType("UserId", str)


DeviceId = NewType("DeviceId", str)


MxcUri = NewType("MxcUri", str)


SessionId = NewType("SessionId", str)  # of a Megolm session


RecordingId = NewType("RecordingId", int)


ChunkId = NewType("ChunkId", str)  # of a chunk that came in an event of its own: the event's id (`chunk_id_of`)


JobId = NewType("JobId", int)


JobKind = NewType("JobKind", str)  # `bot.orders` has them all


Position = NewType("Position", int)


DurationMs = NewType("DurationMs", int)


Samples = NewType("Samples", int)  # at SAMPLE_RATE


BlobKey = NewType("BlobKey", str)  # lower-case hex SHA-256 of the blob's bytes


SAMPLE_RATE = 48_000
"""The one rate of everything that is joined, in samples per second."""


Json = Mapping[str, Any]


def to_ms(samples: int) -> DurationMs:
    """Convert samples to whole milliseconds, rounded to the nearest."""
    return DurationMs((samples * 1000 + SAMPLE_RATE // 2) // SAMPLE_RATE)


def to_samples(ms: int) -> Samples:
    """Convert milliseconds to samples at 48 kHz, exactly."""
    return Samples(ms * (SAMPLE_RATE // 1000))


def chunk_id_of(event_id: EventId) -> ChunkId:
    """Return the id of the chunk that an event brings."""
    return ChunkId(event_id)
