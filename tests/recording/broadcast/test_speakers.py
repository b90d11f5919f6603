"""Whose events count for a broadcast."""

import pytest

from bot.recording.broadcast.speakers import Speaker
from storage.records import RoomId, UserId

ALICE, BOB = UserId("@alice:hs"), UserId("@bob:hs")
ROOM, OTHER = RoomId("!room:hs"), RoomId("!other:hs")


@pytest.mark.parametrize(
    ("sender", "room_id", "rule"),
    [(ALICE, ROOM, None), (BOB, ROOM, "foreign_sender"), (ALICE, OTHER, "other_room"), (BOB, OTHER, "other_room")],
)
def test_only_the_speaker_counts_and_only_in_the_room(sender: UserId, room_id: RoomId, rule: str | None) -> None:
    """Every other sender and every other room breaks a rule that has a name."""
    speaker = Speaker(ALICE, ROOM)
    assert speaker.refusal(sender, room_id) == rule
    assert speaker.counts(sender, room_id) is (rule is None)
    assert not speaker.counts(None, room_id)
