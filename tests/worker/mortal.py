"""A homeserver at whose n-th request the process dies: before it is taken, or before its answer is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.world import Killed


class MortalHomeserver:
    """The requests that were made, and the one that kills: `left` is its number, `taken` whether it is carried out."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left: int | None = None
        self.taken = False

    @asynccontextmanager
    async def request(self, what: str) -> AsyncIterator[None]:
        self.asked.append(what)
        dies = len(self.asked) == self.left
        if dies and not self.taken:
            raise Killed
        yield
        if dies:
            raise Killed
