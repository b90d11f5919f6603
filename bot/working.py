"""The composition of `aircheck work`: a process beside the bot that carries out the orders which any process may take.

It needs the database, the media store, and the homeserver for downloads alone: with the bot's access token, which the
bot keeps in the database.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from bot import descriptors, language, memory
from bot.audio.ffmpeg import Ffmpeg
from bot.errors import StartError
from bot.matrix.media import FetchedMedia, Media
from bot.matrix.wire import Wire
from bot.monitoring.endpoint import monitored
from bot.monitoring.gauges import Probes
from bot.process import Clock, cancel, end_when_upgraded, failure, joined, stop_signals, until, utc_now, watch
from bot.profiling import file_beside, profiled
from bot.recorder import Recorder, limits_of
from bot.settings import Settings
from bot.sound_handlers import SoundParts, sound_handlers
from bot.worker.lanes import Beside, Worker
from bot.worker.membership import Membership, scratch_of
from storage import live_listening, secret
from storage.database import Connection
from storage.errors import StoreError
from storage.records import MediaSource, RecordingId
from storage.store import Store

log = logging.getLogger(__name__)

GRACE_S = 3.0
"""Seconds that jobs get to end at a stop; then they are put back."""


async def run(settings: Settings, jobs: int, *, profile: bool = False) -> None:
    """Run until SIGTERM or SIGINT, as `aircheck work` does. Raises AircheckError."""
    stop = stop_signals()
    profiling = profiled(file_beside(settings.storage.path, "work") if profile else None)
    async with profiling, working(settings, jobs) as failed:
        await until(stop, failed)
        log.info("stopping")


@asynccontextmanager
async def working(settings: Settings, jobs: int, *, clock: Clock = utc_now) -> AsyncIterator["asyncio.Future[None]"]:
    """Work until the block ends, on so many jobs of each lane at once; provide the future of the error that ends it.
    Raises ConfigError, StartError."""
    language.configure(settings.feeds.language)
    descriptors.raise_limit()
    memory.give_back_large_pieces()
    ffmpeg = await asyncio.to_thread(Ffmpeg.find, settings.audio.ffmpeg)
    async with AsyncExitStack() as stack:
        name = secrets.token_hex(8)
        store = await joined(settings, "aircheck work", scratch_of(settings.storage.path, name))
        stack.push_async_callback(store.close)
        membership = Membership(name, socket.gethostname(), store, clock)
        try:
            await membership.begin()
        except (StoreError, OSError) as error:
            raise StartError(str(error)) from None
        stack.push_async_callback(membership.end)
        failed = failure()
        stack.callback(lambda: failed.done() and failed.exception())
        stack.push_async_callback(cancel, watch(membership.run(), failed))
        stack.push_async_callback(cancel, watch(end_when_upgraded(store), failed))
        downloads = Downloads(store, settings.matrix.homeserver)
        stack.push_async_callback(downloads.close)
        recorder = Recorder(store, limits_of(settings), clock)
        listened = partial(_listened, clock)
        parts = SoundParts(settings, store, ffmpeg, clock, downloads.get, recorder.apply, listened)
        worker = Worker(store, sound_handlers(parts), clock, Beside(name, jobs))
        await stack.enter_async_context(monitored(settings, store, clock, Probes(works=lambda: worker.healthy)))
        await worker.start()
        stack.push_async_callback(worker.stop, GRACE_S)
        stack.push_async_callback(cancel, watch(store.follow(), failed))
        log.info("working: up to %d jobs of a kind at once, as %s", jobs, name)
        yield failed


async def _listened(clock: Clock, db: Connection, recording_id: RecordingId) -> bool:
    return await live_listening.is_listened(db, recording_id, clock())


class Downloads:
    """Downloads of media with the token of the bot, as it is in the database then."""

    def __init__(self, store: Store, homeserver: str) -> None:
        self._store = store
        self._wire = Wire(homeserver)
        self._media = Media(self._wire)

    async def get(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        """Stream media to a file, decrypted. Raises TryLater, also while the bot has no token, and GiveUp."""
        async with self._store.read() as db:
            token = await secret.get(db, secret.MEDIA_TOKEN)
        self._wire.token = token.decode() if token is not None else None
        return await self._media.fetch_media(source, part, max_bytes=max_bytes)

    async def close(self) -> None:
        await self._wire.close()
