"""A proxy on loopback between other people's programs and our web server: it counts, holds and cuts.

It passes on the request's `Host` and all of its headers, and changes nothing in what is answered.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientSession, ClientTimeout, web

PIECE = 4096
OF_ONE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})


@dataclass(slots=True)
class Asked:
    """A request that passed: what was asked, and what was answered. `sent` counts the bytes of the body."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0
    over: bool = False


@dataclass(slots=True)
class Cut:
    """A cut through the next answer for a path: after so many bytes the connection ends, and `then` is done before
    anything else is answered."""

    ending: str
    after: int
    then: Callable[[], Awaitable[None]]
    made: asyncio.Event = field(default_factory=asyncio.Event)


class Gate:
    """The proxy. Before it is told where it leads to, it answers 502."""

    def __init__(self, http: ClientSession, asked: list[Asked]) -> None:
        self.asked = asked
        self.address = ""
        self._http = http
        self._target = ""
        self._cut: Cut | None = None
        self._came = asyncio.Condition()
        self._open = asyncio.Event()
        self._open.set()

    @classmethod
    @asynccontextmanager
    async def open(cls, asked: list[Asked] | None = None) -> AsyncIterator["Gate"]:
        """Listen on a free port of loopback. Two gates may keep one list of requests."""
        async with ClientSession(auto_decompress=False, timeout=ClientTimeout(total=None)) as http:
            gate = cls(http, [] if asked is None else asked)
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", gate._handle)
            runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                gate.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield gate
            finally:
                await runner.cleanup()

    def leads_to(self, address: str) -> None:
        self._target = address

    def cut(self, ending: str, after: int, then: Callable[[], Awaitable[None]]) -> Cut:
        """Cut the next answer that gets so far, of a GET whose path ends like this."""
        self._cut = Cut(ending, after, then)
        return self._cut

    def of(self, ending: str, method: str = "GET") -> list[Asked]:
        """Return the requests for paths that end like this."""
        return [asked for asked in self.asked if asked.path.endswith(ending) and asked.method == method]

    async def reached(self, ending: str) -> None:
        """Wait until somebody asks for a path that ends like this."""
        async with self._came:
            await self._came.wait_for(lambda: self.of(ending))

    def statuses(self, ending: str) -> list[int]:
        return [asked.status for asked in self.of(ending)]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        await self._open.wait()
        asked = Asked(request.method, request.path, dict(request.headers))
        self.asked.append(asked)
        async with self._came:
            self._came.notify_all()
        if not self._target:
            asked.status = 502
            return web.Response(status=502)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in OF_ONE_CONNECTION}
        skipped = ("User-Agent", "Accept-Encoding", "Accept")  # or aiohttp adds its own
        try:
            async with self._http.request(
                request.method,
                self._target + request.raw_path,
                headers=headers,
                allow_redirects=False,
                skip_auto_headers=skipped,
            ) as answer:
                asked.status = answer.status
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in OF_ONE_CONNECTION}
                response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=kept)
                await response.prepare(request)
                cut = self._cut_of(asked)
                async for piece in answer.content.iter_chunked(PIECE):
                    # Not by a probe: yt-dlp asks for a file, and leaves after its first bytes.
                    if cut is not None and self._cut is cut and asked.sent + len(piece) > cut.after:
                        await response.write(piece[: cut.after - asked.sent])  # fails where the client has left
                        self._cut = None
                        asked.sent = cut.after
                        await self._make(cut, request)
                        return response
                    await response.write(piece)
                    asked.sent += len(piece)
                await response.write_eof()
                return response
        finally:
            asked.over = True

    def _cut_of(self, asked: Asked) -> Cut | None:
        cut = self._cut
        if cut is None or asked.method != "GET" or not asked.path.endswith(cut.ending):
            return None
        return cut

    async def _make(self, cut: Cut, request: web.Request) -> None:
        self._open.clear()
        try:
            await cut.then()
            if request.transport is not None:
                request.transport.close()  # sends what was written
        finally:
            cut.made.set()
            self._open.set()
