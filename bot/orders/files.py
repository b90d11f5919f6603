"""Orders of pictures, of original sound, and of recordings that are handed back to their rooms. Pure."""

from dataclasses import dataclass

from bot.orders.order import OfEvent, OfRecording, OfRoom, Order
from storage.records import EventId, JobKind, RecordingId, RoomId, UserId


@dataclass(frozen=True, slots=True)
class HandBack(OfRecording):
    """Post a finished recording as a voice message in its room, anew where its sound has changed; or settle what was
    being sent when it was withdrawn."""

    kind = JobKind("hand_back")
    lasting = True
    room_id: RoomId

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class HandBackPart(OfEvent):
    """Post the transmission of a session that began with this event, as `HandBack` posts a recording."""

    kind = JobKind("hand_back_part")
    lasting = True
    recording: RecordingId
    room_id: RoomId

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class Cover(OfRoom):
    """Make a room's picture. `tries` counts those of the `avatar` that could not be used so far."""

    kind = JobKind("cover")
    anywhere = True
    avatar: str | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class KeepOriginal(OfRecording):
    """Join the original sound of a recording, where it is one Opus stream, to the file that feeds offer beside its
    episode."""

    kind = JobKind("keep_original")
    anywhere = True


@dataclass(frozen=True, slots=True)
class MakePortrait(Order):
    """Make the portrait of a speaker of a room of their avatar there, or remove it. `tries` counts those of the
    `avatar` that could not be used so far."""

    kind = JobKind("make_portrait")
    anywhere = True
    room_id: RoomId
    user_id: UserId
    avatar: str | None = None
    tries: int = 0

    @property
    def subject(self) -> str:
        return f"{self.room_id}|{self.user_id}"

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class ChooseCover(Order):
    """Make a picture the cover of a room's podcast, and answer the command that asked for it. It is the event `picture`
    in the room `said_in`, where the command was said too."""

    kind = JobKind("choose_cover")
    subject_field = "command"
    command: EventId
    room_id: RoomId
    said_in: RoomId
    picture: EventId
    asker: UserId
    thread: EventId | None = None

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str:
        return self.room_id
