"""The only user of alembic: a transaction for DDL, and the migrations in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError as UpgradeError
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from storage import dialect

__all__ = ["UpgradeError", "next_revision", "run_migrations", "transaction"]

BUSY_S = 5
"""Seconds that a transaction waits for another program that uses the database."""


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


@contextmanager
def transaction(path: Path | None) -> Iterator[Connection]:
    """Open a write transaction over a file, or over memory (None)."""
    engine = create_engine(dialect.address(path), poolclass=NullPool, hide_parameters=True)
    dialect.prepare(engine, dialect.MIGRATING, dialect.WRITE, busy_ms=BUSY_S * 1000)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def run_migrations(connection: Connection, revision: str) -> None:
    """Run the migrations up to `revision`, in the transaction of this connection."""
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def next_revision(revision: str | None) -> str:
    """Return the revision after this one; the first one after None. Raises UpgradeError for an unknown revision."""
    script = ScriptDirectory.from_config(configuration())
    return [str(step.revision) for step in script.iterate_revisions("head", revision or "base")][-1]
