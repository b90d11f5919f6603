"""Parts that calls work with: what they reach the world by."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from bot.calls.media import door
from bot.calls.model import Call, Device, KeyTold, LegEffect, Member, Received, Send, Transport, Why
from bot.calls.session.own_keys import ShareKey
from bot.calls.session.state import Setup
from bot.calls.stem_rows import OpenStem
from bot.calls.stems.stems import Stems
from bot.calls.tokens import Grant
from bot.matrix.batch import Signal
from bot.recording.model import RecordingEvent
from bot.settings import Settings
from storage.database import Connection
from storage.records import CallEventKind, CallProtocol, EventId, LeftBy, Recording, RecordingId, RoomId, UserId
from storage.store import Store

Key = tuple[RoomId, CallProtocol]


class Calling(Protocol):
    """The recorder's beginning of calls, and of their stems."""

    async def begin(
        self,
        db: Connection,
        room_id: RoomId,
        protocol: CallProtocol,
        call_id: str,
        *,
        events: Sequence[EventId],
        broadcaster: UserId,
    ) -> Recording | None: ...

    @property
    def open_stem(self) -> OpenStem: ...


class Presence(Protocol):
    """The bot's own entry in the room's state, by which members of a call see it."""

    async def show(self, room_id: RoomId, call: Call, us: Member, lost: Callable[[bool], None]) -> None:
        """Write it, and keep it fresh from then on. `lost` is called when members see it no more; True: the homeserver
        refuses it. Raises TryLater, GiveUp, StoreError."""

    async def move(self, key: Key, us: Member, lost: Callable[[bool], None]) -> None:
        """Name another SFU in it, in the same membership, and keep it fresh."""

    async def hide(self, key: Key, *, shown: bool) -> None:
        """Remove it, if it is there, and keep it fresh no longer. Raises TryLater, GiveUp, StoreError."""

    async def look(self, key: Key) -> None:
        """Have it written again at once where it is gone. Raises StoreError."""

    async def rooms(self, db: Connection) -> frozenset[RoomId]:
        """Return the rooms whose stored state shows the bot in a call."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that the engine works with."""

    store: Store
    settings: Settings
    calling: Calling
    apply: Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]
    stems: Stems
    media: door.Media
    presence: Presence
    post: Callable[[Key, Setup, Send, str], Coroutine[Any, Any, None]]
    read: Callable[[Key, Setup, Signal], Received | KeyTold | None]
    servers: Callable[[], Awaitable[Sequence[door.IceServer]]]
    grant: Callable[[RoomId, Member, Transport], Awaitable[Grant]]
    share: Callable[[RoomId, Member, ShareKey], Awaitable[None]]
    device: Callable[[CallProtocol], Device]  # the bot's, as others see it
    has_sticky: Callable[[], Awaitable[bool]]  # the homeserver; may raise TryLater
    known_sticky: Callable[[], bool | None]  # its answer; None: it was not asked yet
    in_touch: Callable[[], bool]  # with the homeserver
    clock: Callable[[], datetime]
    ticks: Callable[[], float]  # monotonic, in seconds


class Carrier(Protocol):
    """The legs of a call, as what carries them out is made: connections to devices, or to SFUs. `ends_as`: how stems
    end from now on, once the call is over."""

    ends_as: LeftBy | None

    def carry_out(self, effect: LegEffect) -> None:
        """Carry out what concerns one leg, beside everything else."""

    def beep(self) -> None:
        """Have all members hear that the call is recorded."""

    def seal(self) -> None:
        """Take note that the room is encrypted from now on."""

    async def end(self, by: LeftBy, within_s: float) -> None:
        """End all legs, and wait until they have ended, within a time."""


@dataclass(frozen=True, slots=True)
class SfuMeans:
    """The means of a MatrixRTC call. `own`: the bot as a member of it; `grant` asks for a token for an SFU, and raises
    TryLater, GiveUp; `share` sends a key of the bot's own sound to devices; `kept_out` is called when the bot does not
    get in where it sends its own sound, and `Reception.follow` is to be called then."""

    own: Member
    grant: Callable[[Transport], Awaitable[Grant]]
    share: Callable[[ShareKey], Awaitable[None]]
    kept_out: Callable[[], None]


@dataclass(slots=True)
class Means:
    """The means of a call: what it reaches the world by. `left` is called when the bot is to leave by itself; `silent`
    and `unheard` tell the room that nobody is heard, and whose sound is missing and why."""

    media: door.Media
    servers: Callable[[], Awaitable[Sequence[door.IceServer]]]
    post: Callable[[Send, str], Awaitable[None]]  # of a message and its id; raises TryLater, GiveUp
    left: Callable[[Why], None]
    silent: Callable[[], Awaitable[None]]
    unheard: Callable[[UserId, CallEventKind], Awaitable[None]]
    in_touch: Callable[[], bool]  # with the homeserver
    clock: Callable[[], datetime]
    ticks: Callable[[], float]  # monotonic, in seconds
    sfus: SfuMeans | None = None  # of a MatrixRTC call
