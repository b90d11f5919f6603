"""Sticky events (MSC4354): events of the timeline that the homeserver brings to everybody in the room for a time."""

from bot.errors import TryLater
from bot.matrix.sync import section
from bot.matrix.wire import Wire, path
from storage.records import EventId, Json, RoomId

FEATURE = "org.matrix.msc4354"
DURATION = "org.matrix.msc4354.sticky_duration_ms"
KEY = "msc4354_sticky_key"
TIMEOUT_S = 10.0


class StickyRequests:
    """Requests about sticky events. All raise TryLater, or GiveUp with its reason."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.known: bool | None = None
        """The homeserver's answer whether it has sticky events; None: not asked yet."""

    async def are_known(self) -> bool:
        """Return whether the homeserver has sticky events. Asks it once."""
        if self.known is None:
            versions = await self._wire.call("GET", path("versions", api="client"), timeout_s=TIMEOUT_S)
            self.known = section(versions, "unstable_features").get(FEATURE) is True
        return self.known

    async def send(self, room_id: RoomId, kind: str, content: Json, duration_ms: int, *, txn_id: str) -> EventId:
        """Send an event in clear that is sticky for so long. A homeserver that has no sticky events takes it for any
        other event."""
        where, query = path("rooms", room_id, "send", kind, txn_id), {DURATION: str(duration_ms)}
        answer = await self._wire.call("PUT", where, body=dict(content), query=query)
        event_id = answer.get("event_id")
        if not isinstance(event_id, str):
            raise TryLater("the homeserver's answer has no event_id", room=room_id)
        return EventId(event_id)
