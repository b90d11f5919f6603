"""Records for tests: valid ones, of which a test names only the fields that it is about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.commands.context import SecretOf
from storage import rooms
from storage.database import Connection
from storage.records import (
    Chunk,
    ChunkState,
    EventId,
    Position,
    Recording,
    RecordingId,
    RecordingKind,
    RecordingState,
    Room,
    RoomId,
    Studio,
    StudioId,
    StudioSource,
    StudioState,
    UserId,
    chunk_id_of,
)

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
ROOM = RoomId("!room:hs")
ALICE = UserId("@alice:hs")


def always(secret: bytes) -> SecretOf:
    """Return a secret of personal addresses that is the same whatever the store holds."""

    async def within(_: Connection) -> bytes:
        return secret

    return within


def a_recording(*, at: datetime = NOW, **changes: Any) -> Recording:
    """Return a complete broadcast of Alice's that began at `at` and is not stored yet."""
    recording = Recording(
        id=RecordingId(0),
        code="",
        number=0,
        room_id=ROOM,
        event_id=EventId("$started"),
        kind=RecordingKind.VOICE_BROADCAST,
        broadcaster=ALICE,
        device_id=None,
        state=RecordingState.COMPLETE,
        position=Position(1),
        started_at=at,
        heard_at=at,
    )
    return replace(recording, **changes)


def a_room(room_id: RoomId = ROOM, *, at: datetime = NOW, **changes: Any) -> Room:
    """Return a room that the bot is in and records since `at`."""
    return replace(rooms.new_room(room_id, at), **({"joined": True, "recording_on": True} | changes))


def a_studio(*, at: datetime = NOW, **changes: Any) -> Studio:
    """Return a studio of Alice's that was made at `at`, waits, and is not stored yet."""
    studio = Studio(
        id=StudioId(0),
        key="0123456789abcdef" * 2,
        room_id=ROOM,
        user_id=ALICE,
        source=StudioSource.PAGE,
        state=StudioState.WAITING,
        made_at=at,
        expires_at=at + timedelta(hours=24),
    )
    return replace(studio, **changes)


def a_chunk(**changes: Any) -> Chunk:
    """Return the first chunk of recording 1, stored; its event is named after its number unless the test says so."""
    number = changes.get("sequence", 1)
    event_id = EventId(str(changes.get("event_id", f"$c{number}")))
    chunk = Chunk(
        id=chunk_id_of(event_id),
        recording_id=RecordingId(1),
        event_id=event_id,
        sender=ALICE,
        position=Position(number or 1),
        state=ChunkState.STORED,
        sequence=number,
    )
    return replace(chunk, **changes)
