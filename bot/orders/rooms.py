"""Orders about a room's membership, state and timeline. Pure."""

from dataclasses import dataclass
from datetime import datetime

from bot.orders.order import OfRoom
from storage.records import EventId, JobKind, UserId


@dataclass(frozen=True, slots=True)
class Refresh(OfRoom):
    """Read a room's current state from the homeserver."""

    kind = JobKind("refresh")


@dataclass(frozen=True, slots=True)
class CatchUp(OfRoom):
    """Read what happened in a room since the backup that it was restored from, then open its podcast. `read`: the
    room's state was read."""

    kind = JobKind("catch_up")
    lasting = True
    read: bool = False


@dataclass(frozen=True, slots=True)
class ShowRoom(OfRoom):
    """Bring the room's state event `org.aircheck.room` up to its settings."""

    kind = JobKind("show_room")


@dataclass(frozen=True, slots=True)
class KeepWishes(OfRoom):
    """Keep what a room's members and moderators wished also in the bot's account data; `room_id` EVERYWHERE: what holds
    everywhere. After a restore what is kept there is read first."""

    kind = JobKind("keep_wishes")
    lasting = True


@dataclass(frozen=True, slots=True)
class Pin(OfRoom):
    """Pin the room's newest notice of what is recorded, and none of the bot's older ones. `written`: the event that an
    attempt wrote; what somebody else pinned just before it may be lost."""

    kind = JobKind("pin")
    written: EventId | None = None


@dataclass(frozen=True, slots=True)
class Walk(OfRoom):
    """Read the next page of what a sync left out of a room's timeline."""

    kind = JobKind("walk")
    lasting = True


@dataclass(frozen=True, slots=True)
class Invite(OfRoom):
    """Join the room that `inviter` invited the bot to, or leave the invite alone; decline or leave a `space`."""

    kind = JobKind("invite")
    inviter: UserId
    space: bool = False

    @property
    def turn(self) -> str:
        return self.inviter


@dataclass(frozen=True, slots=True)
class Leave(OfRoom):
    """Leave a room, as the moderator `asker` asked at `asked_at`, by a `command`."""

    kind = JobKind("leave")
    lasting = True
    reason: str
    asked_at: datetime
    asker: UserId | None = None
    command: EventId | None = None
