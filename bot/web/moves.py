"""Moves of the whole server: feeds at an address that `web.public_url` had earlier lead to the present one.

Sound, chapters and pictures are answered under every address for ever: apps know an episode by its address.

A request is known by its Host, which anybody can write; so it only decides whether to redirect, and everything is built
from the setting. Many proxies send their own address of this server as Host. If that was once the setting, as before
anything was configured, a redirect would come back for ever; so an address within the network never leads to one
outside of it. Nor does a public address lead into the network unless the setting says so.
"""

import re
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from aiohttp import web

from bot.addresses import is_within
from bot.feeds.addresses import public_shelf
from bot.feeds.guids import podcast_guid
from bot.settings import WebSettings
from bot.web import respond
from bot.web.connections import ClientConnection
from storage import public_urls, rooms
from storage.database import Connection
from storage.store import Store

FEED_PATH = re.compile(r"/(?:[rp]/[A-Za-z0-9_-]{1,64}/)?[a-z0-9-]{1,64}\.(?:xml|opml)")
PORTS = {"http": ":80", "https": ":443"}


class Moves:
    """The earlier addresses of the server. `base` gives the present one; `ours`: this process is the bot's, which alone
    decides what it is."""

    def __init__(
        self, store: Store, settings: WebSettings, base: Callable[[], str], clock: Callable[[], datetime], *, ours: bool
    ) -> None:
        self._ours = ours
        self._store = store
        self._settings = settings
        self._base = base
        self._clock = clock
        self._earlier: frozenset[tuple[str, str]] = frozenset()  # schemes and hosts

    @property
    def moved(self) -> bool:
        """Whether feeds were at another address before."""
        return bool(self._earlier)

    async def start(self) -> None:
        """Remember the present address, and read the earlier ones. Raises StoreError."""
        base = self._base()
        if self._ours:
            await self._remember(base)
        async with self._store.read() as db:
            urls = await public_urls.earlier(db, base)
        said = self._settings.public_url is not None
        self._earlier = frozenset(place_of(url) for url in urls if leads(url, base, said=said))

    async def _remember(self, base: str) -> None:
        async with self._store.write() as db:
            before = await public_urls.last(db)
            if before is not None and before != base:
                await _name_podcasts(db, before)
            await public_urls.remember(db, base, self._clock())

    def answer(self, request: web.BaseRequest) -> web.Response | None:
        """Redirect a request for a feed that came by an earlier address; None for any other request."""
        if not self._earlier or not FEED_PATH.fullmatch(request.path):
            return None
        connection = request.protocol
        assert isinstance(connection, ClientConnection)
        origin = connection.origin(request)
        if origin is None:
            return None
        scheme, host = place_of(origin)
        # Without a proxy that is trusted nobody knows whether the client spoke TLS.
        known = connection.through_proxy and "X-Forwarded-Proto" in request.headers
        asked = {(scheme, host)} if known else {(each, host) for each in PORTS}
        if place_of(self._base()) in asked or not asked & self._earlier:
            return None
        return respond.moved_for_good(f"{self._base()}{request.path}")


async def _name_podcasts(db: Connection, base: str) -> None:
    """Give public podcasts without a GUID the one of the address under which they were so far. They are few: most have
    theirs from `publish public`."""
    for room_id in await rooms.public(db):
        room = await rooms.room(db, room_id)
        if room is not None and not room.podcast_guid:
            await rooms.name_podcast(db, room_id, podcast_guid(public_shelf(base, room.key).feed))


def leads(earlier: str, present: str, *, said: bool) -> bool:
    """Return whether feeds at an earlier address lead to the present one, which the settings have `said`."""
    inside, now_inside = (is_within(urlsplit(url).hostname or "") for url in (earlier, present))
    return earlier != present and (inside == now_inside or (now_inside and said))


def place_of(url: str) -> tuple[str, str]:
    """Return the scheme and the host of an address, without the port that the scheme has anyway."""
    scheme, _, rest = url.lower().partition("://")
    host = rest.partition("/")[0]
    return scheme, host.removesuffix(PORTS["http"]).removesuffix(PORTS["https"])
