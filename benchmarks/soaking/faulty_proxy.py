"""An HTTP proxy on loopback between the bot and its homeserver, which can be made to fail."""

import asyncio
import itertools
from collections import Counter

import aiohttp
from aiohttp import web
from yarl import URL

from benchmarks.soaking.faults import Fault

RETRY_AFTER_MS = 500
LOST_AT_MOST = 3  # media that are not found, each time that they are requested
PIECE = 8 * 1024
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "te", "upgrade", "date", "server"})
MEDIA = ("/_matrix/client/v1/media/download/", "/_matrix/media/v3/download/")
OVERLOADED = "<html><body><h1>overloaded</h1></body></html>"


class FaultyProxy:
    """A proxy that forwards everything while `fault` is None. `met`: how many requests met a fault."""

    def __init__(self, homeserver: str) -> None:
        self.fault: Fault | None = None
        self.met: Counter[Fault] = Counter()
        self.address = ""
        self._homeserver = homeserver
        self._lost: set[str] = set()
        self._statuses = itertools.cycle((502, 503))

    async def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        self._http = aiohttp.ClientSession(auto_decompress=False, timeout=timeout)
        server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()
        await self._http.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        match self.fault:
            case Fault.LIMITED:
                self.met[Fault.LIMITED] += 1
                body = {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": RETRY_AFTER_MS}
                return web.json_response(body, status=429)
            case Fault.BROKEN:
                self.met[Fault.BROKEN] += 1
                return web.Response(status=next(self._statuses), text=OVERLOADED, content_type="text/html")
            case Fault.HANGING:
                self.met[Fault.HANGING] += 1
                await asyncio.Event().wait()  # until the other side gives up
            case Fault.LOST if path.startswith(MEDIA) and path not in self._lost and len(self._lost) < LOST_AT_MOST:
                self.met[Fault.LOST] += 1
                self._lost.add(path)
                return web.json_response({"errcode": "M_NOT_FOUND"}, status=404)
        return await self._forward(request, path)

    async def _forward(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        url = URL(self._homeserver + path, encoded=True)
        body = await request.read()
        try:
            async with self._http.request(
                request.method, url, data=body or None, headers=headers, allow_redirects=False
            ) as answer:
                return await self._pass_on(request, answer, is_media=path.startswith(MEDIA))
        except aiohttp.ClientError:
            return web.Response(status=502, text=OVERLOADED, content_type="text/html")

    async def _pass_on(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, *, is_media: bool
    ) -> web.StreamResponse:
        if self.fault is Fault.CUT and not is_media:
            self.met[Fault.CUT] += 1
            return _cut(request, web.Response())
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        passed = web.StreamResponse(status=answer.status, headers=headers)
        await passed.prepare(request)
        half = (answer.content_length or 0) // 2
        given = 0
        async for piece in answer.content.iter_chunked(PIECE):
            if self.fault is Fault.CUT and given + len(piece) > half:
                self.met[Fault.CUT] += 1
                await passed.write(piece[: max(0, half - given)])
                return _cut(request, passed)
            await passed.write(piece)
            given += len(piece)
        await passed.write_eof()
        return passed


def _cut(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
    """Cut the connection in the middle of an answer."""
    if request.transport is not None:
        request.transport.close()  # what was written is still sent
    return answer
