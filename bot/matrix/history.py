"""A room's history in pages: events that a sync left out, and those from before."""

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

EVENTS_PER_PAGE = 500
RELATIONS_PER_PAGE = 100
RELATIONS_MAY_TAKE_S = 900.0
MOST_PAGES = 10_000
GAP_PAGES = (50, 5, 1)  # events of a page, and fewer where they are long
PAGE_S = 20.0
MAX_PAGE_BYTES = 4 * MIB


class History:
    """Requests for history (Client-Server API, syncing and aggregations). Events are raw, as they came."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def pages(
        self, room_id: RoomId, start: str | None = None, stop: str | None = None, types: Sequence[str] = ()
    ) -> AsyncIterator[tuple[tuple[dict[str, Any], ...], str | None]]:
        """Yield pages from `start` (None: now) back to `stop` or the room's beginning, newest event first, each with
        the token of the next page (None: no more), only with events of `types` if any are given.

        A history that repeats a token or does not end is left with a token. Raises TryLater, Refused.
        """
        query = {"dir": "b", "limit": str(EVENTS_PER_PAGE)}
        query |= {"to": stop} if stop else {}
        query |= {"filter": json.dumps({"types": list(types)})} if types else {}
        async for answer, cursor in self._answers(path("rooms", room_id, "messages"), query, "end", start):
            reached = cursor in (stop, "")
            yield events_of(answer.get("chunk")), None if reached else cursor
            if reached:
                return

    async def page(
        self, room_id: RoomId, start: str, stop: str | None, *, onwards: bool = False, types: Sequence[str] = ()
    ) -> tuple[tuple[dict[str, Any], ...], str | None]:
        """Read one page from `start` backwards, newest event first, or `onwards`, oldest first, and the token of the
        next page; only with events of `types` if any are given.

        The token is None when `stop` or the end of the history is reached. A page that is too long is requested again
        with fewer events. Raises TryLater, Refused, and GiveUp (too_large) for a single event that is too long.
        """
        query = {"dir": "f" if onwards else "b", "from": start, **({"to": stop} if stop else {})}
        query |= {"filter": json.dumps({"types": list(types)})} if types else {}
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
            _check_page(answer)
            next_cursor = token(answer.get("end"))
            return events_of(answer.get("chunk")), None if next_cursor == stop else next_cursor
        raise GiveUp("an event of the room's history is too long", reason="too_large", room=room_id)

    async def around(self, room_id: RoomId, event_id: EventId) -> tuple[tuple[dict[str, Any], ...], str | None]:
        """Read an event, with those directly after it that the homeserver gives, and the token of the page after them
        (Client-Server API, event context). Raises TryLater, Refused."""
        answer = await self._wire.call("GET", path("rooms", room_id, "context", event_id), query={"limit": "0"})
        return events_of([answer.get("event"), *events_of(answer.get("events_after"))]), token(answer.get("end"))

    async def relations(
        self, room_id: RoomId, event_id: EventId, *, backwards: bool = False
    ) -> AsyncIterator[tuple[dict[str, Any], ...]]:
        """Yield pages of the events that refer to one by m.reference, oldest first, or newest first (Client-Server API,
        aggregations).

        They are not filtered by type, which an encrypted room hides. Ends after `MOST_PAGES` pages, and with the
        first page after `RELATIONS_MAY_TAKE_S`. Raises TryLater, Refused.
        """
        where = path("rooms", room_id, "relations", event_id, "m.reference", api="client/v1")
        query = {"dir": "b" if backwards else "f", "limit": str(RELATIONS_PER_PAGE)}
        began = time.monotonic()
        async for answer, _ in self._answers(where, query, "next_batch", None):
            yield events_of(answer.get("chunk"))
            if time.monotonic() - began > RELATIONS_MAY_TAKE_S:
                log.warning("relations of an event did not end in time: room=%s event=%s", room_id, event_id)
                return

    async def state(self, room_id: RoomId, kind: str, key: str) -> dict[str, Any]:
        """Read one state event. Raises TryLater, Refused.

        Some homeservers give only its content; the event then gets an id made of the content's hash.
        """
        where = path("rooms", room_id, "state", kind, key)
        answer = await self._wire.call("GET", where, query={"format": "event"})
        if isinstance(answer.get("event_id"), str) and isinstance(answer.get("content"), dict):
            return answer
        digest = hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()
        event_id = f"state:{digest[:32]}"
        return {"type": kind, "state_key": key, "sender": key, "event_id": event_id, "content": answer}

    async def _answers(
        self, where: str, query: Mapping[str, str], cursor_key: str, start: str | None
    ) -> AsyncIterator[tuple[Json, str | None]]:
        """Yield an endpoint's answers with the token of the next, which stands under `cursor_key`.

        Ends for any homeserver: at a token that came before, and after `MOST_PAGES` pages.
        """
        seen = {start}
        for _ in range(MOST_PAGES):
            answer = await self._wire.call("GET", where, query={**query, **({"from": start} if start else {})})
            _check_page(answer)
            next_cursor = token(answer.get(cursor_key))
            if next_cursor is None:
                yield answer, None
                return
            if next_cursor in seen:
                log.warning("the homeserver repeats a token of its history: %s", where)
                yield answer, next_cursor
                return
            yield answer, next_cursor
            start = next_cursor
            seen.add(next_cursor)
        log.warning("history left after %d pages: %s", MOST_PAGES, where)


def _check_page(answer: Json) -> None:
    """Raise TryLater for an answer that is not a page of events."""
    if not isinstance(answer.get("chunk"), list):
        raise TryLater("the homeserver's answer is not a page of events")
