"""Sessions of voice messages that are stored already."""

from dataclasses import replace

from storage.records import Chunk, Position, Recording, RecordingKind, UserId
from tests.recording.world import mp4, recording, stored


def a_session(*messages: str, kind: RecordingKind = RecordingKind.VOICE_MESSAGES) -> tuple[Recording, list[Chunk]]:
    """Return a session of messages, each written as its speaker and its seconds: `ann 4`, `ben 2.5`."""
    chunks = []
    for number, message in enumerate(messages, start=1):
        who, length_s = message.split()
        chunk = stored(f"$m{number}", None, mp4(float(length_s)), position=number)
        chunks.append(replace(chunk, sender=UserId(f"@{who}:hs"), sender_name=who.capitalize()))
    first = chunks[0]
    session = recording(
        kind=kind, broadcaster=first.sender, broadcaster_name=first.sender_name, device_id=None, position=Position(1)
    )
    return session, chunks
