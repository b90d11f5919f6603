"""Studios: a broadcast that is made beside the homeserver, from a page, a source client or the shell. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from storage.records.ids import BlobKey, EventId, RoomId, UserId
from storage.records.media import MediaSource

StudioId = NewType("StudioId", int)


class StudioSource(StrEnum):
    """The sender of a studio's sound."""

    PAGE = "page"  # the studio's page in a browser
    CLIENT = "client"  # an Icecast source client
    SHELL = "shell"  # `aircheck broadcast`


class StudioState(StrEnum):
    """The life of a studio: waiting, live or paused in turns, over."""

    WAITING = "waiting"  # nothing was sent so far
    LIVE = "live"
    PAUSED = "paused"
    OVER = "over"  # stopped, expired, replaced, or the right to it ended

    @property
    def is_on_air(self) -> bool:
        return self in (StudioState.LIVE, StudioState.PAUSED)


@dataclass(frozen=True, slots=True)
class Studio:
    """The capability of one member to make one broadcast in one room, and the broadcast that was made with it.

    The token is never stored, only its look-up hash: it is computed from the secret and `key` when it is sent.
    """

    id: StudioId  # 0 before it is stored
    key: str  # random; names the events of the broadcast, and the token is made from it
    room_id: RoomId
    user_id: UserId
    source: StudioSource
    state: StudioState
    made_at: datetime
    expires_at: datetime  # a studio that waits ends then
    token_sha256: str | None = None  # None: of the shell, which needs none
    client: str | None = None  # the page, source client or process that broadcasts: no other may go on with it
    started_at: datetime | None = None
    heard_at: datetime | None = None  # last sign of life of the client
    ended_at: datetime | None = None
    changes: int = 0  # the info events so far, which numbers the next
    last: int | None = None  # the number of the last slice, once the client has stopped
    bytes: int = 0  # of all slices so far
    title: str | None = None  # for the recording, as its speaker typed it
    description: str | None = None
    cover: BlobKey | None = None  # a square JPEG, for the recording
    info_event: EventId | None = None  # the `started` event in the room, where the room wants events

    @property
    def event_id(self) -> EventId:
        """The name of the event that begins its broadcast, and so the broadcast's id."""
        return EventId(f"{STUDIO_EVENTS}{self.key}.{STARTED}")


@dataclass(frozen=True, slots=True)
class StudioSlice:
    """A slice of a studio's sound as it was uploaded, on the disk before it was acknowledged."""

    studio_id: StudioId
    number: int  # from 1
    blob: BlobKey | None  # None: it was taken, and its sound is not wanted or needed any more
    bytes: int
    received_at: datetime
    duration_ms: int | None = None  # as the client says


STUDIO_EVENTS = "$studio."
"""The beginning of the names of studios' events in the journal: no event of a homeserver has such a name."""
STARTED = "started"
"""The name of the event that begins a studio's broadcast."""
SEALED = "sealed"
"""The name of a slice whose number nobody knows: it can't be decrypted, as its key is not in a restored store."""

_FURTHER = re.compile(r"-[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True)
class StudioEvent:
    """An event of MSC3888 by which the room hears what is said in a studio: sent, or about to be. The rows of a studio
    are sent in the order of their ids."""

    id: int  # 0 before it is stored
    key: str  # of the studio
    name: str  # within it: `started`, `change-N`, the number of a slice, `sealed`; of a further such one with a hash
    room_id: RoomId
    made_at: datetime
    state: str | None = None  # of an info event: `started`, `paused`, `resumed`, `stopped`
    last: int | None = None  # of an info event: the number of the last chunk
    source: MediaSource | None = None  # the uploaded slice; its key is forgotten once it was sent
    tried: bool = False  # it may have been sent
    event_id: EventId | None = None  # once it is known
    withdrawn: bool = False  # not to be sent, or to be redacted

    @property
    def number(self) -> int | None:
        """The number of the slice; None of an info event, and where it is not known."""
        return int(self.name) if self.name.isdecimal() else None

    @property
    def stands_for(self) -> str:
        """The name of what it holds, also of a further event of the room that holds the same."""
        return _FURTHER.sub("", self.name)
