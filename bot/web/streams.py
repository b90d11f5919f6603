"""The endless MP3: a broadcast from its live edge on, for players that know nothing of playlists."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from bot.audio.hls import BEHIND, SEGMENT, Listing
from bot.web import respond
from bot.web.access import Access, Verdict
from bot.web.connections import Transferring
from bot.web.on_air import OnAir, Tuner

log = logging.getLogger(__name__)

MOST = 400  # at once
MOST_OF_A_LISTENER = 4  # at one personal address: a player that lost its connection may have an old one still
STUCK_S = 30.0  # so long may a client take nothing
LINE_BYTES = 64 * 1024  # of a client in the kernel, which would else keep megabytes for one that doesn't read
GONE_FOR = timedelta(seconds=30)  # so long is waited for frames that are made anew
LOOK_S = 1.0
HEADERS = {
    "Content-Type": "audio/mpeg",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would write it to its disk for who has paused
}

Again = Callable[[], Awaitable[Access]]


class Streams:
    """So many of them at most; each looks once a second whether a segment is due and may still be heard."""

    def __init__(self, tuner: Tuner, clock: Callable[[], datetime], transferring: Transferring) -> None:
        self._tuner = tuner
        self._transferring = transferring
        self._clock = clock
        self._open: Counter[str] = Counter()  # by listener; all of the public under one
        self._stopping = asyncio.Event()

    @property
    def running(self) -> int:
        return self._open.total()

    def stop(self) -> None:
        """All of them end."""
        self._stopping.set()

    async def answer(
        self, request: web.BaseRequest, access: Access, found: OnAir, again: Again
    ) -> web.StreamResponse | None:
        """The stream, until it ends; None when the broadcast has. `again` asks for the access as it is then."""
        if found.finished is not None:
            return None
        listener = access.claim.listener
        who = listener.token_sha256 if listener is not None else ""
        if self.running >= MOST or (who and self._open[who] >= MOST_OF_A_LISTENER):
            return respond.later()
        with self._transferring() as admitted:
            return (
                await self._stream(request, access, found.recording.code, again, who) if admitted else respond.later()
            )

    async def _stream(
        self, request: web.BaseRequest, access: Access, code: str, again: Again, who: str
    ) -> web.StreamResponse:
        headers = {**respond.OF_FAMILY[access.claim.family], **HEADERS}
        response = web.StreamResponse(headers=headers)
        response.force_close()
        self._open[who] += 1
        try:
            await response.prepare(request)
            _bound(request)
            if request.method != "HEAD":
                await self._send(request, response, code, again)
        except ConnectionError:
            log.debug("a listener hung up")
        except TimeoutError:
            log.info("a listener takes no sound: the connection is closed")
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._open -= Counter([who])  # and no name stays without a stream
        return response

    async def _send(self, request: web.BaseRequest, response: web.StreamResponse, code: str, again: Again) -> None:
        """Segment after segment, each asked for anew. Raises ConnectionError, or TimeoutError for who takes nothing."""
        well_at = self._clock()
        place = _Place(well_at - (BEHIND - 1) * SEGMENT)
        while not self._stopping.is_set() and request.transport is not None and not request.transport.is_closing():
            access = await again()
            if access.verdict is not Verdict.OPEN:
                break
            found, now, frames = await self._tuner.find(access, code), self._clock(), None
            if found is not None:
                air = found.at(now)
                if place.is_behind(air):
                    break
                if count := place.due(air, now):
                    frames = await self._tuner.frames(found, place.segment, count)
                else:
                    well_at = now
            if frames is not None:
                async with asyncio.timeout(STUCK_S):
                    await response.write(frames)
                place.go_on(now)
                well_at = now
            elif now - well_at > GONE_FOR:
                break
            else:
                await self._pause()
        await response.write_eof()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._stopping.wait()


def _bound(request: web.BaseRequest) -> None:
    """Who takes nothing is noticed soon, and costs little until then."""
    line = request.get_extra_info("socket")
    if line is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINE_BYTES)


@dataclass(slots=True)
class _Place:
    """How far a stream is. A player takes four segments when it comes, and never more than that at once: at the end of
    the broadcast, when all is listed, it would not keep up."""

    next_at: datetime
    segment: int = -1  # to be sent next; none before it begins

    def due(self, air: Listing, now: datetime) -> int:
        """How many frames are to be sent now."""
        if self.segment < 0 and air.segments and air.ripe:
            self.segment = max(0, air.segments - BEHIND)
        return air.frames_of(self.segment) if self.segment >= 0 and self.next_at <= now else 0

    def is_behind(self, air: Listing) -> bool:
        """All was sent that there ever is."""
        return air.ended and self.segment >= air.segments

    def go_on(self, now: datetime) -> None:
        self.segment += 1
        self.next_at = max(self.next_at, now - (BEHIND - 1) * SEGMENT) + SEGMENT
