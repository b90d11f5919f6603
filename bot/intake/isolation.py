"""Guards around the parts of a batch: unguarded, a failing part fails the batch; isolated, it is left out alone."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from storage.database import Connection, apart, is_trouble
from storage.records import EventId, RoomId

log = logging.getLogger(__name__)

Guard = Callable[[Connection, RoomId, EventId | None], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def unguarded(_: Connection, __: RoomId, ___: EventId | None) -> AsyncIterator[None]:
    """Let a failing part fail the whole batch."""
    yield


@asynccontextmanager
async def isolated(db: Connection, room_id: RoomId, event_id: EventId | None) -> AsyncIterator[None]:
    """Leave out a part that fails, and name it in the log. Raises StoreError."""
    try:
        async with apart(db):
            yield
    except Exception as error:
        if is_trouble(error):
            raise
        # The error's text may hold the content of an event.
        log.error("event ignored after an error: room=%s event=%s (%s)", room_id, event_id, type(error).__name__)
