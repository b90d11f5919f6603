"""The composition root: builds the parts, starts them in order, stops them in reverse.

The web server starts first, so that feeds are served while calls are recovered; then the worker, before the homeserver
is there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from bot import descriptors, language, memory, standby
from bot.audio.ffmpeg import Ffmpeg
from bot.calls.engine import Engine
from bot.commands.grammar import Grammar
from bot.errors import ConfigError, StartError, TryLater
from bot.handlers import Parts, handlers_of
from bot.intake import calls
from bot.intake.intake import Intake
from bot.keeper import Keeper
from bot.matrix.keys import Keys
from bot.matrix.session import Session
from bot.monitoring.endpoint import monitored
from bot.monitoring.gauges import Probes
from bot.process import Clock, cancel, end, failure, stop_signals, until, utc_now, watch
from bot.profiling import FILE_NAME, profiled
from bot.recorder import Recorder, limits_of
from bot.settings import Settings
from bot.web.binding import free_port
from bot.web.server import WebServer
from bot.worker.keeping_floor import KeepingFloor
from bot.worker.keeping_wishes import KeepingWishes
from bot.worker.lanes import Worker
from bot.worker.membership import LostWorkers
from bot.worker.pinging import FeedChanges
from bot.worker.renewing import warn_of_another_secret
from storage import owner, secret
from storage.errors import MediaHeldError, StoreError
from storage.place import Place
from storage.records import UserId
from storage.store import Store

log = logging.getLogger(__name__)

DOWNLOADS_GRACE_S = 3.0
STORE_AGAIN_S = 60.0


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


@asynccontextmanager
async def running(
    settings: Settings, *, clock: Clock = utc_now, opens: Callable[[Place], Awaitable[Store]] | None = None
) -> AsyncIterator[Aircheck]:
    """Run all of Aircheck until the block ends. `opens` the store as its owner. Raises ConfigError, StartError."""
    settings = await _with_port(settings)
    language.configure(settings.feeds.language)
    log.info("up to %d files may be open", descriptors.raise_limit())
    memory.give_back_large_pieces()
    ffmpeg = await asyncio.to_thread(Ffmpeg.find, settings.audio.ffmpeg)
    async with AsyncExitStack() as stack:
        store = await (opens or _open)(settings.storage.place)
        stack.push_async_callback(store.close)
        aircheck = await _assemble(settings, store, ffmpeg, clock, stack)
        log.info("running: %s", aircheck.address)
        yield aircheck


async def run(settings: Settings, *, profile: bool = False) -> None:
    """Run until SIGTERM or SIGINT, as `aircheck run` does. Raises AircheckError."""
    stop = stop_signals()
    opens = partial(standby.own, stop=stop, settings=settings, clock=utc_now)
    profiling = profiled(settings.storage.path / FILE_NAME if profile else None)
    try:
        async with profiling, running(settings, opens=opens) as aircheck:
            await until(stop, aircheck.failed)
            log.info("stopping")
    except standby.Stopped:
        log.info("stopped while standing by")


async def _with_port(settings: Settings) -> Settings:
    """Replace `web.port: 0` by a free port: addresses are built from the settings before the server listens."""
    if settings.web.port:
        return settings
    port = await free_port(settings.web)
    return settings.model_copy(update={"web": settings.web.model_copy(update={"port": port})})


async def _open(place: Place) -> Store:
    try:
        return await Store.own(place)
    except MediaHeldError as error:
        raise ConfigError(str(error)) from None
    except StoreError as error:
        raise StartError(str(error)) from None


async def _assemble(settings: Settings, store: Store, ffmpeg: Ffmpeg, clock: Clock, stack: AsyncExitStack) -> Aircheck:
    try:
        await asyncio.to_thread(store.secret)
        await warn_of_another_secret(store)
    except StoreError as error:
        raise StartError(str(error)) from None
    failed = failure()
    stack.callback(lambda: failed.done() and failed.exception())  # else asyncio logs an error that nobody awaited
    us, keys = UserId(settings.matrix.user_id), Keys(clock, store.epoch)
    intake = Intake(
        store,
        us,
        decrypt=keys.open_sealed,
        grammar=Grammar(settings.commands.prefix, us),
        publishes=partial(settings.may_publish, mod=True),
        clock=clock,
    )
    session = Session(settings, settings.storage.path, intake, keys, clock, store.owns)
    stack.push_async_callback(cancel, watch(_guard(store, session), failed))
    recorder = Recorder(store, limits_of(settings), clock, hears=lambda: session.in_touch)
    web = WebServer(
        store, settings, freshness=session.ready.is_set, heard_at=lambda: session.heard_at, clock=clock, ffmpeg=ffmpeg
    )
    floors = KeepingFloor(store, session.sending, session.delayed, us=us, terms=settings.walkie, clock=clock)
    engine = await _calls(store, settings, session, recorder, clock)
    wishes = KeepingWishes(store, session.sending, us=us, apply=recorder.apply, clock=clock)
    try:
        await floors.begin()
        await wishes.begin()
    except StoreError as error:
        raise StartError(str(error)) from None
    session.before_sync = partial(_before_sync, floors, wishes)
    if store.shared:
        session.share_token = partial(_share_token, store)
    listened = web.listening.is_listened_anywhere
    parts = Parts(settings, store, ffmpeg, clock, intake, session, recorder, floors, wishes, engine, listened)
    worker = Worker(store, handlers_of(parts), clock)
    probes = _probes(store, session, web, worker, engine, wishes)
    monitor = await stack.enter_async_context(monitored(settings, store, clock, probes))
    await web.start(report=monitor.report)
    stack.push_async_callback(web.stop)
    if engine is not None:
        await _recover_calls(engine)  # before a job can end one of them
    await worker.start()
    stack.push_async_callback(worker.stop, DOWNLOADS_GRACE_S)
    if store.shared:
        stack.push_async_callback(cancel, watch(LostWorkers(store, clock).run(), failed))
    keeper = Keeper(store, clock, settings.retention)
    stack.push_async_callback(cancel, watch(store.follow(), failed))
    parts_of_store: list[Recorder | Keeper | FeedChanges] = [recorder, keeper]
    if settings.web.websub_hub is not None:
        parts_of_store.append(FeedChanges(store, clock))
    for part in parts_of_store:
        stack.push_async_callback(end, watch(part.run(), failed), part.stop)
    stack.push_async_callback(_end_session, watch(_hear(store, session, intake, engine), failed), session)
    if engine is not None:
        stack.push_async_callback(engine.stop)
    return Aircheck(store, session, worker, web, failed)


async def _guard(store: Store, session: Session) -> None:
    """Break the session off when its ownership is lost. Raises OwnerLostError."""
    assert store.ownership is not None
    store.ownership.heard_at = lambda: session.heard_at
    await asyncio.wait({store.ownership.lost})
    store.database.abandon()
    await session.wire.cut()
    store.ownership.lost.result()


async def _note_ready(store: Store) -> None:
    """Tell the processes beside this one that the rooms' state was read. Raises StoreError."""
    if store.epoch is not None:
        async with store.write() as db:
            await owner.note_ready(db, store.epoch)


async def _share_token(store: Store, token: str | None) -> None:
    """Write down the token with which other processes download media. Raises TryLater."""
    try:
        async with store.write() as db:
            await secret.save(db, secret.MEDIA_TOKEN, token.encode() if token is not None else None)
    except StoreError as error:
        raise TryLater(f"the access token can't be shared: {error}") from None


async def _before_sync(floors: KeepingFloor, wishes: KeepingWishes) -> None:
    """Do what must be done before anything is heard. What fails is tried again by its job."""
    await wishes.read_first()
    await floors.put_first_right()


def _probes(
    store: Store, session: Session, web: WebServer, worker: Worker, engine: Engine | None, wishes: KeepingWishes
) -> Probes:
    return Probes(
        works=lambda: worker.healthy,
        owns=lambda: store.ownership is not None and store.ownership.holds(),
        heard_at=lambda: session.heard_at,
        refused=lambda: session.refused,
        wishes_troubled_since=lambda: wishes.troubled_since,
        calls=(lambda: engine.running) if engine is not None else None,
        unwritten_since=lambda: engine.unwritten_since if engine is not None else None,
        connections=lambda: (web.connections, web.most_connections),
        streams=lambda: web.streams,
    )


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


async def _hear(store: Store, session: Session, intake: Intake, engine: Engine | None) -> None:
    """Run the session; after its first sync, have calls looked at, all state read anew and encrypted events tried
    again."""
    catching_up = asyncio.create_task(_catch_up(store, session, intake, engine))
    try:
        await session.run()
    finally:
        catching_up.cancel()
        (ended,) = await asyncio.gather(catching_up, return_exceptions=True)
        if isinstance(ended, Exception):
            log.error("work after the first sync failed (%s)", type(ended).__name__, exc_info=ended)


async def _catch_up(store: Store, session: Session, intake: Intake, engine: Engine | None) -> None:
    await session.ready.wait()
    steps: list[Callable[[], Awaitable[object]]] = [partial(_note_ready, store)]
    if engine is not None:
        steps.append(engine.after_first_sync)
    for step in (*steps, intake.ask_for_state, intake.open_all):
        while True:
            try:
                await step()
                break
            except StoreError as error:
                log.error("store unavailable, retrying in %.0f s: %s", STORE_AGAIN_S, error)
                await asyncio.sleep(STORE_AGAIN_S)


async def _end_session(task: asyncio.Task[None], session: Session) -> None:
    await session.stop()
    await asyncio.gather(task, return_exceptions=True)
