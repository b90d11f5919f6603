"""A room's current state, read from the homeserver."""

from collections.abc import Awaitable, Callable

from bot import orders
from bot.matrix.sending import Sending
from storage import journal
from storage.records import Job, Json, Position, RoomId
from storage.store import Store

TakeState = Callable[[RoomId, list[Json], Position], Awaitable[None]]
"""A function that stores a room's state, as it was when the journal stood at this position."""


class Refreshing:
    """The handler of Refresh orders."""

    def __init__(self, store: Store, sending: Sending, *, take_state: TakeState) -> None:
        self._store = store
        self._sending = sending
        self._take_state = take_state

    async def __call__(self, job: Job) -> None:
        room_id = orders.Refresh.of(job).room_id
        async with self._store.read() as db:
            asked_at = await journal.position(db)
        await self._take_state(room_id, await self._sending.room_state(room_id), asked_at)
