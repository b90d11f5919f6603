"""The endless MP3: a broadcast from its live edge on, for players that know nothing of playlists."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from aiohttp import web

from bot.audio.hls import BEHIND, SEGMENT
from bot.web import respond
from bot.web.access import Access, Verdict
from bot.web.on_air import OnAir, Tuner

log = logging.getLogger(__name__)

MOST = 100  # at once
MOST_OF_A_LISTENER = 4  # at one personal address: a player that lost its connection may have an old one still
STUCK_S = 30.0  # so long may a client take nothing
GONE_FOR = timedelta(seconds=30)  # so long is waited for frames that are made anew
LOOK_S = 1.0

Again = Callable[[], Awaitable[Access]]


class Streams:
    """At most a hundred of them; each looks once a second whether a segment is due and may still be heard."""

    def __init__(self, tuner: Tuner, clock: Callable[[], datetime], look_s: float = LOOK_S) -> None:
        self._tuner = tuner
        self._clock = clock
        self._look_s = look_s
        self._open: Counter[str] = Counter()  # by listener; all of the public under one
        self._stopping = asyncio.Event()

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
        if self._open.total() >= MOST or (who and self._open[who] >= MOST_OF_A_LISTENER):
            return respond.later()
        headers = {**respond.OF_FAMILY[access.claim.family], "Content-Type": "audio/mpeg", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        response.force_close()
        self._open[who] += 1
        try:
            await response.prepare(request)
            if request.method != "HEAD":
                await self._send(request, response, found.recording.code, again)
        except ConnectionError:
            log.debug("a listener hung up")
        except TimeoutError:
            log.info("a listener takes no sound: the connection is closed")
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._open[who] -= 1
        return response

    async def _send(self, request: web.BaseRequest, response: web.StreamResponse, code: str, again: Again) -> None:
        """Segment after segment, each asked for anew. Raises ConnectionError, or TimeoutError for who takes nothing."""
        number: int | None = None
        seen_at = self._clock()
        # A player takes what is there when it comes; at the end it gets no more at once than at the beginning.
        next_at = seen_at - (BEHIND - 1) * SEGMENT
        while not self._stopping.is_set() and request.transport is not None and not request.transport.is_closing():
            access = await again()
            if access.verdict is not Verdict.OPEN:
                break
            found, now = await self._tuner.find(access, code), self._clock()
            frames = None
            if found is not None:
                air = found.at(now)
                if number is None and air.segments:
                    number = max(0, air.segments - BEHIND)
                if air.ended and (number or 0) >= air.segments:
                    break
                seen_at = now
                if number is not None and next_at <= now and (count := air.frames_of(number)):
                    frames = await self._tuner.frames(found, number, count)
            elif now - seen_at > GONE_FOR:
                break
            if frames is None or number is None:
                await self._pause()
                continue
            async with asyncio.timeout(STUCK_S):
                await response.write(frames)
            number += 1
            next_at = max(next_at, now - (BEHIND - 1) * SEGMENT) + SEGMENT
        await response.write_eof()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._look_s):
                await self._stopping.wait()
