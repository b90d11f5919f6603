"""Source clients on the air: the sound of each, and what becomes of its broadcast when the source goes.

A source that breaks off is paused for as long as any broadcast may be; one that closes its connection may have crashed
as well, and is stopped when it does not come back soon. One that ends its sound, as the format or the request tells, is
stopped at once.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime

from bot.audio.continuous import sound_of
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.opus_arriving import MOST_PAGE, Stretch, ends_ogg
from bot.errors import AircheckError, GiveUp
from bot.settings import Settings
from bot.studio.broadcasting import Broadcasting, Pace, TooLongError
from bot.studio.life import Problem
from bot.studio.writing import StudioRefusedError, Writing
from bot.web.access import Verdict
from bot.web.claims import AddressClaims
from bot.web.icecast import ENDED, IN_USE, LATER, NO_SOUND, Body, Dechunker, Head, Reply
from bot.web.taken_over import TakenOver
from storage import studios
from storage.errors import StoreError
from storage.records import SAMPLE_RATE, Studio, StudioId, StudioSource, StudioState
from storage.store import Store

log = logging.getLogger(__name__)

SILENT_S = 30.0
"""Seconds without a byte after which a source is taken to be gone."""
SOUNDLESS_S = 120.0
"""The same without sound in what comes: a source has one of few places."""
RIGHT_EVERY_S = 3.0
CLOSED_FOR_S = 120.0
"""Seconds in which a source that closed its connection may come back."""
LEAD_S = 30.0
"""Seconds of sound that a source may send ahead of real time, such as what it kept while it was away."""


MOST_BYTES_A_SECOND = 2_000_000
"""Bytes a second that a source may send, whatever is in them: as many as a studio's page."""
RUSH_S = 5.0
"""Seconds of so many bytes that it may send at once."""


_NOT_OVER = {Problem.ELSEWHERE: IN_USE, Problem.TOO_FAST: LATER}
"""The problems that do not end a studio, and what its source is told."""


@dataclass(frozen=True, slots=True)
class _Stop:
    """The stop of a broadcast that is due, unless it changes before."""

    task: asyncio.Task[None]
    changes: int  # of its studio so far


class RightEndedError(Exception):
    """The end of the right to broadcast, while a source is on the air."""


class SourceWork:
    """The broadcasts of one server's source clients."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        claims: AddressClaims,
        clock: Callable[[], datetime],
        ffmpeg: Ffmpeg | None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._claims = claims
        self._writing = Writing(store, settings, clock)
        self._ffmpeg = ffmpeg
        self._closing: dict[StudioId, _Stop] = {}

    async def stop(self) -> None:
        """Forget which sources may still come back: they end as any pause does."""
        closing = [stop.task for stop in self._closing.values()]
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)

    async def broadcast(self, studio: Studio, password: str, connection: TakenOver, head: Head) -> Reply | None:
        """Broadcast until the source or its right ends; return what the source is told."""
        most = self._settings.recording.max_broadcast_s
        # The password is its client's alone; a name for each connection tells them apart.
        client = f"source-{secrets.token_hex(8)}"
        on_air = Broadcasting(self._store, self._writing, studio.id, client, most, takes_over=True)
        closing = self._closing.pop(studio.id, None)
        if closing is not None:
            closing.task.cancel()
        log.info("a source has come: room=%s studio=%d", studio.room_id, studio.id)
        try:
            return await self._until_it_goes(studio, password, on_air, _Sound(connection, head))
        except (RightEndedError, StudioRefusedError) as error:
            problem = error.problem if isinstance(error, StudioRefusedError) else Problem.OVER
            if problem in _NOT_OVER:
                return _NOT_OVER[problem]
            await self._end(studio)
            return ENDED
        except (StoreError, AircheckError) as error:
            log.error("a source was broken off: room=%s studio=%d: %s", studio.room_id, studio.id, error)
            return LATER
        finally:
            if closing is not None and studio.id not in self._closing:
                self._stop_after(studio, closing.changes)  # unless it was resumed meanwhile
            log.info("a source has gone: room=%s studio=%d slices=%d", studio.room_id, studio.id, on_air.number)

    async def _until_it_goes(self, studio: Studio, password: str, on_air: Broadcasting, body: "_Sound") -> Reply | None:
        try:
            await self._play_while_right(password, on_air, body)
        except (ConnectionError, TimeoutError):
            await on_air.pause()
            return None
        except GiveUp as error:
            log.warning("a source sends what is no sound: room=%s studio=%d: %s", studio.room_id, studio.id, error)
            await on_air.pause()
            return NO_SOUND
        except TooLongError:
            await on_air.stop()
            return ENDED
        if body.ended:
            await on_air.stop()
        else:
            await on_air.pause()
            await self._stop_soon(studio)
        return None

    async def _play_while_right(self, password: str, on_air: Broadcasting, body: "_Sound") -> None:
        ffmpeg, most = await self._find_ffmpeg(), self._settings.recording.max_broadcast_s
        playing = asyncio.create_task(self._play(on_air, body.of(ffmpeg, most)))
        watching = asyncio.create_task(self._watch_right(password, on_air))
        try:
            await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
            ended = playing if playing.done() else watching
        finally:
            for task in (playing, watching):
                task.cancel()
            await asyncio.gather(playing, watching, return_exceptions=True)
        await ended

    async def _play(self, on_air: Broadcasting, sound: AsyncGenerator[Stretch, None]) -> None:
        async with aclosing(sound):
            await on_air.play(sound, Pace(LEAD_S))

    async def _watch_right(self, password: str, on_air: Broadcasting) -> None:
        """Ask every few seconds whether the source may go on, and show other processes that it is there. Raises
        RightEndedError, StudioRefusedError.

        While a bot that has just begun reads its rooms' state, a source that had the right goes on: its broadcast ends
        if that state says so."""
        while True:
            await asyncio.sleep(RIGHT_EVERY_S)
            with suppress(StoreError):  # it is asked for again, and each slice asks too
                access = await self._claims.studio(password, StudioSource.CLIENT)
                studio = access.claim.studio
                if studio is None or studio.state is StudioState.OVER:
                    raise RightEndedError
                if access.verdict not in (Verdict.OPEN, Verdict.LATER):
                    raise RightEndedError
                if self._store.shared:
                    await on_air.hold()

    async def _end(self, studio: Studio, changes: int | None = None) -> None:
        """End the studio; with `changes` only if it has had no other since."""
        with suppress(StoreError):  # who watches over rights ends it then
            async with self._store.write() as db:
                now = await studios.get(db, studio.id)
                if now is not None and changes in (None, now.changes):
                    await self._writing.end(db, now)

    async def _stop_soon(self, studio: Studio) -> None:
        """Stop the broadcast if its source does not come back, to whichever process. What a restart of the bot forgets
        ends as any pause."""
        async with self._store.read() as db:
            paused = await studios.get(db, studio.id)
        if paused is not None and paused.state is StudioState.PAUSED:
            self._stop_after(studio, paused.changes)

    def _stop_after(self, studio: Studio, changes: int) -> None:
        """Stop it in a while, unless it has changed since it had so many changes."""

        async def stop() -> None:
            await asyncio.sleep(CLOSED_FOR_S)
            self._closing.pop(studio.id, None)
            await self._end(studio, changes)

        self._closing[studio.id] = _Stop(asyncio.create_task(stop()), changes)

    async def _find_ffmpeg(self) -> Ffmpeg:
        if self._ffmpeg is None:
            self._ffmpeg = await asyncio.to_thread(Ffmpeg.find, self._settings.audio.ffmpeg)
        return self._ffmpeg


class _Sound:
    """The sound in a source's request. `ended`: it has come to its own end, and did not only stop."""

    def __init__(self, connection: TakenOver, head: Head) -> None:
        self._connection = connection
        self._head = head
        self._pace = Pace(RUSH_S, catch_up_s=0.0)
        self._newest = b""  # the end of what came, as long as a page of Ogg may be
        self.ended = False

    async def of(self, ffmpeg: Ffmpeg, max_seconds: float) -> AsyncGenerator[Stretch, None]:
        """Yield the sound. Raises ConnectionError and TimeoutError where it breaks off, and GiveUp."""
        async with (
            aclosing(self._blocks()) as blocks,
            aclosing(sound_of(ffmpeg, blocks, max_seconds=max_seconds)) as sound,
        ):
            while True:
                async with asyncio.timeout(SOUNDLESS_S):
                    stretch = await anext(sound, None)
                if stretch is None:
                    return
                yield stretch

    async def _blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the sound. Raises ConnectionError and TimeoutError where it breaks off."""
        chunks, left = Dechunker(), self._head.size
        while not self.ended:
            async with asyncio.timeout(SILENT_S):
                data = await self._connection.read()
            if not data:
                if self._head.body is not Body.ENDLESS:
                    raise ConnectionResetError
                self.ended = ends_ogg(self._newest)
                return
            await self._pace.keep(len(data) * SAMPLE_RATE // MOST_BYTES_A_SECOND)
            match self._head.body:
                case Body.CHUNKED:
                    data = chunks.feed(data)
                    self.ended = chunks.ended
                case Body.SIZED:
                    data = data[:left]
                    left -= len(data)
                    self.ended = not left
            if data:
                self._newest = (self._newest + data)[-MOST_PAGE:]
                yield data
