"""The web server: routes, start and stop. Loopback or behind a proxy; plain asyncio loop, for sendfile."""

import asyncio
import errno
import logging
import traceback
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path

from aiohttp import web

from bot.errors import StartError
from bot.settings import Settings
from bot.web import respond
from bot.web.covers import Covers
from bot.web.family import Families
from bot.web.feeds import Feeds
from bot.web.files import Files
from bot.web.library import Library
from bot.web.media import Media
from bot.web.pages import Pages
from storage.store import Store

log = logging.getLogger(__name__)

STOP_WITHIN_S = 1.0
KEEP_ALIVE_S = 75.0
ROBOTS = "User-agent: *\nDisallow: /p/\n"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer:
    """Serves what the store holds. `freshness`: rooms' state was read since this process began; `health`: the
    rest of the program works."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        freshness: Callable[[], bool],
        health: Callable[[], bool] = lambda: True,
    ) -> None:
        self._settings = settings
        self._health = health
        self._files = Files()
        covers = Covers(settings.feeds)
        library = Library(store, freshness)
        self._pages = Pages(settings, lambda: self.address)
        feeds = Feeds(settings, lambda: self.address, covers.name)
        self._families = Families(library, feeds, Media(store, settings, self._files), self._pages, covers)
        self._runner: web.AppRunner | None = None
        self._port = settings.web.port

    @property
    def port(self) -> int:
        """The one that is listened on, also where the settings say 0."""
        return self._port

    @property
    def address(self) -> str:
        """What feeds and pages are built from, without a slash at its end."""
        web_settings = self._settings.web
        return web_settings.model_copy(update={"port": self._port}).address

    async def start(self) -> None:
        """Listens. Raises StartError."""
        host, port = self._settings.web.host, self._settings.web.port
        runner = web.AppRunner(
            self._application(),
            access_log=None,  # paths hold listeners' tokens
            logger=_quiet_logger(),
            keepalive_timeout=KEEP_ALIVE_S,
            shutdown_timeout=STOP_WITHIN_S,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host or None, port).start()
        except OSError as error:
            await runner.cleanup()
            raise StartError(_why(error, host, port)) from None
        self._runner = runner
        self._port = runner.addresses[0][1]
        log.info("the web listens on port %d; addresses begin with %s", self._port, self.address)

    async def stop(self) -> None:
        """Ends what runs within a second and closes everything."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            self._files.close()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=1024)
        families = self._families
        routes: list[tuple[str, Handler]] = [
            ("/healthz", self._healthz),
            ("/robots.txt", _robots),
            ("/", self._welcome),
            ("/static/{name}", self._static),
            ("/{family:[rp]}/{key}", _with_slash),
            ("/r/{key}/{name:.*}", families.public),
            ("/p/{token}/{name:.*}", families.personal),
        ]
        for path, handler in routes:
            app.router.add_get(path, guarded(handler))
        app.router.add_route("OPTIONS", "/r/{key}/{name:.*}", guarded(_preflight))
        app.router.add_get("/{rest:.*}", guarded(_nothing))
        return app

    async def _healthz(self, request: web.Request) -> web.Response:
        return respond.short(200, "ok") if self._health() else respond.short(503, "not working")

    async def _welcome(self, request: web.Request) -> web.Response:
        return self._pages.welcome()

    async def _static(self, request: web.Request) -> web.Response:
        return self._pages.static(request.match_info["name"]) or respond.not_found()


def guarded(handler: Handler) -> Handler:
    """An error of ours is a short 500 and one line in the log that holds neither path nor message."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            log.error("a request failed: %s in %s at %s", type(error).__name__, frame.name, where)
            return respond.short(500, "Something went wrong")

    return answer


async def _robots(request: web.Request) -> web.Response:
    return web.Response(text=ROBOTS, headers=respond.SAFE)


async def _with_slash(request: web.Request) -> web.Response:
    """Relative, so that it holds below a proxy's path too; the same whether there is such a room or not."""
    return respond.short(308, "Moved", Location=f"{request.match_info['key']}/")


async def _preflight(request: web.Request) -> web.Response:
    """Players in web pages may ask for pieces of public episodes."""
    return web.Response(
        status=204,
        headers={
            **respond.SAFE,
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "GET, HEAD",
            "Access-Control-Allow-Headers": "Range, If-Range, If-None-Match, If-Modified-Since",
            "Access-Control-Max-Age": "86400",
        },
    )


async def _nothing(request: web.Request) -> web.Response:
    return respond.not_found()


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"web.port {port} is in use by another program"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"web.port {port} may not be used by this user (ports below 1024 are the system's)"
    return f"web.host {host} with web.port {port} can't be listened on: {error.strerror}"


class _NoWords(logging.Filter):
    """aiohttp writes the first line of a request that it can't read, and a token may stand in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = "a request could not be answered", ()
        if record.exc_info and record.exc_info[0] is not None:
            record.msg = f"a request could not be answered: {record.exc_info[0].__name__}"
        record.exc_info = record.exc_text = record.stack_info = None
        return True


def _quiet_logger() -> logging.Logger:
    quiet = logging.getLogger(f"{__name__}.http")
    if not quiet.filters:
        quiet.addFilter(_NoWords())
    return quiet
