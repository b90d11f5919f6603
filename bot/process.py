"""The life of a process: its store beside a running bot, parts that are watched while they run, and its end."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot import memory
from bot.errors import ConfigError, StartError
from bot.settings import Settings
from storage.errors import StoreError, StoreTooNewError
from storage.store import Store

log = logging.getLogger(__name__)

VERSION_EVERY_S = 5.0

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def failure() -> "asyncio.Future[None]":
    """Return a future for the error that ends the program."""
    return asyncio.get_running_loop().create_future()


def stop_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def until(stop: asyncio.Event, failed: "asyncio.Future[None]") -> None:
    """Wait for the stop; raise the error that ends the program before it."""
    stopped = asyncio.create_task(stop.wait())
    ends: set[asyncio.Future[Any]] = {stopped, failed}
    with memory.searched_briefly():
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if failed.done():
        await failed


def watch(part: Coroutine[Any, Any, None], failed: "asyncio.Future[None]") -> asyncio.Task[None]:
    """Run a part as a task; its error ends the program."""
    task = asyncio.create_task(part)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not failed.done():
            failed.set_exception(task.exception() or RuntimeError())

    task.add_done_callback(ended)
    return task


async def end(task: asyncio.Task[None], stop: Callable[[], None]) -> None:
    """Have a part stop, and wait for its end."""
    stop()
    await asyncio.gather(task, return_exceptions=True)


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def end_when_upgraded(store: Store) -> None:
    """Look every few seconds whether a newer version has upgraded the tables: this one would misread them. Raises
    StoreTooNewError."""
    while True:
        try:
            await store.refuse_upgraded()
        except StoreTooNewError:
            raise
        except StoreError as error:
            log.debug("the version of the tables can't be read: %s", error)
        await asyncio.sleep(VERSION_EVERY_S)


async def joined(settings: Settings, command: str, scratch: Path | None = None) -> Store:
    """Open the store beside its owner, as `Store.join`. Raises ConfigError where its database has no room for that, and
    StartError."""
    if settings.storage.database_url is None:
        raise ConfigError(
            f"storage.database_url: `{command}` works beside a running bot, which needs PostgreSQL; SQLite has one"
            " process of everything"
        )
    try:
        return await Store.join(settings.storage.place, scratch)
    except StoreError as error:
        raise StartError(str(error)) from None
