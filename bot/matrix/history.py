"""History, walked page by page: what a sync left out, and what was said before."""

import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.matrix.sync import objects
from bot.matrix.wire import Refused, Wire, path
from storage.records import EventId, Json, RoomId, UserId

log = logging.getLogger(__name__)

PAGE = 500
RELATIONS_PAGE = 50
MOST_PAGES = 10_000


@dataclass(frozen=True, slots=True)
class Walked:
    """What lies in a gap, oldest first, as far as the homeserver gives it; `whole`: that is all of it."""

    events: tuple[dict[str, Any], ...] = ()
    whole: bool = True


class History:
    """Reads /messages (Client-Server API, syncing). Events are raw, as they came."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def walk(
        self, room_id: RoomId, start: str | None = None, stop: str | None = None
    ) -> AsyncIterator[tuple[dict[str, Any], ...]]:
        """Pages from `start` (None: now) backwards, newest event first, until `stop`, or the room's beginning.

        Raises TryLater, Refused.
        """
        async for events, _ in self.pages(room_id, start, stop):
            yield events

    async def pages(
        self, room_id: RoomId, start: str | None = None, stop: str | None = None, types: Sequence[str] = ()
    ) -> AsyncIterator[tuple[tuple[dict[str, Any], ...], str | None]]:
        """The same, only of these types if there are any, each with the token of the page after it (None: no more).
        A history that goes in circles, or has no end, is left with a token."""
        query = {"dir": "b", "limit": str(PAGE)}
        query |= {"to": stop} if stop else {}
        query |= {"filter": json.dumps({"types": list(types)})} if types else {}
        async for answer, following in self._answers(path("rooms", room_id, "messages"), query, "end", start):
            reached = following in (stop, "")
            yield objects(answer.get("chunk")), None if reached else following
            if reached:
                return

    async def relations(
        self, room_id: RoomId, event_id: EventId, *, sender: UserId | None = None, most: int
    ) -> tuple[dict[str, Any], ...]:
        """Events that refer to one by m.reference, oldest first, `most` at most, only of `sender` if there is one
        (Client-Server API, aggregations of child events). Not filtered by type: in an encrypted room the types can't
        be seen. Raises TryLater, Refused."""
        where = path("rooms", room_id, "relations", event_id, "m.reference", api="client/v1")
        query = {"dir": "f", "limit": str(RELATIONS_PAGE)}
        found: list[dict[str, Any]] = []
        async for answer, _ in self._answers(where, query, "next_batch", None):
            found += [one for one in objects(answer.get("chunk")) if sender is None or one.get("sender") == sender]
            if len(found) >= most:
                break
        return tuple(found[:most])

    async def _answers(
        self, where: str, query: Mapping[str, str], following_key: str, token: str | None
    ) -> AsyncIterator[tuple[Json, str | None]]:
        """Pages of an endpoint with the token of the next. It ends for every homeserver: at a token that came
        before, and after 10,000 pages."""
        seen = {token}
        for _ in range(MOST_PAGES):
            answer = await self._wire.call("GET", where, query={**query, **({"from": token} if token else {})})
            following = answer.get(following_key)
            if not isinstance(following, str):
                yield answer, None
                return
            if following in seen:
                log.warning("the homeserver's history goes in circles: %s", where)
                yield answer, following
                return
            yield answer, following
            token = following
            seen.add(following)
        log.warning("the homeserver's history has no end: %s", where)

    async def gap(self, room_id: RoomId, start: str, since: str) -> Walked:
        """What lies between a sync token and the timeline that came after it. Raises TryLater."""
        newest_first: list[dict[str, Any]] = []
        following: str | None = start
        try:
            async for page, following in self.pages(room_id, start, since):  # noqa: B007  the last one counts
                newest_first += page
        except Refused as refused:
            following = start
            log.warning("a gap in the room's timeline can't be walked: room=%s (%s)", room_id, refused)
        if newest_first:
            log.info("a gap in the room's timeline was walked: room=%s events=%d", room_id, len(newest_first))
        return Walked(tuple(reversed(newest_first)), whole=following is None)
