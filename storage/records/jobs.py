"""Jobs as rows. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.records.ids import JobId, JobKind, Json


class JobState(StrEnum):
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # given up; `error` says why


@dataclass(frozen=True, slots=True)
class JobName:
    """The kind and subject of a job: two that wait under one name are the same job."""

    kind: JobKind
    subject: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be written. A second one of the same kind and subject, while the first still waits, is the same job (the
    earlier time wins). With `once` it stays the same job even after it has run, so that its effect is not repeated."""

    kind: JobKind
    subject: str
    payload: Json
    run_at: datetime | None = None  # None: now
    once: bool = False
    turn: str | None = None  # the recording, room or person whose jobs take turns with those of others

    @property
    def name(self) -> JobName:
        return JobName(self.kind, self.subject)


@dataclass(frozen=True, slots=True)
class Job:
    id: JobId
    kind: JobKind
    subject: str
    payload: Json
    state: JobState
    run_at: datetime
    attempts: int
    error: str | None = None
    turn: str | None = None
