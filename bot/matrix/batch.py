"""What one sync brought, in our own words: the session makes it, the intake writes it down."""

from dataclasses import dataclass, field
from enum import Enum

from storage.records import HeardEvent, Json, RoomId, SessionId, UserId, Withheld


class Gap(Enum):
    """What lies between the timeline and what was heard before (Client-Server API, `limited` timelines)."""

    NONE = "none"
    WALKED = "walked"  # it is in the timeline
    LOST = "lost"  # the homeserver gave none or not all of it


@dataclass(frozen=True, slots=True)
class RoomBatch:
    """One joined or left room. `before` is the state block (state before `timeline`); `timeline` is in the
    room's order, with what a gap walk brought in front, state events among the rest. Events are plain or
    decrypted JSON; those that could not be decrypted carry their session id."""

    room_id: RoomId
    joined: bool
    before: tuple[Json, ...] = ()
    timeline: tuple[HeardEvent, ...] = ()
    gap: Gap = Gap.NONE


@dataclass(frozen=True, slots=True)
class Invite:
    room_id: RoomId
    inviter: UserId
    direct: bool
    encrypted: bool
    stripped_state: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncBatch:
    next_batch: str
    rooms: tuple[RoomBatch, ...] = ()
    invites: tuple[Invite, ...] = ()
    new_keys: frozenset[SessionId] = field(default_factory=frozenset)  # Megolm sessions that came with it
    withheld: tuple[Withheld, ...] = ()
    retracted: tuple[RoomId, ...] = ()  # invites that were taken back or answered elsewhere
