"""Guards around the parts of a batch: without one a part that fails fails the batch, isolated it costs no other."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from storage.database import Connection, apart, is_trouble
from storage.records import EventId, RoomId

log = logging.getLogger(__name__)

Guard = Callable[[Connection, RoomId, EventId | None], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def unguarded(_: Connection, __: RoomId, ___: EventId | None) -> AsyncIterator[None]:
    """Let a part that fails take the whole batch with it."""
    yield


@asynccontextmanager
async def isolated(db: Connection, room_id: RoomId, event_id: EventId | None) -> AsyncIterator[None]:
    """Leave a part out that can't be taken, and name it in the log. Raises StoreError."""
    try:
        async with apart(db):
            yield
    except Exception as error:
        if is_trouble(error):
            raise
        # The error's text may hold what somebody said.
        log.error("left out after an error: room=%s event=%s (%s)", room_id, event_id, type(error).__name__)
