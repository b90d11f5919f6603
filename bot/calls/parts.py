"""Parts that calls work with: what they reach the world by."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from bot.calls.media import door
from bot.calls.model import Call, Device, Received, Send, Why
from bot.calls.session.state import Setup
from bot.calls.stem_rows import OpenStem
from bot.calls.stems.stems import Stems
from bot.matrix.batch import Signal
from bot.recording.model import RecordingEvent
from bot.settings import Settings
from storage.database import Connection
from storage.records import CallProtocol, EventId, Recording, RecordingId, RoomId, UserId
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

    async def show(self, room_id: RoomId, call: Call, ours: Device, lost: Callable[[bool], None]) -> None:
        """Write it, and keep it fresh from then on. `lost` is called when members see it no more; True: the homeserver
        refuses it. Raises TryLater, GiveUp, StoreError."""

    async def hide(self, key: Key, *, shown: bool) -> None:
        """Remove it, if it is there, and keep it fresh no longer. Raises TryLater, GiveUp, StoreError."""

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
    read: Callable[[Key, Setup, Signal], Received | None]
    servers: Callable[[], Awaitable[Sequence[door.IceServer]]]
    device: Callable[[CallProtocol], Device]  # the bot's, as others see it
    in_touch: Callable[[], bool]  # with the homeserver
    clock: Callable[[], datetime]
    ticks: Callable[[], float]  # monotonic, in seconds


@dataclass(slots=True)
class Means:
    """The means of a call: what it reaches the world by. `left` is called when the bot is to leave by itself, `told`
    when the room is to be told that nobody was heard."""

    media: door.Media
    servers: Callable[[], Awaitable[Sequence[door.IceServer]]]
    post: Callable[[Send, str], Awaitable[None]]  # of a message and its id; raises TryLater, GiveUp
    left: Callable[[Why], None]
    silent: Callable[[], Awaitable[None]]
    in_touch: Callable[[], bool]  # with the homeserver
    clock: Callable[[], datetime]
    ticks: Callable[[], float]  # monotonic, in seconds
