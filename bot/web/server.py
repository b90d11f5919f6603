"""The web server: routes, start and stop. Loopback or behind a proxy; plain asyncio loop, for sendfile."""

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from bot import counted
from bot.health import Report
from bot.language import _
from bot.settings import Settings
from bot.web import binding, encodings, now, respond
from bot.web.airing import Airings
from bot.web.at_once import AtOnce
from bot.web.claims import AddressClaims
from bot.web.clients import Clients, is_near
from bot.web.connections import ClientConnection, Connections
from bot.web.contents import Contents
from bot.web.covers import Covers
from bot.web.directory import Directory
from bot.web.editions import Editions
from bot.web.feeds import Feeds
from bot.web.files import Files
from bot.web.home_page import HomePage
from bot.web.icecast import Mounts
from bot.web.library import Library
from bot.web.listening import Listening
from bot.web.live import Live
from bot.web.live_items import LiveItems
from bot.web.lost_files import LostFiles
from bot.web.media import Media
from bot.web.messages import Messages
from bot.web.moves import Moves
from bot.web.oembed import OEmbed
from bot.web.on_air import Tuner
from bot.web.portraits import Portraits
from bot.web.press import Press
from bot.web.public_feeds import PublicFeeds
from bot.web.recording_page import RecordingPage
from bot.web.rendering import Renderer
from bot.web.room_page import RoomPage
from bot.web.room_routes import RoomRoutes
from bot.web.route_names import route_of
from bot.web.sources import Sources
from bot.web.speakers import Speakers
from bot.web.static_files import StaticFiles
from bot.web.stem_downloads import StemDownloads
from bot.web.streams import Streams
from bot.web.studio import Studios
from bot.web.studio_bounds import StudioBounds
from bot.web.studio_page import StudioPage
from bot.web.turns import Turns
from bot.web.usage import Usage
from bot.web.waveforms import Waveforms
from storage.errors import MediaStoreError, StoreBusyError
from storage.store import Store

if TYPE_CHECKING:
    from bot.audio.ffmpeg import Ffmpeg

log = logging.getLogger(__name__)

STOP_WITHIN_S = 1.0
KEEP_ALIVE_S = 75.0
WARM_AFTER_S = 3.0
"""Seconds after the start, which has other work to do, in which the first page's part of the work is done."""
ROBOTS = "User-agent: *\nDisallow: /p/\nDisallow: /studio/\n"


class WebServer:
    """Pages, feeds and sound of what the store holds.

    `freshness`: whether the rooms' state was read since this process began; `heard_at`: when the homeserver last
    answered; `uptime`: seconds, for time-outs of connections; `beside`: where this process only serves
    beside a bot, the address that this bot builds feeds from; `ffmpeg`: for pictures, None where it is looked for when
    one comes.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        freshness: Callable[[], bool],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        heard_at: Callable[[], datetime | None] = lambda: None,
        uptime: Callable[[], float] = time.monotonic,
        beside: str | None = None,
        ffmpeg: "Ffmpeg | None" = None,
    ) -> None:
        self._settings = settings
        self._health: Callable[[], bool] = lambda: True
        self._report: Callable[[], Awaitable[Report]] = self._own_report
        self._heard_at = heard_at
        self._files = Files(store.blobs)
        self._covers = Covers(store, settings.feeds)
        self._static = StaticFiles()
        self._renderer = renderer = Renderer(
            settings, self._static, lambda: self.address, store.blobs.remote.origin if store.blobs.remote else None
        )
        self._messages = Messages(renderer, lambda: self.address)
        claims = AddressClaims(store, freshness, settings.matrix.admins, clock)
        library = Library(store, settings.feeds.zone)
        lost_files = LostFiles(store, clock)
        self._moves = Moves(store, settings.web, lambda: self.address, clock, ours=beside is None)
        editions, turns, live_items = Editions(store, clock), Turns(), LiveItems(store, clock)
        directory, speakers = Directory(store, claims), Speakers(store)
        contents, press = Contents(settings, lambda: self.address, self._covers.name), Press(editions)
        self._usage = Usage(store, clock)
        self._at_once = AtOnce(self._usage)
        feeds = Feeds(
            settings,
            library,
            press,
            turns,
            lost_files,
            self._moves,
            live_items,
            contents,
            self._at_once,
            lambda: self.address,
        )
        self._public_feeds = PublicFeeds(
            settings,
            store,
            directory,
            library,
            speakers,
            live_items,
            contents,
            press,
            editions,
            turns,
            lost_files,
            self._moves,
            self._covers,
            lambda: self.address,
        )
        self._connections = Connections(Clients(settings.web.trusted_proxies), uptime)
        media = Media(settings, self._files, lost_files, self._connections.transferring, self._at_once)
        self.listening = Listening(store, clock)
        tuner = Tuner(store, self._files, self.listening)
        self._streams = Streams(tuner, clock, self._connections.transferring)
        live = Live(tuner, self._streams, clock)
        airings = Airings(store, library)
        self._home_page = HomePage(
            renderer, directory, library, airings, self._covers, lambda: store.database.changes.number
        )
        self._oembed = OEmbed(claims, library, self._covers, settings.feeds.zone, lambda: self.address)
        self._rooms = RoomRoutes(
            claims=claims,
            library=library,
            feeds=feeds,
            public_feeds=self._public_feeds,
            speakers=speakers,
            media=media,
            live=live,
            airings=airings,
            room_page=RoomPage(renderer),
            recording_page=RecordingPage(renderer),
            covers=self._covers,
            portraits=Portraits(store),
            waveforms=Waveforms(store),
            usage=self._usage,
            stem_downloads=StemDownloads(settings, store.blobs, lost_files, self._connections.transferring),
            messages=self._messages,
            zone=settings.feeds.zone,
        )
        self._bounds = StudioBounds(lambda: self._connections.most, uptime)
        self._studios = Studios(
            store,
            settings,
            claims,
            self.listening,
            self._messages,
            StudioPage(renderer),
            self._bounds,
            lambda: self.address,
            clock,
            ffmpeg,
        )
        told = (settings.web.address, settings.web.source_address)
        mounts = Mounts(*(urlsplit(address).path for address in told))
        self._sources = Sources(store, settings, claims, self._connections.transferring, clock, ffmpeg, mounts)
        self._connections.take_source, self._connections.mounts = self._sources.take, mounts
        self._runner: web.ServerRunner | None = None
        self._port = settings.web.port
        self._beside = beside
        self._address = beside or settings.web.address
        self._warming: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, also where the settings say 0."""
        return self._port

    @property
    def address(self) -> str:
        """The address that feeds and pages are built from, without a slash at its end."""
        return self._address

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    @property
    def most_connections(self) -> int:
        """The number of connections that may be open."""
        return self._connections.most

    @property
    def streams(self) -> int:
        """The number of running endless MP3 streams."""
        return self._streams.running

    @property
    def uploads(self) -> int:
        """The number of uploads that run."""
        return self._bounds.uploads

    async def start(
        self, health: Callable[[], bool] = lambda: True, report: Callable[[], Awaitable[Report]] | None = None
    ) -> None:
        """Listen. `health`: whether the rest of the bot works; `report`: the same with what is wrong, where somebody
        looks for that.

        Raises ConfigError for an address that can't be listened at or a `feeds.image` that is no picture.
        """
        self._health = health
        self._report = report or self._own_report
        await self._covers.prepare()
        await asyncio.to_thread(self._static.pack)
        host, port = self._settings.web.host, self._settings.web.port
        # Without an Application, whose routing takes a third of the time of a 304.
        server = self._connections.server(
            self._handle,
            self._at_once.answer,
            access_log=None,  # paths hold listeners' tokens
            logger=_quiet_logger(),
            keepalive_timeout=KEEP_ALIVE_S,
            auto_decompress=False,  # a kilobyte may be packed of a gigabyte
        )
        runner = web.ServerRunner(server, shutdown_timeout=STOP_WITHIN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, host or None, port, backlog=self._connections.backlog).start()
        except binding.BIND_ERRORS as error:
            await runner.cleanup()
            raise binding.bind_error(error, host, port) from None
        self._connections.start()
        self._usage.start()
        self.listening.start()
        self._runner = runner
        self._port = runner.addresses[0][1]
        self._address = self._beside or self._settings.web.model_copy(update={"port": self._port}).address
        await self._moves.start()
        loop = asyncio.get_running_loop()
        self._warming = loop.call_later(WARM_AFTER_S, lambda: loop.run_in_executor(None, self._renderer.warm))
        log.info("web server: listening on port %d; addresses begin with %s", self._port, self.address)

    async def stop(self) -> None:
        """End running requests within a second and close everything."""
        runner, self._runner = self._runner, None
        if self._warming is not None:
            self._warming.cancel()
        if runner is not None:
            self._connections.stop()
            self._streams.stop()
            await self._sources.stop()
            await runner.cleanup()
            await self._usage.stop()
            await self.listening.stop()
            self._files.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request. A failure becomes a short 500, a store that can't be used now a 503, and a log line with
        neither path nor message; an answer that had begun is broken off."""
        connection = request.protocol
        assert isinstance(connection, ClientConnection)
        began, status = time.perf_counter(), 0
        try:
            answer = await self._answer(connection, request)
            status = answer.status
        except (ConnectionError, asyncio.CancelledError):
            raise
        except (MediaStoreError, StoreBusyError) as error:
            log.warning("request put off: %s", error)
            answer = self._messages.for_people(request, respond.later())
            status = answer.status
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            log.error("request failed: %s in %s at %s", type(error).__name__, frame.name, where)
            status = 500
            answer = respond.short(status, _("Something went wrong"))
        finally:
            self._connections.end(connection)
            if status:  # else the client has gone
                route = route_of(request.path)
                counted.REQUESTS.add(route, f"{status // 100}xx")
                counted.REQUEST_S.note(time.perf_counter() - began, route)
        if status >= 500 and request.writer.output_size:  # a second answer would be taken for a part of the first
            connection.discard()
            raise ConnectionAbortedError
        return answer

    async def _answer(self, connection: ClientConnection, request: web.BaseRequest) -> web.StreamResponse:
        if not self._connections.begin(connection, request):
            return respond.too_many()
        if request.version.major != 1:
            return respond.other_version()
        answer = self._messages.for_people(request, await self._route(request))
        return await encodings.packed(request, answer)

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        """Route by one split: no path has more than three parts."""
        parts = request.path.split("/", 3)[1:]
        if parts[:1] == ["studio"] and len(parts) > 1:
            return await self._of_studio(request, *parts[1:])
        if request.method not in ("GET", "HEAD"):
            preflight = request.method == "OPTIONS" and bool(parts) and parts[0] != "p"
            return respond.preflight() if preflight else respond.not_allowed()
        if (moved := self._moves.answer(request)) is not None:
            return moved
        match parts:
            case ["r" | "p", key] if key:
                return respond.moved(f"{key}/")
            case ["r", key, name]:
                return await self._rooms.public(request, key, name)
            case ["p", token, name]:
                return await self._rooms.personal(request, token, name)
            case ["admin", "metadata"]:
                return await self._sources.metadata(request)
            case ["static", name]:
                return self._static.answer(request, name) or respond.not_found()
            case [name]:
                return await self._of_server(request, name)
        return respond.not_found()

    async def _of_studio(self, request: web.BaseRequest, token: str, name: str | None = None) -> web.StreamResponse:
        if name is None:
            moved = token and request.method in ("GET", "HEAD")
            return respond.moved(f"{token}/") if moved else respond.not_found()
        return await self._studios.answer(request, token, name)

    async def _own_report(self) -> Report:
        return Report(self._health(), self._heard_at())

    async def _of_server(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        """Answer for a file name at the root."""
        match name:
            case "":
                return await self._home_page.answer(self.address)
            case now.NOW:
                return await self._home_page.now(request)
            case "healthz":
                return respond.health(await self._report(), details=is_near(request.remote or "", request.headers))
            case "favicon.ico":
                return self._static.favicon(request)
            case "oembed":
                return await self._oembed.answer(request)
            case "robots.txt":
                return web.Response(text=ROBOTS, headers=respond.SAFE)
            case "feed.xml":
                return await self._public_feeds.of_server(request)
            case "podcasts.opml":
                return await self._public_feeds.opml(request)
        return await self._public_feeds.cover(request, name) or respond.not_found()


class _Redacted(logging.Filter):
    """Hides aiohttp's messages: for a malformed request they hold its first line, which may hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = "malformed or failed request", ()
        if record.exc_info and record.exc_info[0] is not None:
            record.msg = f"malformed or failed request: {record.exc_info[0].__name__}"
        record.exc_info = record.exc_text = record.stack_info = None
        return True


def _quiet_logger() -> logging.Logger:
    quiet = logging.getLogger(f"{__name__}.http")
    if not quiet.filters:
        quiet.addFilter(_Redacted())
    return quiet
