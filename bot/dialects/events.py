"""Domain events of a room that concern more than one recording, or none. Pure.

The events of a single recording are in `bot.recording.model`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bot.recording.model import MessageSealed, Rejected, RoomEvent
from storage.records import DeviceId, EventId, HeardEvent, UserId


@dataclass(frozen=True, slots=True)
class TextMessage:
    """A fresh, plain text message: no edit, no quote, no notice. Whether it is a command the grammar decides
    (`bot.commands.parse`)."""

    sender: UserId
    body: str
    thread: EventId | None  # the root of its thread
    mentions: tuple[UserId, ...]  # as the sender's client says
    sent_at: datetime | None
    reply_to: EventId | None = None


@dataclass(frozen=True, slots=True)
class Reacted:
    """A reaction to an event. `key` is its emoji, without skin tone or variation selector."""

    sender: UserId
    to: EventId
    key: str
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """A member joined the room, or is out of it: after leaving, a kick or a ban, or invited or knocking again."""

    user: UserId
    joined: bool


@dataclass(frozen=True, slots=True)
class FloorRequested:
    """A request for the floor of a walkie-talkie, from a device where the sender's client names it."""

    sender: UserId
    device_id: DeviceId | None
    sent_at: datetime | None


Event = RoomEvent | MessageSealed | TextMessage | Reacted | MembershipChanged | FloorRequested
"""An event as `bot.dialects.read` returns it."""

Reader = Callable[[HeardEvent], Event | Rejected | None]
"""Reads one type of event. None: the event is none of this dialect's, or was redacted. Never raises."""
