"""The TURN servers that the homeserver offers (Client-Server API, `/voip/turnServer`), for legs that need a relay."""

import asyncio
import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from bot.calls.media.door import IceServer
from bot.errors import AircheckError
from bot.matrix.wire import Wire, path
from storage.records import Json

log = logging.getLogger(__name__)

MOST_SERVERS = 8
URI = re.compile(r"(?:stun|turn)s?:[!-~]{1,255}", re.ASCII)
"""A STUN or TURN URI (RFC 7064, RFC 7065), as far as it is checked here."""
MOST_CHARACTERS = 512
"""The longest user name and password that are taken."""
LEAST, MOST = timedelta(minutes=1), timedelta(days=1)
"""The bounds of the time for which an answer is kept."""
NONE_FOR = timedelta(minutes=10)
"""The time for which a homeserver without TURN servers is not asked again."""
AGAIN = timedelta(minutes=1)
"""The pause after a failed request."""
ANSWER_S = 5.0
"""The longest time for which a leg waits for the homeserver: most legs need no relay."""


class Turn:
    """The homeserver's TURN servers, asked for again before their credentials expire."""

    def __init__(self, wire: Wire, clock: Callable[[], datetime]) -> None:
        self._wire = wire
        self._clock = clock
        self._servers: tuple[IceServer, ...] = ()
        self._until: datetime | None = None
        self._asking = asyncio.Lock()

    async def servers(self) -> tuple[IceServer, ...]:
        """Return the servers; none where the homeserver has none, or can't be reached."""
        async with self._asking:
            if self._until is None or self._clock() >= self._until:
                await self._ask()
            return self._servers

    async def _ask(self) -> None:
        now = self._clock()
        try:
            answer = await self._wire.call("GET", path("voip", "turnServer"), timeout_s=ANSWER_S)
        except AircheckError as error:
            log.info("no TURN servers: %s", error.sentence)
            self._servers, self._until = (), now + AGAIN
            return
        self._servers = read(answer)
        self._until = now + (_kept_for(answer) if self._servers else NONE_FOR)


def read(answer: Json) -> tuple[IceServer, ...]:
    """Read the homeserver's answer: its valid addresses, with the credentials for all of them."""
    uris, username, password = answer.get("uris"), answer.get("username"), answer.get("password")
    listed = uris if isinstance(uris, list) else []
    urls = tuple(dict.fromkeys(uri for uri in listed if isinstance(uri, str) and URI.fullmatch(uri)))[:MOST_SERVERS]
    if not urls or not _is_credential(username) or not _is_credential(password):
        return ()
    return (IceServer(urls, str(username), str(password)),)


def _is_credential(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MOST_CHARACTERS and value.isprintable()


def _kept_for(answer: Json) -> timedelta:
    """Return nine tenths of the credentials' time, within bounds."""
    ttl = answer.get("ttl")
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not ttl > 0:
        return LEAST
    return max(LEAST, timedelta(seconds=min(ttl, MOST.total_seconds()) * 0.9))
