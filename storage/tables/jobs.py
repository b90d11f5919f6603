"""Tables of jobs, and of the workers that take them."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from storage.columns import Utc, Word
from storage.dialect import BIG, NEVER_AGAIN, only_where
from storage.records import JobState
from storage.tables.schema import TREE, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(512), nullable=False),
    Column("payload", TREE, nullable=False),
    Column("state", Word(JobState), nullable=False),
    Column("run_at", Utc, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("once_key", String(600), unique=True),
    Column("changed_at", Utc, nullable=False),
    Column("turn", String(255)),
    Column("worker", String(64)),  # that runs it; NULL: the bot itself
    Index("ix_jobs_due", "state", "run_at", "id"),
    Index("uq_jobs_ready", "kind", "subject", unique=True, **only_where("state = 'ready'")),
    Index("uq_jobs_running", "kind", "subject", unique=True, **only_where("state = 'running'")),
    **NEVER_AGAIN,
)


workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("since", Utc, nullable=False),
    Column("until", Utc, nullable=False),  # by the database's clock
)
