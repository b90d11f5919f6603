"""The processes beside the bot that carry out jobs: each has a row while it lives, with a lease that it renews.

Times are the database's. The bot takes back the jobs of workers whose lease has ended.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from storage import jobs
from storage.database import Connection
from storage.dialect import clock
from storage.rows import columns, put, record
from storage.tables import workers

LEASE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process that carries out jobs. `until` is the end of its lease."""

    id: str
    host: str
    since: datetime
    until: datetime


async def enter(db: Connection, worker_id: str, host: str) -> None:
    """Put a worker on the list."""
    now = await clock(db)
    await put(db, workers, columns(WorkerProcess(worker_id, host, now, now + LEASE)))


async def renew(db: Connection, worker_id: str) -> bool:
    """Renew a worker's lease; return False when it is not on the list any more."""
    mine = update(workers).where(workers.c.id == worker_id)
    return (await db.execute(mine.values(until=await clock(db) + LEASE))).rowcount > 0


async def leave(db: Connection, worker_id: str, now: datetime) -> None:
    """Take a worker that ends off the list, and make the jobs ready again that it has not finished. `now` is its own
    clock."""
    await db.execute(delete(workers).where(workers.c.id == worker_id))
    await jobs.recover(db, now, of_bot=False)


async def expired(db: Connection) -> tuple[WorkerProcess, ...]:
    """Return the workers whose lease has ended."""
    rows = await db.execute(select(workers).where(workers.c.until < await clock(db)))
    return tuple(record(WorkerProcess, row) for row in rows)


async def take_off(db: Connection, gone: Collection[WorkerProcess], now: datetime) -> int:
    """Take workers off the list that have not renewed their lease meanwhile, and make the jobs ready again of workers
    that are not on it; return how many. `now` is the bot's clock."""
    names = [worker.id for worker in gone]
    await db.execute(delete(workers).where(workers.c.id.in_(names), workers.c.until < await clock(db)))
    return await jobs.recover(db, now, of_bot=False)


async def present(db: Connection) -> tuple[WorkerProcess, ...]:
    """Return the workers on the list, the oldest first."""
    rows = await db.execute(select(workers).order_by(workers.c.since, workers.c.id))
    return tuple(record(WorkerProcess, row) for row in rows)
