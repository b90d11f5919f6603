"""Orders about walkie-talkies, calls and studios. Pure."""

from dataclasses import dataclass

from bot.orders.order import OfEvent, OfRoom, OnceInRoom
from storage.records import EventId, JobKind, RoomId, UserId


@dataclass(frozen=True, slots=True)
class KeepFloor(OfRoom):
    """Bring a room's power levels and its floor event up to its walkie-talkie, and look at its clocks."""

    kind = JobKind("keep_floor")
    lasting = True


@dataclass(frozen=True, slots=True)
class KeepCalls(OfRoom):
    """Look at a room's calls: join one that is to be recorded, go on with it, or leave it."""

    kind = JobKind("keep_calls")
    lasting = True


@dataclass(frozen=True, slots=True)
class LookAtStudios(OfRoom):
    """Look at a room's studios, and end those whose member may not broadcast there any more."""

    kind = JobKind("look_at_studios")
    lasting = True


@dataclass(frozen=True, slots=True)
class TakeAway(OnceInRoom):
    """Redact a member's reaction to the panel of a walkie-talkie, once it was acted on."""

    kind = JobKind("take_away")


@dataclass(frozen=True, slots=True)
class PutButtons(OnceInRoom):
    """React to a panel with each of its buttons, so that members need only tap them."""

    kind = JobKind("put_buttons")


@dataclass(frozen=True, slots=True)
class MakeWalkie(OfEvent):
    """Make a room with a walkie-talkie, as this command of `asker` asked for in a direct chat, and invite `users`.
    `made`: the room that an attempt made."""

    kind = JobKind("make_walkie")
    asker: UserId
    name: str
    users: tuple[UserId, ...]
    said_in: RoomId
    thread: EventId | None = None
    made: RoomId | None = None

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str:
        return self.asker
