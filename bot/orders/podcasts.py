"""Orders about a podcast's feed and its addresses. Pure."""

from dataclasses import dataclass
from datetime import datetime

from bot.orders.order import OfRoom, Order
from storage.records import EventId, JobKind, RoomId, UserId


@dataclass(frozen=True, slots=True)
class CheckFeed(OfRoom):
    """Test the feed of a room's podcast, the personal one of the `asker` where it is private, and answer their
    `command`, which was said in `said_in`."""

    kind = JobKind("check_feed")
    command: EventId
    said_in: RoomId
    asker: UserId
    thread: EventId | None = None

    @property
    def turn(self) -> str:
        return self.asker


@dataclass(frozen=True, slots=True)
class PingHub(OfRoom):
    """Tell the WebSub hub that a public podcast has changed, the first time at `since`; all changes of a podcast until
    then are the same order. `room_id` is the present room."""

    kind = JobKind("ping_hub")
    since: datetime

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class RenewAddresses(Order):
    """Make a new secret: all personal addresses end."""

    kind = JobKind("renew_addresses")
    lasting = True

    @property
    def subject(self) -> str:
        return "all"


@dataclass(frozen=True, slots=True)
class NoteEnded(Order):
    """Note the personal addresses that had ended before ended ones were noted."""

    kind = JobKind("note_ended")

    @property
    def subject(self) -> str:
        return "all"
