"""Two ways to take a batch: as a whole, or piece by piece, so that one bad piece costs no other."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from storage.database import Connection, apart, is_trouble
from storage.records import EventId, RoomId

log = logging.getLogger(__name__)

Part = Callable[[Connection, RoomId, EventId | None], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def as_whole(_: Connection, __: RoomId, ___: EventId | None) -> AsyncIterator[None]:
    """Let a part that fails take the whole batch with it."""
    yield


@asynccontextmanager
async def as_piece(db: Connection, room_id: RoomId, event_id: EventId | None) -> AsyncIterator[None]:
    """Leave a part out that can't be taken, and name it in the log. Raises StoreError."""
    try:
        async with apart(db):
            yield
    except Exception as error:
        if is_trouble(error):
            raise
        # The error's text may hold what somebody said.
        log.error("left out after an error: room=%s event=%s (%s)", room_id, event_id, type(error).__name__)
