"""Delayed events (MSC4140): state that the homeserver writes by itself later, unless it is cancelled before."""

import logging

from bot.errors import GiveUp
from bot.matrix.sending import state_path
from bot.matrix.sync import section
from bot.matrix.wire import Refused, Wire, path
from storage.records import Json, RoomId

log = logging.getLogger(__name__)

API = "client/unstable/org.matrix.msc4140"
FEATURE = "org.matrix.msc4140"
CAPABILITY = "org.matrix.msc4140.delayed_events"
ANY_DELAY = 1 << 53
"""The longest delay where the homeserver names none, in milliseconds."""


class DelayedEvents:
    """Requests about delayed events. All raise TryLater."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._longest_ms: int | None = None

    async def longest_ms(self) -> int:
        """Return the longest delay that the homeserver takes, in milliseconds; 0 where it has no delayed events."""
        if self._longest_ms is None:
            self._longest_ms = await self._ask()
            log.info("delayed events: %s", "in use" if self._longest_ms else "the homeserver has none")
        return self._longest_ms

    async def schedule(self, room_id: RoomId, kind: str, content: Json, delay_ms: int) -> str | None:
        """Schedule a state event whose state key is empty, and return its id; None where the homeserver refuses."""
        query = {"org.matrix.msc4140.delay": str(delay_ms)}
        try:
            answer = await self._wire.call("PUT", state_path(room_id, kind, ""), body=dict(content), query=query)
        except GiveUp as refused:
            log.warning("event not scheduled: room=%s type=%s reason=%s", room_id, kind, refused.reason)
            return None
        delay_id = answer.get("delay_id")
        return delay_id if isinstance(delay_id, str) else None

    async def cancel(self, delay_id: str) -> None:
        """Cancel a scheduled event; one that was sent or cancelled before is left alone."""
        where = path("delayed_events", delay_id, api=API)
        try:
            await self._wire.call("POST", where, body={"action": "cancel"})
        except Refused as refused:
            if refused.errcode != "M_UNRECOGNIZED":
                return
            try:
                await self._wire.call("POST", f"{where}/cancel", body={})  # as newer drafts have it
            except Refused as again:
                log.info("delayed event not cancelled: %s", again.sentence)

    async def scheduled(self, room_id: RoomId) -> list[str]:
        """Return the ids of all events of the bot's that are scheduled in a room."""
        try:
            answer = await self._wire.call("GET", path("delayed_events", api=API))
        except Refused:
            return []
        events = answer.get("delayed_events", answer.get("scheduled"))
        waiting = [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
        ids = [event.get("delay_id") for event in waiting if event.get("room_id") == room_id]
        return [delay_id for delay_id in ids if isinstance(delay_id, str)]

    async def _ask(self) -> int:
        """Look for the feature where newer homeservers name it, then where older ones do."""
        try:
            capabilities = section(await self._wire.call("GET", path("capabilities")), "capabilities")
        except Refused:
            capabilities = {}
        longest = section(capabilities, CAPABILITY).get("max_delay_ms")
        if isinstance(longest, int) and not isinstance(longest, bool):
            return longest
        versions = await self._wire.call("GET", "/_matrix/client/versions", auth=False)
        return ANY_DELAY if section(versions, "unstable_features").get(FEATURE) is True else 0
