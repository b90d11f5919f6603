"""The undoing of an upgrade that an older Aircheck did not finish: its statements were executed but its version was not
written.

Those upgrades only added tables, indexes and columns, and no program ran on the result. So every part that the next
revision adds and that exists already is removed, and the upgrade begins again from the stored revision.
"""

from collections.abc import Set
from functools import cache
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
    """Remove parts of the schema that the revision after `revision` adds. Raises StoreError when the database holds
    more than an interrupted upgrade leaves."""
    existing = _schema(connection)
    if revision is None and not existing:
        return
    next_one = next_revision(revision)
    before, after = _schemas(revision, next_one)
    if revision is None and existing - after:
        raise StoreError(f"{path} is not an Aircheck database: it holds other tables")
    left = existing & (after - before)
    tables = {part.name for part in left if part.kind == "table"}
    for table in tables:
        if connection.exec_driver_sql(f'SELECT 1 FROM "{table}" LIMIT 1').first() is not None:  # noqa: S608  our names
            raise StoreError(
                f"{path} says that it is of version {revision or 'none'}, but holds rows of version {next_one}:"
                " restore it from a backup"
            )
    for part in sorted(left, key=lambda part: REMOVAL_ORDER.index(part.kind)):
        if part.kind == "index":
            connection.exec_driver_sql(f'DROP INDEX "{part.name}"')
        elif part.kind == "table":
            connection.exec_driver_sql(f'DROP TABLE "{part.name}"')
        elif part.table not in tables:
            connection.exec_driver_sql(f'ALTER TABLE "{part.table}" DROP COLUMN "{part.name}"')


@cache
def _schemas(revision: str | None, next_one: str) -> tuple[Set[Part], Set[Part]]:
    """Return the parts of the schema after the migrations up to a revision, and up to the next."""
    with transaction(None) as connection:
        if revision is not None:
            run_migrations(connection, revision)
        before = _schema(connection)
        run_migrations(connection, next_one)
        return before, _schema(connection)


def _schema(connection: Connection) -> Set[Part]:
    return frozenset(Part(*part) for part in parts(connection))
