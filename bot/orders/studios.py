"""Orders of studios. Pure."""

from dataclasses import dataclass

from bot.orders.order import Order
from storage.records import JobKind, JobName, RoomId


@dataclass(frozen=True, slots=True)
class SendBroadcast(Order):
    """Send a room what was said in a studio, as the events of a voice broadcast: those that are written down and not
    sent yet, in their order; or settle what was being sent when it was withdrawn."""

    kind = JobKind("send_broadcast")
    subject_field = "key"
    lasting = True
    key: str
    room_id: RoomId

    @property
    def turn(self) -> str:
        return self.room_id

    @classmethod
    def about(cls, key: str) -> JobName:
        return JobName(cls.kind, key)
