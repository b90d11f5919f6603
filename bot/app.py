"""The composition root: starts everything in order, stops it in reverse.

Web and workers start first, so that feeds are there without the homeserver.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bot import descriptors, orders
from bot.audio.ffmpeg import Ffmpeg
from bot.commands.handle import Commands
from bot.commands.parse import Heads, is_command
from bot.errors import StartError
from bot.feeds import addresses
from bot.intake.intake import Intake
from bot.keeper import Keeper
from bot.matrix.session import Session
from bot.recorder import Recorder
from bot.recording.policy import Limits
from bot.settings import Settings
from bot.web.binding import free_port
from bot.web.server import WebServer
from bot.worker.backfilling import Backfilling
from bot.worker.covering import Covering
from bot.worker.encoding import Encoding
from bot.worker.fetching import Fetched, Fetching
from bot.worker.finishing import Finishing
from bot.worker.forgetting import Forgetting
from bot.worker.importing import ImportingKeys
from bot.worker.lanes import Handler, Worker
from bot.worker.outbox import Outbox
from bot.worker.redactions import Redactions
from bot.worker.renewing import RenewingAddresses, warn_of_another_secret
from bot.worker.rereading import Rereading
from bot.worker.room_history import RoomHistory
from bot.worker.tracks import Tracks
from bot.worker.walking import Walking
from storage.errors import StoreError
from storage.records import JobKind, MediaSource, RecordingId, RoomId, UserId
from storage.store import Store

log = logging.getLogger(__name__)

DOWNLOADS_GRACE_S = 3.0
STORE_AGAIN_S = 60.0

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Aircheck:
    """Everything that runs. `failed` ends with the error that ends the program."""

    store: Store
    session: Session
    worker: Worker
    web: WebServer
    failed: "asyncio.Future[None]"

    @property
    def address(self) -> str:
        """Where the web server listens, as feeds and replies say it."""
        return self.web.address


def limits_of(settings: Settings) -> Limits:
    return Limits(**settings.recording.model_dump())


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock = utc_now) -> AsyncIterator[Aircheck]:
    """All of Aircheck, until the block ends. Raises ConfigError or StartError when it can't start."""
    settings = await _with_port(settings)
    log.info("up to %d files may be open", descriptors.raise_limit())
    ffmpeg = await asyncio.to_thread(Ffmpeg.find, settings.audio.ffmpeg)
    async with AsyncExitStack() as stack:
        store = await _open(settings)
        stack.push_async_callback(store.close)
        aircheck = await _assemble(settings, store, ffmpeg, clock, stack)
        log.info("running: %s", aircheck.address)
        yield aircheck


async def run(settings: Settings) -> None:
    """`aircheck run`: until SIGTERM or SIGINT. Raises AircheckError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as aircheck:
        # What is there by now stays. Else each full pass of the collector looks through it: all stands still for 0.1 s.
        gc.collect()
        gc.freeze()
        stopped = asyncio.create_task(stop.wait())
        ends: set[asyncio.Future[Any]] = {stopped, aircheck.failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if aircheck.failed.done():
            await aircheck.failed
        log.info("stopping")


async def _with_port(settings: Settings) -> Settings:
    """`web.port: 0` becomes a free port: addresses are built from the settings before the server listens."""
    if settings.web.port:
        return settings
    port = await free_port(settings.web)
    return settings.model_copy(update={"web": settings.web.model_copy(update={"port": port})})


async def _open(settings: Settings) -> Store:
    try:
        return await Store.own(settings.storage.path)
    except StoreError as error:
        raise StartError(str(error)) from None


async def _assemble(settings: Settings, store: Store, ffmpeg: Ffmpeg, clock: Clock, stack: AsyncExitStack) -> Aircheck:
    try:
        await asyncio.to_thread(store.secret)
        await warn_of_another_secret(store)
    except StoreError as error:
        raise StartError(str(error)) from None
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stack.callback(lambda: failed.done() and failed.exception())  # whoever runs us may have no use for it
    recorder = Recorder(store, limits_of(settings), clock, hears=lambda: session.in_touch)
    intake = Intake(
        store,
        UserId(settings.matrix.user_id),
        decrypt=lambda heard: session.keys.open_sealed(heard),
        is_command=lambda body, name: is_command(body, Heads(settings.commands.prefix, settings.matrix.user_id, name)),
        publishes=partial(settings.may_publish, mod=True),
        prefix=settings.commands.prefix,
        clock=clock,
    )
    session = Session(settings, settings.storage.path, intake, clock)
    handlers = _handlers(
        settings, store, ffmpeg, recorder, session, intake, clock, listened=lambda one: web.listened(one)
    )
    worker = Worker(store, handlers, clock)
    web = WebServer(
        store,
        settings,
        freshness=session.ready.is_set,
        health=lambda: worker.healthy,
        heard_at=lambda: session.heard_at,
        clock=clock,
    )
    await web.start()
    stack.push_async_callback(web.stop)
    await worker.start()
    stack.push_async_callback(worker.stop, DOWNLOADS_GRACE_S)
    keeper = Keeper(store, clock)
    listening = asyncio.create_task(store.database.listen())
    stack.push_async_callback(_cancel, listening)
    for part, stop in ((recorder.run(), recorder.stop), (keeper.run(), keeper.stop)):
        stack.push_async_callback(_end, _watch(part, failed), stop)
    stack.push_async_callback(_end_session, _watch(_hear(session, intake), failed), session)
    return Aircheck(store, session, worker, web, failed)


def _handlers(
    settings: Settings,
    store: Store,
    ffmpeg: Ffmpeg,
    recorder: Recorder,
    session: Session,
    intake: Intake,
    clock: Clock,
    *,
    listened: Callable[[RecordingId], bool],
) -> dict[JobKind, Handler]:
    """Who does which kind of job."""

    async def download(source: MediaSource, part: Path, max_bytes: int) -> Fetched:
        return await session.media.fetch_media(source, part, max_bytes=max_bytes)

    def personal(room_id: RoomId, user_id: UserId, generation: int) -> tuple[str, str]:
        token = addresses.token_for(store.secret(), room_id, user_id, generation)
        shelf = addresses.personal_shelf(settings.web.address, token)
        return shelf.feed, shelf.page

    backfilling = Backfilling(store, RoomHistory(session), adopt=recorder.adopt, clock=clock)
    covering = Covering(store, ffmpeg, download=download, clock=clock)
    tracks = Tracks(store, settings, ffmpeg, clock)
    outbox = Outbox(
        store,
        session.sending,
        us=session.user_id,
        invites=settings.matrix.invites,
        addresses=personal,
        take_state=intake.refresh,
        prefix=settings.commands.prefix,
        clock=clock,
    )
    return {
        orders.Fetch.kind: Fetching(store, settings, ffmpeg, download=download, apply=recorder.apply, clock=clock),
        orders.Encode.kind: Encoding(store, tracks, clock, listened=listened),
        orders.Finish.kind: Finishing(store, settings, tracks, cover=covering.of, apply=recorder.apply, clock=clock),
        orders.Cover.kind: covering,
        orders.Walk.kind: Walking(store, RoomHistory(session), intake, clock=clock),
        orders.Reread.kind: Rereading(store, RoomHistory(session), session.user_id, clock=clock),
        orders.Redaction.kind: Redactions(store, RoomHistory(session), clock=clock),
        orders.Backfill.kind: backfilling,
        orders.RenewAddresses.kind: RenewingAddresses(store),
        orders.ImportKeys.kind: ImportingKeys(session, open_all=intake.open_all),
        orders.Forget.kind: Forgetting(store),
        orders.Tick.kind: recorder.tick,
        orders.End.kind: recorder.end,
        orders.Notice.kind: outbox.notice,
        orders.Direct.kind: outbox.direct,
        orders.Invite.kind: outbox.invite,
        orders.Refresh.kind: outbox.refresh,
        orders.Command.kind: Commands(store, settings, store.secret, clock).handle,
    }


async def _hear(session: Session, intake: Intake) -> None:
    """The session, and once it hears: state is read anew, and kept events are tried with keys that came."""
    opening = asyncio.create_task(_catch_up(session, intake))
    try:
        await session.run()
    finally:
        opening.cancel()
        (ended,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(ended, Exception):
            log.error("what follows the first sync was not done (%s)", type(ended).__name__, exc_info=ended)


async def _catch_up(session: Session, intake: Intake) -> None:
    await session.ready.wait()
    for step in (intake.ask_for_state, intake.open_all):
        while True:
            try:
                await step()
                break
            except StoreError as error:
                log.error("the store is waited for: %s", error)
                await asyncio.sleep(STORE_AGAIN_S)


def _watch(part: Coroutine[Any, Any, None], failed: "asyncio.Future[None]") -> asyncio.Task[None]:
    """Runs a part; its error is the program's."""
    task = asyncio.create_task(part)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not failed.done():
            failed.set_exception(task.exception() or RuntimeError())

    task.add_done_callback(ended)
    return task


async def _end(task: asyncio.Task[None], stop: Callable[[], None]) -> None:
    stop()
    await asyncio.gather(task, return_exceptions=True)


async def _end_session(task: asyncio.Task[None], session: Session) -> None:
    await session.stop()
    await asyncio.gather(task, return_exceptions=True)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
