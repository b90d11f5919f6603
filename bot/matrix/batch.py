"""The result of one sync: made by the session, written down by the intake. Pure."""

from dataclasses import dataclass, field

from storage.records import HeardEvent, Json, RoomId, SessionId, UserId, Withheld


@dataclass(frozen=True, slots=True)
class LimitedTimeline:
    """What lies between the timeline and what was heard before (Client-Server API, `limited` timelines): where a walk
    backwards begins, and the sync token where it ends. Without one it ends at the newest event that was heard."""

    cursor: str
    until_token: str | None


@dataclass(frozen=True, slots=True)
class RoomBatch:
    """One joined or left room. `before` is the state block (state before `timeline`); `timeline` is in the
    room's order, state events among the rest. Events are plain or decrypted JSON; those that could not be decrypted
    carry their session id."""

    room_id: RoomId
    joined: bool
    before: tuple[Json, ...] = ()
    timeline: tuple[HeardEvent, ...] = ()
    limited: LimitedTimeline | None = None


@dataclass(frozen=True, slots=True)
class Invite:
    room_id: RoomId
    inviter: UserId
    direct: bool
    encrypted: bool
    stripped_state: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncBatch:
    """`anew`: the homeserver did not know the token any more, so this is what an account sees that never asked.
    `without_members`: more would have been too long."""

    next_batch: str
    rooms: tuple[RoomBatch, ...] = ()
    invites: tuple[Invite, ...] = ()
    new_keys: frozenset[SessionId] = field(default_factory=frozenset)  # Megolm sessions that came with it
    withheld: tuple[Withheld, ...] = ()
    retracted: tuple[RoomId, ...] = ()  # invites that were taken back or answered elsewhere
    anew: bool = False
    without_members: bool = False
