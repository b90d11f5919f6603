"""Source clients: each sends sound over a connection of its own, which becomes a broadcast.

The password is a studio's token. The one check is asked when a source comes and every few seconds while it stays; when
the right ends, its connection does.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from bot.feeds.addresses import TOKEN
from bot.settings import Settings
from bot.studio.life import is_held, may_resume
from bot.web import icecast, respond
from bot.web.access import Verdict
from bot.web.claims import AddressClaims
from bot.web.icecast import ENDED, IN_USE, LATER, LENGTH, MALFORMED, NOT_FOUND, OK, WRONG, Head, Mounts, Reply
from bot.web.taken_over import TakenOver
from storage.errors import StoreError
from storage.records import Studio, StudioId, StudioSource, StudioState
from storage.store import Store

if TYPE_CHECKING:
    from bot.audio.ffmpeg import Ffmpeg
    from bot.web.source_work import SourceWork

log = logging.getLogger(__name__)

HEAD_WITHIN_S = 15.0
MOST_SOURCES = 32
STOP_WITHIN_S = 2.0


class Sources:
    """All source clients of one server. `transferring` counts a connection among the downloads."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        claims: AddressClaims,
        transferring: Callable[[], AbstractContextManager[bool]],
        clock: Callable[[], datetime],
        ffmpeg: "Ffmpeg | None" = None,
        mounts: Mounts | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._claims = claims
        self._transferring = transferring
        self._clock = clock
        self._ffmpeg = ffmpeg
        self._mounts = mounts or Mounts()
        self._work: SourceWork | None = None
        self._on_air: set[StudioId] = set()
        self._running: dict[asyncio.Task[None], TakenOver] = {}
        self._stopping = False

    @property
    def running(self) -> int:
        """The number of connections of sources."""
        return len(self._running)

    def take(
        self, transport: asyncio.Transport, first: bytes, let_in: Callable[[], None], ended: Callable[[], None]
    ) -> TakenOver:
        """Take a connection whose first bytes are a source's. `let_in` is called when it may broadcast, `ended` when it
        is done with."""
        connection = TakenOver(transport, first)
        task = asyncio.create_task(self._serve(connection, let_in))
        self._running[task] = connection

        def done(task: asyncio.Task[None]) -> None:
            del self._running[task]
            connection.close()
            ended()
            if not task.cancelled() and (error := task.exception()) is not None:
                frame = traceback.extract_tb(error.__traceback__)[-1]  # messages may hold what a stranger sent
                where = f"{Path(frame.filename).name}:{frame.lineno}"
                log.error("a source failed: %s in %s at %s", type(error).__name__, frame.name, where)

        task.add_done_callback(done)
        return connection

    async def stop(self) -> None:
        """Break all sources off: they are paused, and may come back."""
        self._stopping = True
        for connection in list(self._running.values()):
            connection.end(ConnectionAbortedError())
        waiting = list(self._running)
        if waiting:
            await asyncio.wait(waiting, timeout=STOP_WITHIN_S)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        if self._work is not None:
            await self._work.stop()

    async def metadata(self, request: web.BaseRequest) -> web.Response:
        """Answer the update of a song's title, as Icecast does."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        found = await self._studio_of(icecast.password_of(headers))
        if isinstance(found, Reply):
            return respond.short(found.status, found.phrase, **found.headers)
        return web.Response(text=icecast.METADATA, content_type="text/xml", headers=respond.UNKEPT)

    # ---- one source

    async def _serve(self, connection: TakenOver, let_in: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(HEAD_WITHIN_S):
                head = await _head_of(connection)
        except (TimeoutError, ConnectionError):
            return
        try:
            found = await self._found(head)
        except StoreError as error:
            log.warning("a source was put off: %s", error)
            found = LATER
        if isinstance(found, Reply):
            connection.write(icecast.answer(found))
            return
        assert head is not None
        assert head.password is not None
        with self._taken(found) as has_place:
            if not has_place:
                connection.write(icecast.answer(LATER))
                return
            let_in()
            if head.expects:
                connection.write(icecast.CONTINUE)
            elif not head.is_answered_at_its_end:
                connection.write(icecast.answer(OK))
            told = await self._working().broadcast(found, head.password, connection, head)
        if head.is_answered_at_its_end:
            connection.write(icecast.answer(told or OK))

    def _working(self) -> "SourceWork":
        if self._work is None:
            from bot.web.source_work import SourceWork  # here, for it takes memory that `aircheck web` need not spend

            self._work = SourceWork(self._store, self._settings, self._claims, self._clock, self._ffmpeg)
        return self._work

    async def _found(self, head: Head | None) -> Studio | Reply:
        if head is None:
            return MALFORMED
        if head.path not in self._mounts:
            return NOT_FOUND
        found = await self._studio_of(head.password)
        if isinstance(found, Reply):
            return found
        if head.has_lost_its_sound:
            return LENGTH
        now = self._clock()
        if found.id in self._on_air or (self._store.shared and is_held(found, now)):
            return IN_USE
        if found.state is StudioState.PAUSED and not may_resume(found, now):
            return LATER
        return found

    async def _studio_of(self, password: str | None) -> Studio | Reply:
        """Return the studio of a password, if its member may broadcast now."""
        if password is None or not TOKEN.fullmatch(password):
            return WRONG
        access = await self._claims.studio(password, StudioSource.CLIENT)
        studio = access.claim.studio
        if studio is None or studio.source is not StudioSource.CLIENT:
            return WRONG
        if studio.state is StudioState.OVER:
            return ENDED
        match access.verdict:
            case Verdict.OPEN:
                return ENDED if self._is_expired(studio) else studio
            case Verdict.LATER:
                return LATER
            case _:
                return ENDED

    def _is_expired(self, studio: Studio) -> bool:
        """Return whether a broadcast that began has been silent for longer than its recording waits."""
        if not studio.state.is_on_air:
            return False
        recording = self._settings.recording
        away = recording.paused_for_s if studio.state is StudioState.PAUSED else recording.abandoned_after_s
        return self._clock() >= (studio.heard_at or studio.made_at) + timedelta(seconds=away)

    @contextmanager
    def _taken(self, studio: Studio) -> Iterator[bool]:
        """Keep the studio from other sources in the block; yields False where there are too many sources."""
        if self._stopping or studio.id in self._on_air or len(self._on_air) >= MOST_SOURCES:
            yield False
            return
        self._on_air.add(studio.id)
        try:
            with self._transferring() as has_place:
                yield has_place
        finally:
            self._on_air.discard(studio.id)


async def _head_of(connection: TakenOver) -> Head | None:
    """Read the request; None for what is none. Raises ConnectionError."""
    data = b""
    while (end := icecast.END_OF_HEAD.search(data)) is None:
        if len(data) > icecast.MOST_HEAD:
            return None
        block = await connection.read()
        if not block:
            raise ConnectionResetError
        data += block
    if end.start() > icecast.MOST_HEAD:
        return None
    connection.put_back(data[end.end() :])
    return icecast.read_head(data[: end.start()])
