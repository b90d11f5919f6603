"""The speaker of a broadcast: the only sender whose events count. Pure.

Any member can send an event that refers to any broadcast, and clients don't check who did. An info event or a chunk
counts only if its sender began the broadcast, and in its room only.
"""

from dataclasses import dataclass

from storage.records import Recording, RoomId, UserId

NOT_RECORDED = "not_recorded"
"""The rule that an event breaks if its broadcast is not recorded."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """The user who began a broadcast, and the room."""

    user_id: UserId
    room_id: RoomId

    def refusal(self, sender: UserId, room_id: RoomId) -> str | None:
        """Return the rule that an event of this sender in this room breaks; None: the event counts."""
        if room_id != self.room_id:
            return "other_room"
        return None if sender == self.user_id else "foreign_sender"

    def counts(self, sender: UserId | None, room_id: RoomId) -> bool:
        """Return whether an event of this sender in this room counts; one without a valid sender never does."""
        return sender is not None and self.refusal(sender, room_id) is None


def speaker_of(recording: Recording) -> Speaker:
    return Speaker(recording.broadcaster, recording.room_id)
