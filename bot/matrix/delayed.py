"""Delayed events (MSC4140): state that the homeserver writes by itself later, unless it is cancelled before."""

import logging
from collections.abc import Collection

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

    async def schedule(self, room_id: RoomId, kind: str, content: Json, delay_ms: int, *, key: str = "") -> str | None:
        """Schedule a state event under a state key, and return its id; None where the homeserver refuses."""
        query = {"org.matrix.msc4140.delay": str(delay_ms)}
        try:
            answer = await self._wire.call("PUT", state_path(room_id, kind, key), body=dict(content), query=query)
        except GiveUp as refused:
            log.warning("event not scheduled: room=%s type=%s reason=%s", room_id, kind, refused.reason)
            return None
        delay_id = answer.get("delay_id")
        return delay_id if isinstance(delay_id, str) else None

    async def cancel(self, delay_id: str) -> None:
        """Cancel a scheduled event; one that was sent or cancelled before is left alone."""
        await self._act(delay_id, "cancel")

    async def restart(self, delay_id: str) -> bool:
        """Let the delay of a scheduled event begin anew; False: it was sent or cancelled before."""
        return await self._act(delay_id, "restart")

    async def _act(self, delay_id: str, action: str) -> bool:
        """Do something about a scheduled event; False: there is none."""
        where = path("delayed_events", delay_id, api=API)
        try:
            await self._wire.call("POST", where, body={"action": action})
            return True
        except Refused as refused:
            if refused.errcode != "M_UNRECOGNIZED":
                return False
        try:
            await self._wire.call("POST", f"{where}/{action}", body={})  # as newer drafts have it
            return True
        except Refused as again:
            log.info("delayed event: %s refused: %s", action, again.sentence)
            return False

    async def scheduled(self, room_id: RoomId, kinds: Collection[str]) -> list[str]:
        """Return the ids of all events of the bot's of these types that are scheduled in a room."""
        try:
            answer = await self._wire.call("GET", path("delayed_events", api=API))
        except Refused:
            return []
        events = answer.get("delayed_events", answer.get("scheduled"))
        waiting = [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
        theirs = [event for event in waiting if event.get("room_id") == room_id and event.get("type") in kinds]
        return [delay_id for event in theirs if isinstance(delay_id := event.get("delay_id"), str)]

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
