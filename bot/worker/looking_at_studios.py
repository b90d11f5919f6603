"""The end of studios whose member may not broadcast into their room any more."""

from collections.abc import Callable
from datetime import datetime

from bot import orders
from bot.studio import rights, writing
from storage import studios
from storage.records import Job
from storage.store import Store


class LookingAtStudios:
    """The handler of LookAtStudios orders. A broadcast that runs is stopped with what came so far."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        room_id = orders.LookAtStudios.of(job).room_id
        async with self._store.write() as db:
            for studio in await studios.open_in(db, room_id):
                if await rights.refusal(db, room_id, studio.user_id) is not None:
                    await writing.end(db, studio, self._clock())
