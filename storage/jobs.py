"""Jobs: work that is stored before it is done. A job runs at least once; its handler is safe to repeat."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)

from storage.database import Connection
from storage.dialect import Insert, insert
from storage.records import Job, JobId, JobKind, JobName, JobState, NewJob
from storage.rows import record
from storage.tables import jobs, workers

_running = jobs.alias("running")
_RUNS = _running.c.state == literal_column("'running'")  # no parameter: an index holds these rows alone
_FREE = ~exists().where(_RUNS, _running.c.kind == jobs.c.kind, _running.c.subject == jobs.c.subject)
"""A condition: no job of the same name runs. Two at once for one recording would make two episodes of it."""

_LOST = and_(jobs.c.worker.is_not(None), jobs.c.worker.not_in(select(workers.c.id)))
"""A condition: a worker beside the bot runs the job, and is not on the list. Nothing is in an empty list, not even the
missing name of a job that the bot runs itself."""

# ---- statements that each job needs, made once: to make one takes as long as to execute it

_DUE = (
    select(jobs)
    .where(
        jobs.c.state == JobState.READY,
        jobs.c.run_at <= bindparam("now"),
        jobs.c.kind.in_(bindparam("kinds", expanding=True)),
        _FREE,
    )
    .order_by(jobs.c.run_at, jobs.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)  # where writers come one after the other, nothing is locked
)
_DUE_BUT = _DUE.where(or_(jobs.c.turn.is_(None), jobs.c.turn.not_in(bindparam("passing", expanding=True))))
_CLAIM = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .values(state=JobState.RUNNING, attempts=jobs.c.attempts + 1, worker=bindparam("by"), changed_at=bindparam("now"))
)
_NEXT_OF_EACH = (
    select(jobs.c.kind, func.min(jobs.c.run_at).label("run_at"))
    .where(jobs.c.state == JobState.READY, _FREE)
    .group_by(jobs.c.kind)
)
_DONE = (
    update(jobs)
    .where(jobs.c.id == bindparam("of"))
    .values(state=JobState.DONE, error=None, payload={}, changed_at=bindparam("now"))
)


async def add(db: Connection, job: NewJob, now: datetime) -> bool:
    """Store a job; return False when it is once-only and was stored before (see NewJob)."""
    once_key = f"{job.kind}:{job.subject}" if job.once else None
    if once_key and (await db.execute(select(jobs.c.id).where(jobs.c.once_key == once_key))).first():
        return False
    values = {
        "kind": job.kind,
        "subject": job.subject,
        "payload": dict(job.payload),
        "state": JobState.READY,
        "run_at": job.run_at or now,
        "attempts": 0,
        "once_key": once_key,
        "changed_at": now,
        "turn": job.turn,
    }
    await db.execute(_joined(tuple(values), anew=bool(job.payload)), values)
    return True


@cache
def _joined(names: tuple[str, ...], *, anew: bool) -> Insert:
    """Return the statement that adds a job, or joins it to the one that waits, which runs at the earlier time. An empty
    payload does not replace an existing one."""
    statement = insert(jobs).values({name: bindparam(name) for name in names})
    given = statement.excluded
    earlier = case((jobs.c.run_at < given.run_at, jobs.c.run_at), else_=given.run_at)
    return statement.on_conflict_do_update(
        index_elements=["kind", "subject"],
        index_where=text("state = 'ready'"),
        set_={"run_at": earlier, **({"payload": given.payload} if anew else {})},
    )


async def claim(
    db: Connection,
    kinds: Collection[JobKind],
    now: datetime,
    limit: int,
    passing: Collection[str] = (),
    worker: str | None = None,
) -> tuple[Job, ...]:
    """Mark due jobs of these kinds as running and return them, the oldest first, without jobs of the turns in
    `passing`. `worker` runs them; None: the bot itself. Begun by `Store.claim`, claimers pass by each other's jobs."""
    wanted: dict[str, Any] = {"kinds": list(kinds), "now": now, "most": limit}
    due, those = (_DUE_BUT, {**wanted, "passing": list(passing)}) if passing else (_DUE, wanted)
    rows: list[Row[Any]] = list(await db.execute(due, those))
    if rows:
        await db.execute(_CLAIM, {"ids": [row.id for row in rows], "by": worker, "now": now})
    return tuple(record(Job, row) for row in rows)


def _not_of(turns: Collection[str]) -> list[ColumnElement[bool]]:
    return [or_(jobs.c.turn.is_(None), jobs.c.turn.not_in(list(turns)))] if turns else []


async def next_due(db: Connection, kinds: Collection[JobKind], passing: Collection[str] = ()) -> datetime | None:
    """Return when the next ready job of these kinds is due; a job whose namesake runs waits for its end."""
    ready = select(jobs.c.run_at).where(
        jobs.c.state == JobState.READY, jobs.c.kind.in_(list(kinds)), _FREE, *_not_of(passing)
    )
    statement = ready.order_by(jobs.c.run_at).limit(1)
    return (await db.execute(statement)).scalar_one_or_none()


async def next_of_each(db: Connection) -> dict[JobKind, datetime]:
    """Return when the next ready job of each kind is due, as `next_due`; kinds without a ready job are left out."""
    return {row.kind: row.run_at for row in await db.execute(_NEXT_OF_EACH)}


async def running_since(db: Connection) -> dict[JobKind, datetime]:
    """Return since when the job of each kind has run that has neither ended nor stored progress for longest."""
    running = select(jobs.c.kind, func.min(jobs.c.changed_at).label("since")).where(jobs.c.state == JobState.RUNNING)
    return {row.kind: row.since for row in await db.execute(running.group_by(jobs.c.kind))}


async def done(db: Connection, job_id: JobId, now: datetime) -> None:
    """Mark a job as done and delete its payload, which may hold texts and addresses."""
    await db.execute(_DONE, {"of": job_id, "now": now})


async def failed(db: Connection, job_id: JobId, error: str, now: datetime) -> None:
    """Mark a job as given up and delete its payload. `error` is a sentence without secrets."""
    values: dict[str, Any] = {"state": JobState.FAILED, "error": error, "payload": {}, "changed_at": now}
    await db.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


async def put_back(db: Connection, job: Job, error: str | None, run_at: datetime, now: datetime) -> None:
    """Make a job ready again at `run_at`. If a job of the same name was added meanwhile, keep that one only, at the
    earlier of the two times, with its own payload unless that is empty."""
    same = and_(jobs.c.kind == job.kind, jobs.c.subject == job.subject, jobs.c.state == JobState.READY)
    twin = (await db.execute(select(jobs.c.id, jobs.c.payload).where(same))).one_or_none()
    if twin is not None:
        earlier = case((jobs.c.run_at < run_at, jobs.c.run_at), else_=run_at)
        both = {"run_at": earlier, "payload": dict(twin.payload or job.payload)}
        await db.execute(update(jobs).where(jobs.c.id == twin.id).values(both))
        await done(db, job.id, now)
        return
    values = {"state": JobState.READY, "error": error, "run_at": run_at, "changed_at": now}
    await db.execute(update(jobs).where(jobs.c.id == job.id).values(**values))


async def note(db: Connection, job_id: JobId, progress: NewJob, now: datetime) -> None:
    """Store a job's progress as its payload, from which the next try continues."""
    await db.execute(update(jobs).where(jobs.c.id == job_id).values(payload=dict(progress.payload), changed_at=now))


async def find(db: Connection, name: JobName) -> Job | None:
    """Return the newest job of this name, in any state."""
    named = select(jobs).where(jobs.c.kind == name.kind, jobs.c.subject == name.subject)
    row = (await db.execute(named.order_by(jobs.c.id.desc()).limit(1))).one_or_none()
    return record(Job, row) if row else None


async def job(db: Connection, job_id: JobId) -> Job | None:
    """Return a job by its id; None once it was pruned."""
    row = (await db.execute(select(jobs).where(jobs.c.id == job_id))).one_or_none()
    return record(Job, row) if row else None


async def unfinished(db: Connection, kind: JobKind) -> tuple[Job, ...]:
    """Return the jobs of a kind that wait or run."""
    wanted = select(jobs).where(jobs.c.kind == kind, jobs.c.state.in_((JobState.READY, JobState.RUNNING)))
    return tuple(record(Job, row) for row in await db.execute(wanted.order_by(jobs.c.id)))


async def unfinished_of(db: Connection, kinds: Collection[JobKind]) -> tuple[Job, ...]:
    """Return the jobs of these kinds that wait or run."""
    wanted = select(jobs).where(jobs.c.kind.in_(list(kinds)), jobs.c.state.in_((JobState.READY, JobState.RUNNING)))
    return tuple(record(Job, row) for row in await db.execute(wanted.order_by(jobs.c.id)))


async def drop(db: Connection, job_id: JobId) -> None:
    """Delete a job, as if it had never been added."""
    await db.execute(delete(jobs).where(jobs.c.id == job_id))


async def put_off(db: Connection, kind: JobKind, now: datetime) -> tuple[Job, ...]:
    """Return the jobs of a kind that wait for a later time."""
    wanted = select(jobs).where(jobs.c.kind == kind, jobs.c.state == JobState.READY, jobs.c.run_at > now)
    return tuple(record(Job, row) for row in await db.execute(wanted.order_by(jobs.c.id)))


async def recover(db: Connection, now: datetime, *, of_bot: bool = True) -> int:
    """Make the jobs ready again that nobody runs any more: those of workers that are not on the list, and with `of_bot`
    those that were running when the last process of the bot ended. Return how many."""
    left = or_(jobs.c.worker.is_(None), _LOST) if of_bot else _LOST
    running = await db.execute(select(jobs).where(jobs.c.state == JobState.RUNNING, left))
    interrupted = [record(Job, row) for row in running]
    for job in interrupted:
        await put_back(db, job, None, now, now)
    return len(interrupted)


async def any_lost(db: Connection) -> bool:
    """Tell whether jobs run of workers that are not on the list."""
    lost = select(jobs.c.id).where(jobs.c.state == JobState.RUNNING, _LOST).limit(1)
    return (await db.execute(lost)).first() is not None


async def last_change(db: Connection) -> datetime | None:
    """Return when a job was last written, by the clock of that time."""
    newest = select(jobs.c.changed_at).order_by(jobs.c.changed_at.desc()).limit(1)
    changed_at: datetime | None = (await db.execute(newest)).scalar_one_or_none()
    return changed_at


async def set_back(db: Connection, before: datetime, now: datetime) -> None:
    """Correct the times of jobs after the clock went back from `before` to `now`, so that no job waits longer than it
    would have."""
    later = (jobs.c.state == JobState.READY, jobs.c.run_at > now)
    for row in (await db.execute(select(jobs.c.id, jobs.c.run_at).where(*later))).all():
        run_at = max(now, row.run_at - (before - now))
        await db.execute(update(jobs).where(jobs.c.id == row.id).values(run_at=run_at))
    await db.execute(update(jobs).where(jobs.c.changed_at > now).values(changed_at=now))


async def hasten(db: Connection, begins: JobName, now: datetime) -> None:
    """Run the ready jobs of this kind now whose subject begins with this text, since their wait is over."""
    alike = jobs.c.subject.startswith(begins.subject, autoescape=True)
    ready = and_(jobs.c.kind == begins.kind, jobs.c.state == JobState.READY, alike)
    await db.execute(update(jobs).where(ready).values(run_at=now))


async def hasten_turn(db: Connection, kinds: Collection[JobKind], turn: str, now: datetime) -> None:
    """Run the ready jobs of these kinds and this turn now, since their wait is over."""
    ready = and_(jobs.c.kind.in_(list(kinds)), jobs.c.state == JobState.READY, jobs.c.turn == turn)
    await db.execute(update(jobs).where(ready).values(run_at=now))


async def cancel(db: Connection, names: Iterable[JobName], *, tried: bool = True) -> None:
    """Delete the ready jobs of these names; without `tried` only those of which no attempt was made."""
    subjects = defaultdict[JobKind, list[str]](list)
    for name in names:
        subjects[name.kind].append(name.subject)
    for kind, of_kind in subjects.items():
        ready = and_(jobs.c.kind == kind, jobs.c.subject.in_(of_kind), jobs.c.state == JobState.READY)
        await db.execute(delete(jobs).where(ready if tried else and_(ready, jobs.c.attempts == 0)))


async def count(db: Connection, *states: JobState) -> int:
    result = await db.execute(select(func.count()).select_from(jobs).where(jobs.c.state.in_(states)))
    return int(result.scalar_one())


async def prune(db: Connection, now: datetime, age: timedelta) -> int:
    """Delete finished jobs that are older than `age` and not once-only; return how many."""
    result = await db.execute(
        delete(jobs).where(
            jobs.c.state.in_((JobState.DONE, JobState.FAILED)), jobs.c.once_key.is_(None), jobs.c.changed_at < now - age
        )
    )
    return int(result.rowcount)
