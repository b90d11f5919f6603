"""The two ways to take what was heard: as a whole, or piece by piece, where one bad piece costs no other."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from storage.database import Connection, apart, is_trouble
from storage.records import EventId, RoomId

log = logging.getLogger(__name__)

Part = Callable[[Connection, RoomId, EventId | None], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def as_whole(_: Connection, __: RoomId, ___: EventId | None) -> AsyncIterator[None]:
    """A part that fails takes the whole with it."""
    yield


@asynccontextmanager
async def as_piece(db: Connection, room_id: RoomId, event_id: EventId | None) -> AsyncIterator[None]:
    """A part that is left out, and named in the log, when it can't be taken. Raises StoreError."""
    try:
        async with apart(db):
            yield
    except Exception as error:
        if is_trouble(error):
            raise
        # The error's text may hold words.
        log.error("left out, for it can't be taken: room=%s event=%s (%s)", room_id, event_id, type(error).__name__)
