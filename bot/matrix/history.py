"""History, walked page by page: what a sync left out, and what was said before."""

import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from bot.errors import GiveUp, TryLater
from bot.matrix.sync import events_of, token
from bot.matrix.wire import MIB, TooLong, Wire, path
from storage.records import EventId, Json, RoomId

log = logging.getLogger(__name__)

PAGE = 500
RELATIONS_PAGE = 100
RELATIONS_MAY_TAKE_S = 900.0
MOST_PAGES = 10_000
GAP_PAGES = (50, 5, 1)  # events; fewer where they are long
PAGE_S = 20.0
MAX_PAGE_BYTES = 4 * MIB


class History:
    """Reads /messages (Client-Server API, syncing). Events are raw, as they came."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def pages(
        self, room_id: RoomId, start: str | None = None, stop: str | None = None, types: Sequence[str] = ()
    ) -> AsyncIterator[tuple[tuple[dict[str, Any], ...], str | None]]:
        """Yield pages from `start` (None: now) back to `stop` or the room's beginning, newest event first, each with
        the token of the next page (None: no more), only with events of `types` if any are given.

        A history that repeats a token or does not end is left with a token. Raises TryLater, Refused.
        """
        query = {"dir": "b", "limit": str(PAGE)}
        query |= {"to": stop} if stop else {}
        query |= {"filter": json.dumps({"types": list(types)})} if types else {}
        async for answer, following in self._answers(path("rooms", room_id, "messages"), query, "end", start):
            reached = following in (stop, "")
            yield events_of(answer.get("chunk")), None if reached else following
            if reached:
                return

    async def page(
        self, room_id: RoomId, start: str, stop: str | None
    ) -> tuple[tuple[dict[str, Any], ...], str | None]:
        """One page from `start` backwards, newest event first, and the token of the page after it (None: `stop`, or the
        room's beginning, is reached). A page that is too long is asked for with fewer events. Raises TryLater,
        Refused."""
        query = {"dir": "b", "from": start, **({"to": stop} if stop else {})}
        for limit in GAP_PAGES:
            try:
                answer = await self._wire.call(
                    "GET",
                    path("rooms", room_id, "messages"),
                    query={**query, "limit": str(limit)},
                    timeout_s=PAGE_S,
                    max_bytes=MAX_PAGE_BYTES,
                )
            except TooLong:
                continue
            following = token(answer.get("end"))
            return events_of(answer.get("chunk")), None if following == stop else following
        raise GiveUp("an event of the room's history is too long", reason="too_large", room=room_id)

    async def relations(self, room_id: RoomId, event_id: EventId) -> AsyncIterator[tuple[dict[str, Any], ...]]:
        """Events that refer to one by m.reference, oldest first, in pages (Client-Server API, aggregations of child
        events). Not filtered by type: in an encrypted room the types can't be seen. It ends after so many pages, and
        after so long. Raises TryLater, Refused."""
        where = path("rooms", room_id, "relations", event_id, "m.reference", api="client/v1")
        query = {"dir": "f", "limit": str(RELATIONS_PAGE)}
        began = time.monotonic()
        async for answer, _ in self._answers(where, query, "next_batch", None):
            yield events_of(answer.get("chunk"))
            if time.monotonic() - began > RELATIONS_MAY_TAKE_S:
                log.warning("what refers to an event has no end: room=%s event=%s", room_id, event_id)
                return

    async def state(self, room_id: RoomId, kind: str, key: str) -> dict[str, Any]:
        """One event of the room's state. Where the homeserver gives the content alone, the event gets a name of ours.
        Raises TryLater, Refused."""
        where = path("rooms", room_id, "state", kind, key)
        answer = await self._wire.call("GET", where, query={"format": "event"})
        if isinstance(answer.get("event_id"), str) and isinstance(answer.get("content"), dict):
            return answer
        names = json.dumps(answer, sort_keys=True).encode()
        name = f"state:{hashlib.sha256(names).hexdigest()[:32]}"
        return {"type": kind, "state_key": key, "sender": key, "event_id": name, "content": answer}

    async def _answers(
        self, where: str, query: Mapping[str, str], following_key: str, start: str | None
    ) -> AsyncIterator[tuple[Json, str | None]]:
        """Pages of an endpoint with the token of the next. It ends for every homeserver: at a token that came
        before, and after 10,000 pages."""
        seen = {start}
        for _ in range(MOST_PAGES):
            answer = await self._wire.call("GET", where, query={**query, **({"from": start} if start else {})})
            if not isinstance(answer.get("chunk"), list):
                raise TryLater("the homeserver's answer is no page of events")
            following = token(answer.get(following_key))
            if following is None:
                yield answer, None
                return
            if following in seen:
                log.warning("the homeserver's history goes in circles: %s", where)
                yield answer, following
                return
            yield answer, following
            start = following
            seen.add(following)
        log.warning("the homeserver's history has no end: %s", where)
