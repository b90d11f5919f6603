"""Slots for child processes: two run at once, only one of them a long one; second tries run alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress

from bot.errors import TryLater

QUIET_S = 60.0  # the longest time that a second try waits for all others to end


class Slots:
    """Two slots, first come, first served. Only one of them may hold a child with hours of sound, so that long files
    keep no short one waiting."""

    def __init__(self) -> None:
        self._any = asyncio.Semaphore(2)
        self._long = asyncio.Semaphore(1)
        self._first_tries = 0  # that run or wait
        self._quiet = asyncio.Event()
        self.retrying = False

    @property
    def idle(self) -> bool:
        """Whether no first try runs or waits."""
        return not self._first_tries

    @asynccontextmanager
    async def first(self, *, long: bool = False) -> AsyncIterator[None]:
        """Hold a slot for the first try at a file."""
        self._first_tries += 1
        self._quiet.clear()
        try:
            async with self._long if long else nullcontext(), self._any:
                yield
        finally:
            self._first_tries -= 1
            if not self._first_tries:
                self._quiet.set()

    @asynccontextmanager
    async def retry(self, *, long: bool = False) -> AsyncIterator[None]:
        """Hold a slot for a file that hit a limit: once no first try runs or waits, or after QUIET_S. First tries that
        come later use the other slot.

        Raises TryLater while another file is tried again: retries must never fill both slots.
        """
        if self.retrying:
            raise TryLater("another chunk is tried again", after_s=QUIET_S / 6)
        self.retrying = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIET_S):
                    while self._first_tries:
                        await self._quiet.wait()
            async with self._long if long else nullcontext(), self._any:
                yield
        finally:
            self.retrying = False
