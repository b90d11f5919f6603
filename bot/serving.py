"""The composition of `aircheck web`: feeds, pages and sound beside a running bot, without its session and its jobs.

What it answers from memory it knows from the database: commits of other processes by notification, and whether the
rooms' state was read by the bot that runs now from the row of the store's owner.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bot import descriptors, language, memory
from bot.errors import StartError
from bot.monitoring.endpoint import monitored
from bot.monitoring.gauges import Probes
from bot.process import Clock, cancel, end_when_upgraded, failure, joined, stop_signals, until, utc_now, watch
from bot.profiling import file_beside, profiled
from bot.settings import Settings
from bot.web.bot_state import BotState
from bot.web.server import WebServer
from storage import public_urls
from storage.errors import StoreError
from storage.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """The running web server. `failed` ends with the error that ends it."""

    store: Store
    web: WebServer
    failed: "asyncio.Future[None]"


async def run(settings: Settings, *, profile: bool = False) -> None:
    """Run until SIGTERM or SIGINT, as `aircheck web` does. Raises AircheckError."""
    stop = stop_signals()
    profiling = profiled(file_beside(settings.storage.path, "web") if profile else None)
    async with profiling, serving(settings) as server:
        await until(stop, server.failed)
        log.info("stopping")


@asynccontextmanager
async def serving(settings: Settings, *, clock: Clock = utc_now) -> AsyncIterator[Serving]:
    """Serve until the block ends. Raises ConfigError, StartError."""
    language.configure(settings.feeds.language)
    memory.give_back_large_pieces()
    async with AsyncExitStack() as stack:
        store = await joined(settings, "aircheck web")
        stack.push_async_callback(store.close)
        log.info("up to %d files may be open", descriptors.raise_limit())
        failed = failure()
        stack.callback(lambda: failed.done() and failed.exception())
        state = BotState(store)
        try:
            async with store.read() as db:
                address = await public_urls.last(db)
            await state.look()
        except StoreError as error:
            raise StartError(str(error)) from None
        address = settings.web.public_url or address or settings.web.address
        web = WebServer(
            store, settings, freshness=lambda: state.fresh, heard_at=lambda: state.heard_at, clock=clock, beside=address
        )
        stack.push_async_callback(cancel, watch(store.follow(), failed))
        stack.push_async_callback(cancel, watch(state.run(), failed))
        stack.push_async_callback(cancel, watch(end_when_upgraded(store), failed))
        probes = Probes(
            works=lambda: state.reachable,
            heard_at=lambda: state.heard_at,
            connections=lambda: (web.connections, web.most_connections),
            streams=lambda: web.streams,
        )
        monitor = await stack.enter_async_context(monitored(settings, store, clock, probes))
        await web.start(report=monitor.report)
        stack.push_async_callback(web.stop)
        log.info("serving: %s", web.address)
        yield Serving(store, web, failed)
