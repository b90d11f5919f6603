"""Listeners, and the feeds and pictures that they see. Pure."""

from dataclasses import dataclass
from datetime import datetime

from storage.records.ids import BlobKey, Position, RoomId, UserId
from storage.records.rooms import HistoryVisibility


@dataclass(frozen=True, slots=True)
class Listener:
    """A member with a personal address. The token is never stored, only its look-up hash. While `next_generation` is
    set both addresses work: the listener asked for a new one and has not received it yet."""

    room_id: RoomId
    user_id: UserId
    generation: int
    token_sha256: str
    next_generation: int | None = None
    next_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ListenerUse:
    """The last use of a listener's personal address. `app` is the name that the app gives itself, empty for none."""

    room_id: RoomId
    user_id: UserId
    used_at: datetime
    app: str


@dataclass(frozen=True, slots=True)
class FeedEdition:
    """A document of a feed as it was last rendered: its Last-Modified moves with its content, and with nothing else."""

    name: str
    digest: str  # SHA-256 of the content, without the date in it
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Portrait:
    """The picture of a speaker of a room, made of their avatar there."""

    room_id: RoomId
    user_id: UserId
    avatar: str  # the mxc address that it was made of
    blob: BlobKey | None = None  # a square JPEG; None: the avatar can't be used


@dataclass(frozen=True, slots=True)
class Reach:
    """The recordings of one room that an access reaches: all under the history visibilities `always`, under others
    those that began after `since` (None: none). `only_public`: of those, the public ones."""

    room_id: RoomId
    always: tuple[HistoryVisibility, ...]
    since: Position | None = None
    only_public: bool = False
