"""The wait of a stand-by: `aircheck run` while another process owns the session in a database that both use.

It serves metrics, where `web.metrics_port` is set, and nothing else, and keeps no connection; it tries to become the
owner until it is, or is stopped. What follows is a start as after a crash.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime

from bot.errors import ConfigError, StartError
from bot.monitoring.endpoint import metrics_served
from bot.monitoring.waiting import WaitingMonitor
from bot.settings import Settings
from storage.errors import MediaHeldError, StoreBusyError, StoreError, StoreLockedError
from storage.place import Place
from storage.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5


class Stopped(Exception):
    """The end of a stand-by before its time came."""


async def own(place: Place, stop: asyncio.Event, settings: Settings, clock: Callable[[], datetime]) -> Store:
    """Become the owner of a store, once no other process is; the port of metrics is free again then. Raises Stopped,
    StartError."""
    async with AsyncExitStack() as waiting:
        opening = asyncio.create_task(_own(place, waiting, settings, clock))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                raise Stopped
            return opening.result()
        finally:
            stopped.cancel()
            opening.cancel()
            await asyncio.gather(opening, stopped, return_exceptions=True)


async def _own(place: Place, waiting: AsyncExitStack, settings: Settings, clock: Callable[[], datetime]) -> Store:
    """Try until this process is the owner; from the first refusal on, metrics are served in the block of `waiting`."""
    said = ""
    monitor = WaitingMonitor(settings, clock)
    while True:
        asked_at = clock()
        try:
            return await Store.own(place)
        except MediaHeldError as error:
            raise ConfigError(str(error)) from None
        except StoreError as error:
            waits = isinstance(error, StoreLockedError) or (said and isinstance(error, StoreBusyError))
            if place.database_url is None or not waits:
                raise StartError(str(error)) from None
            is_answer = isinstance(error, StoreLockedError)
            monitor.unanswered_since = None if is_answer else monitor.unanswered_since or asked_at
            if str(error) != said:
                log.warning("standing by: %s", error)
            if not said:
                await _serve_metrics(waiting, settings, monitor)
            said = str(error)
        await asyncio.sleep(LOOK_EVERY_S)


async def _serve_metrics(waiting: AsyncExitStack, settings: Settings, monitor: WaitingMonitor) -> None:
    """Serve metrics until the wait ends. The port may be the owner's, where both run on one machine."""
    try:
        await waiting.enter_async_context(metrics_served(settings.web, monitor))
    except ConfigError as error:
        log.warning("standing by without metrics: %s", error)
