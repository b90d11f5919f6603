"""History, walked page by page: what a sync left out, and what was said before."""

import logging
from collections.abc import AsyncIterator
from typing import Any

from bot.matrix.sync import objects
from bot.matrix.wire import Refused, Wire, path
from storage.records import RoomId

log = logging.getLogger(__name__)

PAGE = 500
MOST_PAGES = 10_000


class History:
    """Reads /messages (Client-Server API, syncing). Events are raw, as they came."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def walk(
        self, room_id: RoomId, start: str | None = None, stop: str | None = None
    ) -> AsyncIterator[tuple[dict[str, Any], ...]]:
        """Pages from `start` (None: now) backwards, newest event first, until `stop`, or the room's beginning.

        It ends for every homeserver: at a token that came before, and after 10,000 pages. Raises TryLater, Refused.
        """
        token, seen = start, {start}
        for _ in range(MOST_PAGES):
            query = {"dir": "b", "limit": str(PAGE)}
            query |= {"from": token} if token else {}
            query |= {"to": stop} if stop else {}
            answer = await self._wire.call("GET", path("rooms", room_id, "messages"), query=query)
            yield objects(answer.get("chunk"))
            following = answer.get("end")
            if not isinstance(following, str) or following in (stop, ""):
                return
            if following in seen:
                log.warning("the homeserver's history goes in circles: room=%s", room_id)
                return
            token = following
            seen.add(following)
        log.warning("the homeserver's history has no end: room=%s", room_id)

    async def gap(self, room_id: RoomId, start: str, since: str) -> tuple[dict[str, Any], ...]:
        """What lies between a sync token and the timeline that came after it, oldest first.

        Nothing where the homeserver refuses it for good. Raises TryLater.
        """
        newest_first: list[dict[str, Any]] = []
        try:
            async for page in self.walk(room_id, start, since):
                newest_first += page
        except Refused as refused:
            log.warning("a gap in the room's timeline can't be walked: room=%s (%s)", room_id, refused)
        if newest_first:
            log.info("a gap in the room's timeline was walked: room=%s events=%d", room_id, len(newest_first))
        return tuple(reversed(newest_first))
