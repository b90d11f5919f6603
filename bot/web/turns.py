"""Turns at work that takes much CPU: few at a time, a short queue, and every client has its share of them.

Clients take turns, so that one who asks for a whole archive at once delays the others by one piece of work only.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_ONCE = 2
MOST_WAITING = 64
MOST_WAITING_OF_ONE = 16
"""Pieces of work of one client that wait. Whoever is not known, as behind an unnamed proxy, may be many."""


class TooManyWait(Exception):
    """No turn: the queue is full, or this client's part of it."""


class Turns:
    """The turns. Clients are named as `bot.web.clients` names them; None: not known."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = at_once
        self._waiting: OrderedDict[str | None, deque[asyncio.Future[None]]] = OrderedDict()  # whose turn is next first

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, client: str | None) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while the block runs. Raises TooManyWait at once."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, client: str | None) -> None:
        mine = self._waiting.get(client, ())
        if self.waiting >= MOST_WAITING or (client is not None and len(mine) >= MOST_WAITING_OF_ONE):
            raise TooManyWait
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the turn to the first of the client that has waited longest for one."""
        while self._waiting:
            client, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns  # behind the others
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
