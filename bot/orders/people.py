"""Orders that end recordings: at a member's wish, or by retention. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from bot.orders.order import OfEvent, OfRoom, Order
from storage.records import JobKind, Position, RecordingId, RetentionRule, RoomId, UserId


@dataclass(frozen=True, slots=True)
class ForgetMember(OfEvent):
    """Delete the rest of the recordings of `user_id`, who asked for it by this command: those in which they speak
    `alone`, and their part of those that are `shared`. Then say `report` in the room where the command was said."""

    kind = JobKind("forget_member")
    lasting = True
    user_id: UserId
    room_id: RoomId
    report: str
    alone: tuple[RecordingId, ...] = ()
    shared: tuple[RecordingId, ...] = ()

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str:
        return self.user_id


@dataclass(frozen=True, slots=True)
class CloseRefused(OfEvent):
    """Close the recordings behind `after` that had ended when this command, at `since` in the timeline, objected to
    what is recorded of `user_id` and in `room_ids` (None: of all)."""

    kind = JobKind("close_refused")
    lasting = True
    since: Position
    user_id: UserId | None = None
    room_ids: tuple[RoomId, ...] | None = None
    after: RecordingId | None = None

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str | None:
        return self.user_id


@dataclass(frozen=True, slots=True)
class Forewarn(Order):
    """Tell a room which of these `recordings` retention will end, and when. The list only shrinks: the first try may
    have been accepted though nobody knows, and its notice named them all."""

    kind = JobKind("forewarn")
    subject_field = "topic"
    topic: str
    room_id: RoomId
    recordings: tuple[RecordingId, ...] = ()

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class Expire(OfRoom):
    """Delete the recordings of a podcast whose time by retention is over, and have its room told of the next ones.
    `gone`: the codes of the first that were deleted so far, each with the rule that it went by; `unlisted`: the number
    of the others."""

    kind = JobKind("expire")
    lasting = True
    gone: tuple[tuple[str, RetentionRule], ...] = ()
    unlisted: int = 0

    def with_more(self, gone: Sequence[tuple[str, RetentionRule]], most: int) -> Self:
        """Add deleted recordings; at most so many are listed."""
        every = (*self.gone, *gone)
        return replace(self, gone=every[:most], unlisted=self.unlisted + len(every[most:]))
