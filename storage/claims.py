"""The claim under which a task writes: the job that it carries out, and which attempt at it.

A process that was paused, or cut off from the database, may wake when its job was given to another long ago. So each
write transaction of a job checks the claim first; writers take turns, so nobody can take the job during the
transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import select

from storage.database import Connection
from storage.errors import ClaimLostError
from storage.records import Job, JobId, JobState
from storage.tables import jobs

_held: ContextVar[tuple[JobId, int] | None] = ContextVar("claim", default=None)  # job and attempt


@contextmanager
def holding(job: Job) -> Iterator[None]:
    """Write, in this task and those that it starts, as the attempt at this job that `jobs.claim` has given."""
    token = _held.set((job.id, job.attempts + 1))
    try:
        yield
    finally:
        _held.reset(token)


async def check(db: Connection) -> None:
    """Raise ClaimLostError unless the job of this task, if there is one, still is this attempt's."""
    claim = _held.get()
    if claim is None:
        return
    ours = jobs.c.id == claim[0], jobs.c.state == JobState.RUNNING, jobs.c.attempts == claim[1]
    if (await db.execute(select(jobs.c.id).where(*ours))).first() is None:
        raise ClaimLostError
