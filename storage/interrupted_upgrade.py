"""Takes back what an interrupted upgrade of an older Aircheck left: its statements done, its version not written.

Those upgrades only added tables, indexes and columns, and no program ran on the result. So what the next revision
adds, and is there already, is removed, and the upgrade begins again from the revision that is written.
"""

from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from storage.dialect import parts
from storage.errors import StoreError
from storage.revisions import next_revision, run_migrations, transaction

REMOVAL_ORDER = ("index", "column", "table")


class Part(NamedTuple):
    """A part of a schema: a table, or an index or a column of it."""

    kind: str
    table: str
    name: str


def take_back(connection: Connection, path: Path, revision: str | None) -> None:
    """Removes what the revision after `revision` made. Raises StoreError where that is more than an upgrade leaves."""
    there = _schema(connection)
    if revision is None and not there:
        return
    following = next_revision(revision)
    before, after = _schema_at(revision), _schema_at(following)
    if revision is None and there - after:
        raise StoreError(f"{path} is not an Aircheck database: it holds tables of something else")
    left = there & (after - before)
    tables = {part.name for part in left if part.kind == "table"}
    for table in tables:
        if connection.exec_driver_sql(f'SELECT 1 FROM "{table}" LIMIT 1').first() is not None:  # noqa: S608  our names
            raise StoreError(
                f"{path} says that it is of version {revision or 'none'}, but holds rows of version {following}:"
                " restore it from a backup"
            )
    for part in sorted(left, key=lambda part: REMOVAL_ORDER.index(part.kind)):
        if part.kind == "index":
            connection.exec_driver_sql(f'DROP INDEX "{part.name}"')
        elif part.kind == "table":
            connection.exec_driver_sql(f'DROP TABLE "{part.name}"')
        elif part.table not in tables:
            connection.exec_driver_sql(f'ALTER TABLE "{part.table}" DROP COLUMN "{part.name}"')


def _schema_at(revision: str | None) -> Set[Part]:
    """The parts that the migrations up to a revision make."""
    if revision is None:
        return frozenset()
    with transaction(None) as connection:
        run_migrations(connection, revision)
        return _schema(connection)


def _schema(connection: Connection) -> Set[Part]:
    return frozenset(Part(*part) for part in parts(connection))
