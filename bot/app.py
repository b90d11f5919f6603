"""The composition root: builds the parts, starts them in order, stops them in reverse.

The web server starts first, so that feeds are served while calls are recovered; then the worker, before the homeserver
is there.
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
from typing import Any

from bot import descriptors, language
from bot.audio.ffmpeg import Ffmpeg
from bot.calls.engine import Engine
from bot.commands.grammar import Grammar
from bot.errors import StartError
from bot.handlers import Parts, handlers_of
from bot.intake import calls
from bot.intake.intake import Intake
from bot.keeper import Keeper
from bot.matrix.keys import Keys
from bot.matrix.session import Session
from bot.recorder import Recorder
from bot.recording.policy import Limits
from bot.settings import Settings
from bot.web.binding import free_port
from bot.web.server import WebServer
from bot.worker.keeping_floor import KeepingFloor
from bot.worker.lanes import Worker
from bot.worker.renewing import warn_of_another_secret
from storage.errors import StoreError
from storage.records import UserId
from storage.store import Store

log = logging.getLogger(__name__)

DOWNLOADS_GRACE_S = 3.0
STORE_AGAIN_S = 60.0

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Aircheck:
    """The running program. `failed` ends with the error that ends it."""

    store: Store
    session: Session
    worker: Worker
    web: WebServer
    failed: "asyncio.Future[None]"

    @property
    def address(self) -> str:
        """The web server's address, as feeds and replies say it."""
        return self.web.address


def limits_of(settings: Settings) -> Limits:
    return Limits(**settings.recording.model_dump())


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock = utc_now) -> AsyncIterator[Aircheck]:
    """Run all of Aircheck until the block ends. Raises ConfigError, StartError."""
    settings = await _with_port(settings)
    language.configure(settings.feeds.language)
    log.info("up to %d files may be open", descriptors.raise_limit())
    ffmpeg = await asyncio.to_thread(Ffmpeg.find, settings.audio.ffmpeg)
    async with AsyncExitStack() as stack:
        store = await _open(settings)
        stack.push_async_callback(store.close)
        aircheck = await _assemble(settings, store, ffmpeg, clock, stack)
        log.info("running: %s", aircheck.address)
        yield aircheck


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, as `aircheck run` does. Raises AircheckError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as aircheck:
        # Objects that exist by now stay. Unless frozen, each full garbage collection walks them and blocks for 0.1 s.
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
    """Replace `web.port: 0` by a free port: addresses are built from the settings before the server listens."""
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
    stack.callback(lambda: failed.done() and failed.exception())  # else asyncio logs an error that nobody awaited
    us, keys = UserId(settings.matrix.user_id), Keys(clock)
    intake = Intake(
        store,
        us,
        decrypt=keys.open_sealed,
        grammar=Grammar(settings.commands.prefix, us),
        publishes=partial(settings.may_publish, mod=True),
        clock=clock,
    )
    session = Session(settings, settings.storage.path, intake, keys, clock)
    recorder = Recorder(store, limits_of(settings), clock, hears=lambda: session.in_touch)
    web = WebServer(store, settings, freshness=session.ready.is_set, heard_at=lambda: session.heard_at, clock=clock)
    floors = KeepingFloor(store, session.sending, session.delayed, us=us, terms=settings.walkie, clock=clock)
    engine = await _calls(store, settings, session, recorder, clock)
    try:
        await floors.begin()
    except StoreError as error:
        raise StartError(str(error)) from None
    session.before_sync = floors.put_first_right
    parts = Parts(settings, store, ffmpeg, clock, intake, session, recorder, floors, engine, listened=web.listened)
    worker = Worker(store, handlers_of(parts), clock)
    await web.start(health=lambda: worker.healthy)
    stack.push_async_callback(web.stop)
    if engine is not None:
        await _recover_calls(engine)  # before a job can end one of them
    await worker.start()
    stack.push_async_callback(worker.stop, DOWNLOADS_GRACE_S)
    keeper = Keeper(store, clock, settings.retention)
    listening = asyncio.create_task(store.database.listen())
    stack.push_async_callback(_cancel, listening)
    for part, stop in ((recorder.run(), recorder.stop), (keeper.run(), keeper.stop)):
        stack.push_async_callback(_end, _watch(part, failed), stop)
    stack.push_async_callback(_end_session, _watch(_hear(session, intake, engine), failed), session)
    if engine is not None:
        stack.push_async_callback(engine.stop)
    return Aircheck(store, session, worker, web, failed)


async def _calls(store: Store, settings: Settings, session: Session, recorder: Recorder, clock: Clock) -> Engine | None:
    """Make the engine of calls, where the program was installed with what it needs."""
    if not calls.installed():
        return None
    from bot.calls.joining import engine_of

    return await engine_of(store, settings, session, calling=recorder.calling, apply=recorder.apply, clock=clock)


async def _recover_calls(engine: Engine) -> None:
    """Keep what the process before left of calls. What fails, as on a full disk, keeps the bot from nothing else."""
    try:
        await engine.begin()
    except (OSError, StoreError) as error:
        log.error("calls can't be recovered, trying again after the first sync: %s", error)


async def _hear(session: Session, intake: Intake, engine: Engine | None) -> None:
    """Run the session; after its first sync, have calls looked at, all state read anew and encrypted events tried
    again."""
    catching_up = asyncio.create_task(_catch_up(session, intake, engine))
    try:
        await session.run()
    finally:
        catching_up.cancel()
        (ended,) = await asyncio.gather(catching_up, return_exceptions=True)
        if isinstance(ended, Exception):
            log.error("work after the first sync failed (%s)", type(ended).__name__, exc_info=ended)


async def _catch_up(session: Session, intake: Intake, engine: Engine | None) -> None:
    await session.ready.wait()
    for step in (*([engine.after_first_sync] if engine is not None else []), intake.ask_for_state, intake.open_all):
        while True:
            try:
                await step()
                break
            except StoreError as error:
                log.error("store unavailable, retrying in %.0f s: %s", STORE_AGAIN_S, error)
                await asyncio.sleep(STORE_AGAIN_S)


def _watch(part: Coroutine[Any, Any, None], failed: "asyncio.Future[None]") -> asyncio.Task[None]:
    """Run a part as a task; its error ends the program."""
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
