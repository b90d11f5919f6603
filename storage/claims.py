"""The claim under which a task writes: the job that it carries out, and which attempt at it.

A process that was paused, or cut off from the database, may wake when its job was given to another long ago. So each
write transaction of a job checks the claim first; writers take turns, so nobody can take the job during the
transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass

from sqlalchemy import select

from storage.database import Connection
from storage.errors import ClaimLostError
from storage.records import Job, JobId, JobState
from storage.tables import jobs


@dataclass(eq=False, slots=True)
class _Claim:
    job: JobId
    attempt: int
    over: bool = False


_held: ContextVar[_Claim | None] = ContextVar("claim", default=None)


@contextmanager
def holding(job: Job) -> Iterator[None]:
    """Write, in this task and those that it starts, as the attempt at this job that `jobs.claim` has given. What goes
    on after an attempt that came to its end, such as a call that it began, is of no job from then on."""
    claim = _Claim(job.id, job.attempts + 1)
    token = _held.set(claim)
    try:
        yield
        claim.over = True
    finally:
        _held.reset(token)


def of_no_job() -> Context:
    """Return a context for a task that a job may start, and that is no part of it."""
    context = copy_context()
    context.run(_held.set, None)
    return context


async def check(db: Connection) -> None:
    """Raise ClaimLostError unless the job of this task, if there is one, still is this attempt's."""
    claim = _held.get()
    if claim is None or claim.over:
        return
    ours = jobs.c.id == claim.job, jobs.c.state == JobState.RUNNING, jobs.c.attempts == claim.attempt
    if (await db.execute(select(jobs.c.id).where(*ours))).first() is None and not claim.over:
        raise ClaimLostError
