"""The page at the root of the server: its public podcasts, what is on the air first."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from aiohttp import web

from bot.feeds.text import clean_line
from bot.feeds.titles import speakers
from bot.language import spoken_date, spoken_time
from bot.pictures.sizes import SIDES
from bot.web import encodings
from bot.web.access import Family
from bot.web.airing import Airing, Airings
from bot.web.caches import CommitCache, OnceCache
from bot.web.covers import Covers, sized
from bot.web.directory import Directory, Listing
from bot.web.episodes import Part
from bot.web.library import Library, View
from bot.web.now import content_of, told
from bot.web.rendering import Renderer, accent_of
from storage.records import Recording

MOST_PODCASTS = 200
LINE_CHARACTERS = 140
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Podcast:
    """A public podcast with the recordings by which it is placed."""

    view: View
    newest: Recording | None
    live: tuple[Airing, ...] = ()  # on the air now, or about to begin

    @property
    def first(self) -> Airing | None:
        """The one that the page names: one that can be heard, before one that is about to begin."""
        return next((airing for airing in self.live if airing.state == "live"), next(iter(self.live), None))


@dataclass(frozen=True, slots=True)
class PodcastCard:
    """A podcast in words."""

    address: str
    covers: Mapping[int, str]  # the file names, by their sides
    hue: int
    title: str
    line: str
    live: str  # who is on the air, or about to be; empty where nobody is
    state: str  # of that: live or pending
    moment: str  # RFC 3339; empty where there is no episode
    day: str
    date: str


@dataclass(frozen=True, slots=True)
class Shelves:
    """All public podcasts of the server, in their order on its page."""

    podcasts: tuple[Podcast, ...]
    content: str  # of the page, as `bot.web.now` names it
    now: bytes  # the file that open pages ask


class HomePage:
    """The page of the server itself. `commits` counts those of the store."""

    def __init__(
        self,
        renderer: Renderer,
        directory: Directory,
        library: Library,
        airings: Airings,
        covers: Covers,
        commits: Callable[[], int],
    ) -> None:
        self._renderer = renderer
        self._directory = directory
        self._library = library
        self._airings = airings
        self._covers = covers
        self._zone = renderer.settings.feeds.zone
        self._shelves: CommitCache[None, Shelves] = CommitCache(commits)
        self._placed: OnceCache[int, tuple[Podcast, ...]] = OnceCache(1)

    async def answer(self, address: str) -> web.Response:
        """Render the page. `address`: the server's."""
        shelves = await self._shelves.get(None, self._read)
        return await asyncio.to_thread(self._render, address, shelves)

    async def now(self, request: web.BaseRequest) -> web.Response:
        """Answer what is on the air in the public podcasts: pages that stay open ask every few seconds."""
        shelves = await self._shelves.get(None, self._read)
        return await encodings.data(request, Family.PUBLIC, shelves.now, "application/json")

    def _render(self, address: str, shelves: Shelves) -> web.Response:
        return self._renderer.of_server(
            "home.html",
            content=shelves.content,
            page_address=f"{address}/",
            host=_host(address),
            cover_address=f"{address}/{self._covers.server_name(urlsplit(address).netloc)}",
            podcasts=[_card(each, self._covers.name(each.view), self._zone) for each in shelves.podcasts],
        )

    async def _read(self) -> Shelves:
        """Read what every commit may change, which is what is on the air; the rest is kept until a room changes."""
        listing = await self._directory.listing()
        placed = await self._placed.get(listing.revision, partial(self._place, listing))
        live_in = await self._airings.live(listing.podcasts)
        podcasts = [replace(podcast, live=live) for podcast, live in zip(placed, live_in, strict=True)]
        podcasts = sorted(podcasts, key=_order, reverse=True)[:MOST_PODCASTS]
        live = [airing for podcast in podcasts for airing in podcast.live]
        content = content_of([podcast.view.key for podcast in podcasts], live)
        return Shelves(tuple(podcasts), content, told(content, live))

    async def _place(self, listing: Listing) -> tuple[Podcast, ...]:
        found = []
        for access in listing.podcasts:
            page = await self._library.web_page(access, Part(1))
            newest = page.published[0][0] if page is not None and page.published else None
            found.append(Podcast(await self._library.view(access), newest))
            await asyncio.sleep(0)  # most are known, and there may be hundreds
        return tuple(found)


def _order(podcast: Podcast) -> tuple[bool, bool, datetime]:
    state = podcast.first.state if podcast.first else ""
    return state == "live", bool(state), podcast.newest.started_at if podcast.newest else LONG_AGO


def _card(podcast: Podcast, cover: str, zone: ZoneInfo) -> PodcastCard:
    view, began = podcast.view, podcast.newest.started_at if podcast.newest else None
    address = f"r/{view.room.key}/"
    return PodcastCard(
        address=address,
        covers={side: sized(cover, side) for side in SIDES},
        hue=accent_of(view.room.key),
        title=view.face.title,
        line=clean_line(view.face.description or "", LINE_CHARACTERS),
        live=speakers(podcast.first.recording) if podcast.first else "",
        state=podcast.first.state if podcast.first else "",
        moment=began.isoformat(timespec="seconds") if began else "",
        day=spoken_date(began, zone) if began else "",
        date=spoken_time(began, zone) if began else "",
    )


def _host(address: str) -> str:
    """Return the name of the server as people know it; empty where it is a number or this machine."""
    name = urlsplit(address).hostname or ""
    try:
        ip_address(name)
    except ValueError:
        return "" if name == "localhost" else name
    return ""
