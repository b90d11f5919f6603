"""Work of calls that is done one piece after the other, on the path of no other work."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from bot.errors import AircheckError
from storage import claims

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


class Serial:
    """Work in its order, in a task that lives as long as there is any. `most` pieces wait at once; `what` names the
    work in the log. An error ends its piece alone."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._waiting: deque[Work] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, work: Work) -> bool:
        """Have a piece of work done behind all others; False: too much waits, and it is left out."""
        if len(self._waiting) >= self._most:
            log.warning("left out, since too much waits: %s", self._what)
            return False
        self._waiting.append(work)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=self._what, context=claims.of_no_job())
        return True

    async def done(self) -> None:
        """Wait until nothing waits."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    def drop(self) -> None:
        """Leave out what waits. What runs is brought to its end."""
        self._waiting.clear()

    async def _run(self) -> None:
        while self._waiting:
            try:
                await self._waiting.popleft()()
            except AircheckError as error:
                log.warning("failed: %s: %s", self._what, error.sentence)
            except Exception as error:
                # Without the error's text, which may hold what somebody sent.
                log.error("failed: %s (%s)", self._what, type(error).__name__)
