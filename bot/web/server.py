"""The web server: routes, start and stop. Loopback or behind a proxy; plain asyncio loop, for sendfile."""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from bot.language import _
from bot.settings import Settings
from bot.web import binding, respond
from bot.web.claims import AddressClaims
from bot.web.clients import Clients
from bot.web.connections import ClientConnection, Connections
from bot.web.covers import Covers
from bot.web.feeds import Feeds
from bot.web.files import Files
from bot.web.library import Library
from bot.web.live import Live
from bot.web.media import Media
from bot.web.on_air import Tuner
from bot.web.pages import Pages
from bot.web.room_routes import RoomRoutes
from bot.web.static_files import StaticFiles
from bot.web.stem_downloads import StemDownloads
from bot.web.streams import Streams
from bot.web.usage import Usage
from bot.web.waveforms import Waveforms
from storage.records import RecordingId
from storage.store import Store

log = logging.getLogger(__name__)

STOP_WITHIN_S = 1.0
KEEP_ALIVE_S = 75.0
ROBOTS = "User-agent: *\nDisallow: /p/\n"


class WebServer:
    """Pages, feeds and sound of what the store holds.

    `freshness`: whether the rooms' state was read since this process began; `heard_at`: when the homeserver last
    answered.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        freshness: Callable[[], bool],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        heard_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._health: Callable[[], bool] = lambda: True
        self._heard_at = heard_at
        self._files = Files(store.blobs)
        self._covers = Covers(store, settings.feeds)
        self._static = StaticFiles()
        self._pages = Pages(settings, self._static, lambda: self.address)
        feeds = Feeds(settings, lambda: self.address, self._covers.name)
        self._connections = Connections(Clients(settings.web.trusted_proxies), time.monotonic)
        media = Media(settings, self._files, self._connections.transferring)
        self._tuner = Tuner(store, self._files, clock)
        self._streams = Streams(self._tuner, clock, self._connections.transferring)
        live = Live(self._tuner, self._streams, clock)
        self._usage = Usage(store, clock)
        self._rooms = RoomRoutes(
            claims=AddressClaims(store, freshness, settings.matrix.admins),
            library=Library(store),
            feeds=feeds,
            media=media,
            live=live,
            pages=self._pages,
            covers=self._covers,
            waveforms=Waveforms(store),
            usage=self._usage,
            stem_downloads=StemDownloads(settings, store.blobs, self._connections.transferring),
            zone=settings.feeds.zone,
        )
        self._runner: web.ServerRunner | None = None
        self._port = settings.web.port

    @property
    def port(self) -> int:
        """The port that is listened on, also where the settings say 0."""
        return self._port

    @property
    def address(self) -> str:
        """The address that feeds and pages are built from, without a slash at its end."""
        web_settings = self._settings.web
        return web_settings.model_copy(update={"port": self._port}).address

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    @property
    def streams(self) -> int:
        """The number of running endless MP3 streams."""
        return self._streams.running

    def listened(self, recording_id: RecordingId) -> bool:
        """Return whether somebody listens to it live."""
        return self._tuner.listened(recording_id)

    async def start(self, health: Callable[[], bool] = lambda: True) -> None:
        """Listen. `health`: whether the rest of the bot works.

        Raises ConfigError for an address that can't be listened at or a `feeds.image` that is no picture.
        """
        self._health = health
        await self._covers.prepare()
        host, port = self._settings.web.host, self._settings.web.port
        # Without an Application, whose routing takes a third of the time of a 304.
        server = self._connections.server(
            self._handle,
            access_log=None,  # paths hold listeners' tokens
            logger=_quiet_logger(),
            keepalive_timeout=KEEP_ALIVE_S,
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
        self._runner = runner
        self._port = runner.addresses[0][1]
        log.info("web server: listening on port %d; addresses begin with %s", self._port, self.address)

    async def stop(self) -> None:
        """End running requests within a second and close everything."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._connections.stop()
            self._streams.stop()
            await runner.cleanup()
            await self._usage.stop()
            self._files.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request. A failure becomes a short 500 and a log line with neither path nor message."""
        connection = request.protocol
        assert isinstance(connection, ClientConnection)
        try:
            if not self._connections.begin(connection, request):
                return respond.too_many()
            return await self._route(request)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            log.error("request failed: %s in %s at %s", type(error).__name__, frame.name, where)
            return respond.short(500, _("Something went wrong"))
        finally:
            self._connections.end(connection)

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        """Route by one split: no path has more than three parts."""
        parts = request.path.split("/", 3)[1:]
        if request.method not in ("GET", "HEAD"):
            preflight = request.method == "OPTIONS" and parts[:1] == ["r"]
            return respond.preflight() if preflight else respond.not_allowed()
        match parts:
            case ["r" | "p", key] if key:
                return respond.moved(f"{key}/")
            case ["r", key, name]:
                return await self._rooms.public(request, key, name)
            case ["p", token, name]:
                return await self._rooms.personal(request, token, name)
            case ["healthz"]:
                return respond.health(works=self._health(), heard_at=self._heard_at())
            case ["static", name]:
                return self._static.answer(name) or respond.not_found()
            case ["robots.txt"]:
                return web.Response(text=ROBOTS, headers=respond.SAFE)
            case [""]:
                return self._pages.welcome()
        return respond.not_found()


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
