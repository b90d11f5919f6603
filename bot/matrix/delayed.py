"""Delayed events (MSC4140): events that the homeserver sends by itself later, unless they are cancelled before."""

import logging
from collections.abc import Collection

from bot.errors import GiveUp
from bot.matrix import sticky as sticky_events
from bot.matrix.sending import state_path
from bot.matrix.sync import section
from bot.matrix.wire import Refused, Wire, path
from storage.records import Json, RoomId

log = logging.getLogger(__name__)

API = "client/unstable/org.matrix.msc4140"
FEATURE = "org.matrix.msc4140"
DELAY = "org.matrix.msc4140.delay"
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
        return await self._schedule(room_id, kind, state_path(room_id, kind, key), content, {DELAY: str(delay_ms)})

    async def schedule_sticky(
        self, room_id: RoomId, kind: str, content: Json, delay_ms: int, duration_ms: int, *, txn_id: str
    ) -> str | None:
        """Schedule an event in clear that is sticky for so long (MSC4354), as `schedule` does."""
        query = {DELAY: str(delay_ms), sticky_events.DURATION: str(duration_ms)}
        return await self._schedule(room_id, kind, path("rooms", room_id, "send", kind, txn_id), content, query)

    async def _schedule(
        self, room_id: RoomId, kind: str, where: str, content: Json, query: dict[str, str]
    ) -> str | None:
        try:
            answer = await self._wire.call("PUT", where, body=dict(content), query=query)
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
        return [delay_id for delay_id, event in await self._waiting(room_id) if event.get("type") in kinds]

    async def scheduled_at(self, room_id: RoomId, kind: str, key: str, *, sticky: bool = False) -> list[str]:
        """Return the ids of all events of the bot's that are scheduled in a room under a state key, or (`sticky`) a
        sticky key. Where the homeserver names none, all of the type are."""
        return [
            delay_id
            for delay_id, event in await self._waiting(room_id)
            if event.get("type") == kind
            and (section(event, "content").get(sticky_events.KEY, key) if sticky else event.get("state_key", key))
            == key
        ]

    async def _waiting(self, room_id: RoomId) -> list[tuple[str, Json]]:
        """List the events of the bot's that are scheduled in a room, with their ids."""
        try:
            answer = await self._wire.call("GET", path("delayed_events", api=API))
        except Refused:
            return []
        events = answer.get("delayed_events", answer.get("scheduled"))
        waiting = [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
        theirs = [event for event in waiting if event.get("room_id") == room_id]
        return [(delay_id, event) for event in theirs if isinstance(delay_id := event.get("delay_id"), str)]

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
