"""Requests for the floor that wait no longer: their reactions are taken away, and who asked by a command is told when
the floor is theirs. Both were ordered with the request, for the end of its waiting."""

from datetime import datetime, timedelta

from bot import orders, topics
from storage import jobs
from storage.database import Connection
from storage.records import Floor

WAITS_AT_MOST = timedelta(days=1)
"""The time after which a reaction that asks for the floor is taken away in any case."""


async def settle(db: Connection, before: Floor, after: Floor, now: datetime) -> None:
    """Do what was ordered for the requests that waited before a change of the floor, and wait no longer."""
    waiting = {request.event_id for request in after.queue}
    for request in before.queue:
        if request.event_id in waiting:
            continue
        await jobs.hasten(db, orders.TakeAway.about(request.event_id), now)
        told = orders.Notice.about(topics.floor_given(request.event_id))
        if after.request == request.event_id:
            await jobs.hasten(db, told, now)
        else:
            await jobs.cancel(db, [told])
