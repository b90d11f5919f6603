"""The events that can happen to the floor of a walkie-talkie: frozen classes. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.records import EventId, Position, UserId

COUNTS_FOR = timedelta(seconds=10)
"""The age at which a request for the floor counts for nothing when it reaches the bot."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A member with a permit asked for the floor, by a reaction, an event or a command."""

    user: UserId
    event_id: EventId
    position: Position


@dataclass(frozen=True, slots=True)
class TookBack:
    """A member took their request back. It ends no floor that they have already."""

    user: UserId


@dataclass(frozen=True, slots=True)
class GaveBack:
    """A member gave the floor back, or their place in the queue."""

    user: UserId


@dataclass(frozen=True, slots=True)
class Spoke:
    """The transmission of a member is over."""

    user: UserId


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A member may have the floor no longer: they left the room or the walkie-talkie, or their permit ended."""

    user: UserId


@dataclass(frozen=True, slots=True)
class Locked:
    """The homeserver has taken the level of the grant `serial` back: nobody but the moderators can speak now."""

    serial: int


@dataclass(frozen=True, slots=True)
class SwitchedOn:
    """The walkie-talkie was switched on."""


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """The walkie-talkie was switched off, or the bot can't keep the floor any more."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


FloorEvent = Asked | TookBack | GaveBack | Spoke | Lapsed | Locked | SwitchedOn | SwitchedOff | Tick


def is_too_late(sent_at: datetime | None, received_at: datetime, *, history: bool = False) -> bool:
    """Return whether a request for the floor counts for nothing: it reached the bot too late, or was found in the
    past. `sent_at` is the sender's word; None: it can't be believed."""
    return history or sent_at is None or received_at - sent_at > COUNTS_FOR
