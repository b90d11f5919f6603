"""Orders to search a room's history, and to make episodes of past messages. Pure."""

from dataclasses import dataclass
from datetime import datetime

from bot.orders.order import OfRoom, OnceInRoom
from storage.records import EventId, JobKind, Position, RecordingId, UserId


@dataclass(frozen=True, slots=True)
class Backfill(OfRoom):
    """Find and record a room's past broadcasts, none that began before `since`; and how far that has come."""

    kind = JobKind("backfill")
    since: datetime | None = None
    reply_to: EventId | None = None
    asker: UserId | None = None
    cursor: str | None = None
    """The start of the next page of the room's history."""
    walked: bool = False
    """Whether the history was read to its end."""
    known: int = 0
    """The number of broadcasts met that were recorded before."""
    adopted: tuple[EventId, ...] = ()
    """The started events of those that became recordings."""

    @property
    def turn(self) -> str | None:
        return self.asker


@dataclass(frozen=True, slots=True)
class Gathered:
    """The progress of a search of the history for past voice messages."""

    cursor: str | None = None
    """The start of the next page of the room's history."""
    position: Position | None = None
    """The position of the last voice message that was met."""
    recordings: tuple[RecordingId, ...] = ()
    """The recordings that were begun, or that messages were added to."""
    known: tuple[RecordingId, ...] = ()
    """Other recordings, which hold messages that were met."""
    elsewhere: int = 0
    """Messages in these other recordings."""
    refused: int = 0
    """Messages whose senders may not be recorded."""
    sealed: int = 0
    """Messages that can't be decrypted."""
    beyond: int = 0
    """Messages for which the recording has no room."""
    narrower: int = 0
    """Messages that fewer people may read than hear the recording."""


@dataclass(frozen=True, slots=True)
class MakeEpisode(OnceInRoom):
    """Make one recording of the voice messages from `message` on up to this command of `asker`'s, who is a `mod` or is
    to be its sender; then answer it. And how far that has come."""

    kind = JobKind("make_episode")
    lasting = True
    message: EventId
    asker: UserId
    mod: bool
    thread: EventId | None = None
    """The thread that the command was said in."""
    of_thread: EventId | None = None
    """The thread that the messages stand in."""
    so_far: Gathered = Gathered()
    walked: bool = False
    """Whether all messages were read."""


@dataclass(frozen=True, slots=True)
class BackfillMessages(OfRoom):
    """Find and record a room's past voice messages, none that was sent before `since`, and none that came after the
    order: the sync brings those, and what their senders objected to. And how far that has come: first back to the
    oldest message, then onwards from there."""

    kind = JobKind("backfill_messages")
    since: datetime | None = None
    asker: UserId | None = None
    command: EventId | None = None
    """The command, where it was said in the room: the search ends there."""
    at: Position | None = None
    """The position of the command."""
    asked_at: datetime | None = None
    """The time of the command. It counts for what the bot did not hear, where the command was said elsewhere."""
    passed: bool = False
    """Whether the way back has come to the command."""
    cursor: str | None = None
    """The start of the next page on the way back."""
    first: EventId | None = None
    """The oldest message so far."""
    reached: bool = False
    """Whether the way back has come to its end."""
    so_far: Gathered = Gathered()
    walked: bool = False
    """Whether all messages were read."""

    @property
    def turn(self) -> str | None:
        return self.asker
