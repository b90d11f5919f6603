"""The state of the bot beside which this process serves, as the row of the store's owner has it."""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime

from storage import owner
from storage.errors import StoreError
from storage.owner import Owner
from storage.store import Store

log = logging.getLogger(__name__)

OWNER = "owner"  # the table
LOOK_AT_LEAST_EVERY_S = 5.0
"""Seconds after which the row is read anyway: nobody is told when the homeserver was heard."""


class BotState:
    """The row as it was last read: after each commit to it, and every few seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read_at = -1  # the commit after which it was read
        self._owner: Owner | None = None
        self._fresh = False
        self._trouble = ""

    @property
    def fresh(self) -> bool:
        """Whether the bot that runs now, or ran not long ago, has read the rooms' state. While it is away nothing
        changes, as while the homeserver is away."""
        return self._fresh

    @property
    def heard_at(self) -> datetime | None:
        """When the homeserver last answered the bot."""
        return self._owner.heard_at if self._owner is not None else None

    @property
    def reachable(self) -> bool:
        """Whether the database could be read the last time."""
        return not self._trouble

    async def look(self) -> None:
        """Read the row. Raises StoreError."""
        self._read_at = self._store.changes.of(OWNER)
        async with self._store.read() as db:
            self._owner = await owner.last(db)
            self._fresh = self._owner is not None and await owner.knows(db, self._owner)

    async def run(self) -> None:
        """Read the row whenever it may have changed, until cancelled."""
        with self._store.changes.subscribe() as changed:
            while True:
                changed.clear()
                try:
                    await self.look()
                    if self._trouble:
                        log.info("the database can be used again")
                    self._trouble = ""
                except StoreError as error:
                    if str(error) != self._trouble:
                        log.error("the state of the bot can't be read: %s", error)
                    self._trouble = str(error)
                await self._wait(changed)

    async def _wait(self, changed: asyncio.Event) -> None:
        """Wait for a commit to the row, at most for some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AT_LEAST_EVERY_S):
                while self._read_at == self._store.changes.of(OWNER):
                    changed.clear()
                    await changed.wait()
