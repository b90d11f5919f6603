"""A proxy between the bot and the homeserver that answers as a test tells it to."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

Trouble = Callable[[web.Request], web.Response | None]
HOP_BY_HOP = {"connection", "content-length", "content-encoding", "host", "transfer-encoding", "keep-alive"}
LARGEST = 64 * 1024 * 1024


def none(_: web.Request) -> web.Response | None:
    return None


class Between:
    """The proxy: passes requests on unless `trouble` answers them. A closed `gate` holds all answers back."""

    def __init__(self, homeserver: str) -> None:
        self.trouble: Trouble = none
        self.troubled: Counter[str] = Counter()  # by path
        self.gate = asyncio.Event()
        self.gate.set()
        self.news = asyncio.Condition()
        self.address = ""
        self._homeserver = homeserver

    async def handle(self, request: web.Request, http: aiohttp.ClientSession) -> web.StreamResponse:
        answer = self.trouble(request)
        if answer is not None:
            async with self.news:
                self.troubled[request.path] += 1
                self.news.notify_all()
            return answer
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        url = f"{self._homeserver}{request.rel_url}"
        try:
            async with http.request(request.method, url, data=body, headers=headers, allow_redirects=False) as told:
                data = await told.read()
                await self.gate.wait()
                kept = {name: value for name, value in told.headers.items() if name.lower() not in HOP_BY_HOP}
                return web.Response(status=told.status, body=data, headers=kept)
        except aiohttp.ClientError:
            return web.Response(status=502)

    async def until(self, number: int) -> None:
        """Wait until this many requests met trouble."""
        async with self.news:
            while self.troubled.total() < number:
                await self.news.wait()


@asynccontextmanager
async def between(homeserver: str) -> AsyncIterator[Between]:
    made = Between(homeserver)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as http:

        async def handle(request: web.Request) -> web.StreamResponse:
            return await made.handle(request, http)

        app = web.Application(client_max_size=LARGEST)
        app.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield made
        finally:
            made.gate.set()
            await runner.cleanup()
