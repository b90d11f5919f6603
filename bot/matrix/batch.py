"""The result of one sync: made by the session, written down by the intake. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from storage.records import DeviceId, HeardEvent, Json, RoomId, SessionId, UserId, Withheld


@dataclass(frozen=True, slots=True)
class LimitedTimeline:
    """The events that a `limited` timeline leaves out (Client-Server API, syncing).

    A walk backwards begins at `cursor` and ends at the sync token `until_token`; without one it ends at the newest
    event that was stored.
    """

    cursor: str
    until_token: str | None


@dataclass(frozen=True, slots=True)
class RoomBatch:
    """A joined or left room. `before` is the state before `timeline`, which is in the room's order. `sticky`: events
    that are sticky (MSC4354), in the timeline or beside it.

    Events are plain or decrypted; those that could not be decrypted carry their session id.
    """

    room_id: RoomId
    joined: bool
    before: tuple[Json, ...] = ()
    timeline: tuple[HeardEvent, ...] = ()
    limited: LimitedTimeline | None = None
    sticky: tuple[HeardEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Invite:
    room_id: RoomId
    inviter: UserId
    direct: bool
    encrypted: bool
    stripped_state: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """A message about a call: handled when it comes, or never, since the connections that it is about end with the
    process. It is not stored."""

    sender: UserId
    type: str
    content: Json = field(repr=False)  # it may hold a key
    encrypted: bool = False  # it came sealed by Olm, or (`room_id`) by Megolm
    device_id: DeviceId | None = None  # Olm: the sender's device whose keys sealed it; None: not looked up yet
    sealed_by: tuple[str, str] | None = None  # Olm: its Curve25519 key, and the Ed25519 key that it claims
    room_id: RoomId | None = None  # set: it came in the room's timeline; None: it came to this device
    sent_at: datetime | None = None  # timeline: origin_server_ts, the sender's word


@dataclass(frozen=True, slots=True)
class SyncBatch:
    """All that one answer to /sync brings.

    `anew`: the homeserver no longer knew the token, so this is an initial sync. `without_members`: the state holds no
    members, because the answer would have been too long.
    """

    next_batch: str
    rooms: tuple[RoomBatch, ...] = ()
    invites: tuple[Invite, ...] = ()
    new_keys: frozenset[SessionId] = field(default_factory=frozenset)  # Megolm sessions whose keys came with this sync
    withheld: tuple[Withheld, ...] = ()
    signals: tuple[Signal, ...] = ()  # handed on once the batch is stored
    retracted: tuple[RoomId, ...] = ()  # invites that were withdrawn or answered elsewhere
    anew: bool = False
    without_members: bool = False
