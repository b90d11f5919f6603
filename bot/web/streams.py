"""The endless MP3: a live broadcast from its live edge on, for players that do not support playlists."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from bot.audio.grid import SEGMENT, Span, time_of
from bot.audio.hls import HOLD_BACK, Listing
from bot.web import respond, sockets
from bot.web.access import Access, Verdict
from bot.web.connections import Transferring
from bot.web.on_air import OnAir, Tuner

log = logging.getLogger(__name__)

MOST = 400
"""Streams at once."""
MOST_OF_A_LISTENER = 4
"""Streams of one personal address: a player that lost its connection may still have an old one."""
REBUILT_WITHIN = timedelta(seconds=30)
"""The time for which a stream waits for frames that are being made again."""
CHECK_EACH_S = 1.0
HEADERS = {
    "Content-Type": "audio/mpeg",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would write it to its disk while a player is paused
}

Recheck = Callable[[], Awaitable[Access]]


class Streams:
    """All running streams; each checks once a second whether its next segment is due and may still be heard."""

    def __init__(self, tuner: Tuner, clock: Callable[[], datetime], transferring: Transferring) -> None:
        self._tuner = tuner
        self._transferring = transferring
        self._clock = clock
        self._open: Counter[str] = Counter()  # by listener; all of public addresses under one
        self._stopping = asyncio.Event()

    @property
    def running(self) -> int:
        return self._open.total()

    def stop(self) -> None:
        """End all streams."""
        self._stopping.set()

    async def answer(
        self, request: web.BaseRequest, access: Access, on_air: OnAir, recheck: Recheck
    ) -> web.StreamResponse | None:
        """Stream a broadcast until it ends; None when it has ended. `recheck` gives the access as it is then."""
        if on_air.finished is not None:
            return None
        listener = access.claim.listener
        name = listener.token_sha256 if listener is not None else ""
        if self.running >= MOST or (name and self._open[name] >= MOST_OF_A_LISTENER):
            return respond.later()
        with self._transferring() as admitted:
            if not admitted:
                return respond.later()
            return await self._stream(request, access, on_air.recording.code, recheck, name)

    async def _stream(
        self, request: web.BaseRequest, access: Access, code: str, recheck: Recheck, listener: str
    ) -> web.StreamResponse:
        headers = {**respond.OF_FAMILY[access.claim.family], **HEADERS}
        response = web.StreamResponse(headers=headers)
        response.force_close()
        self._open[listener] += 1
        try:
            await response.prepare(request)
            sockets.limit_send_buffer(request.transport)
            if request.method != "HEAD":
                await self._send(request, response, code, recheck)
        except ConnectionError:
            log.debug("stream ended: the client disconnected")
        finally:
            self._open -= Counter([listener])  # this also drops names whose count is 0
        return response

    async def _send(self, request: web.BaseRequest, response: web.StreamResponse, code: str, recheck: Recheck) -> None:
        """Send segment after segment, checking the access before each. Raises ConnectionError."""
        well_at = self._clock()
        playhead = _Playhead(well_at - (HOLD_BACK - 1) * SEGMENT)
        while not self._stopping.is_set() and request.transport is not None and not request.transport.is_closing():
            access = await recheck()
            if access.verdict is not Verdict.OPEN:
                break
            on_air = await self._tuner.find(access, code, player=(code, id(response)))
            now, span, frames = self._clock(), None, None
            if on_air is not None:
                listing = on_air.at(now)
                if playhead.is_at_end(listing):
                    break
                span = playhead.due(listing, now)
                if span is not None:
                    frames = await self._tuner.frames(on_air, span)
                else:
                    well_at = now
            if span is not None and frames is not None:
                await response.write(frames)
                playhead.advance(now, span.frames)
                well_at = now
            elif now - well_at > REBUILT_WITHIN:
                break
            else:
                await self._pause()
        await response.write_eof()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_EACH_S):
                await self._stopping.wait()


@dataclass(slots=True)
class _Playhead:
    """The segment that a stream sends next, and when. A player gets four segments when it begins and never more at
    once: at the end of the broadcast, when all are listed, it could not keep up."""

    next_at: datetime
    segment: int = -1  # none before the stream begins

    def due(self, listing: Listing, now: datetime) -> Span | None:
        """Return the frames that are to be sent now."""
        if self.segment < 0 and listing.segments and listing.ripe:
            self.segment = max(0, listing.segments - HOLD_BACK)
        span = listing.span_of(self.segment) if self.segment >= 0 and self.next_at <= now else None
        return span if span is not None and span.frames else None

    def is_at_end(self, listing: Listing) -> bool:
        """Return whether everything was sent that there ever will be."""
        return listing.ended and self.segment >= listing.segments

    def advance(self, now: datetime, frames: int) -> None:
        self.segment += 1
        self.next_at = max(self.next_at, now - (HOLD_BACK - 1) * SEGMENT) + time_of(frames)
