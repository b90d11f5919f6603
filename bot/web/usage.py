"""The uses of personal addresses: when each was last used, and by which app. Never from where.

They are kept in memory and written together once a minute: each commit makes the caches read anew.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from bot.check.fetching import AGENT
from storage import listener_uses
from storage.errors import StoreError
from storage.records import Listener, ListenerUse, RoomId, UserId
from storage.store import Store

log = logging.getLogger(__name__)

WRITE_EVERY_S = 60.0
NOTED_EACH = timedelta(hours=1)
"""An address that is used all the time is noted so often."""
MOST_NOTED = 10_000
"""Addresses that are remembered as noted; more than a bot has, in any room."""
BROWSER = "browser"
"""The name that every web browser gives itself stands for this one."""
APP = re.compile(r"[A-Za-z][A-Za-z0-9 ._+-]{0,39}")


class Usage:
    """The uses of personal addresses since they were last written."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._noted: dict[tuple[RoomId, UserId], ListenerUse] = {}
        self._waiting: dict[tuple[RoomId, UserId], ListenerUse] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, listener: Listener, user_agent: str) -> None:
        """Note that an open address was used now, unless by the check of the bot's own feed."""
        if user_agent == AGENT:
            return
        key, app = (listener.room_id, listener.user_id), app_of(user_agent)
        now, before = self._clock(), self._noted.get(key)
        if before is not None and before.app == app and timedelta(0) <= now - before.used_at < NOTED_EACH:
            return
        if len(self._noted) >= MOST_NOTED:
            self._noted.clear()
        self._noted[key] = self._waiting[key] = ListenerUse(*key, now, app)

    def start(self) -> None:
        self._writing = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what waits, and end."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None
        with suppress(StoreError):
            await self.write()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write()
            except StoreError as error:
                log.error("uses of personal addresses could not be written, trying again: %s", error)

    async def write(self) -> None:
        """Write the uses that wait. Raises StoreError; they wait on then."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            async with self._store.write() as db:
                await listener_uses.save(db, waiting.values())
        except StoreError:
            self._waiting = waiting | self._waiting
            raise


def app_of(user_agent: str) -> str:
    """Return the name that an app gives itself in the header User-Agent (RFC 9110, section 10.1.5): its first product,
    `browser` for a web browser; empty where it gives none."""
    name = APP.match(user_agent)
    if name is None:
        return ""
    return BROWSER if name[0].startswith("Mozilla") else name[0].strip(" .+-")
