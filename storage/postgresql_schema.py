"""The tables in PostgreSQL: created or upgraded in one transaction, while other processes wait; a newer version is
refused."""

from dataclasses import dataclass

from sqlalchemy import Connection as Blocking
from sqlalchemy import NullPool, event, inspect
from sqlalchemy.engine import URL, ExceptionContext

from storage.asyncsql import AsyncConnection
from storage.errors import StoreError
from storage.migrate import HEAD
from storage.postgresql import WRITERS_TURN, engine_of, parsed
from storage.postgresql_errors import SETTING, newer, statement_failed

VERSION = "SELECT version_num FROM alembic_version"
DESCRIPTION = "SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes"
OTHER_TEXTS = """
    SELECT quote_ident(table_name), quote_ident(column_name), format_type(atttypid, NULL)
    FROM information_schema.columns
    JOIN pg_attribute ON attrelid = to_regclass(quote_ident(table_name)) AND attname = column_name
    JOIN pg_collation ON pg_collation.oid = attcollation
    WHERE table_schema = current_schema AND (collname <> 'C' OR (atttypid = 'varchar'::regtype AND atttypmod >= 0))
"""
"""The columns whose texts are ordered by a language, or have a greatest length."""


@dataclass(frozen=True, slots=True)
class Description:
    """Facts that a database tells of itself."""

    version: str
    bytes: int
    revision: str | None
    """The revision of its tables; None: it has none."""


async def describe(address: str) -> Description:
    """Ask a database by address for its version and size. Raises StoreError."""
    engine = engine_of(parsed(address), poolclass=NullPool)
    event.listen(engine.sync_engine, "handle_error", _trouble)
    try:
        async with engine.begin() as connection:
            (told,) = (await connection.exec_driver_sql(DESCRIPTION)).mappings()
            return Description(str(told["version"]), int(told["bytes"]), await revision_of(connection))
    finally:
        await engine.dispose()


async def prepare(address: URL, *, migrate_first: bool) -> None:
    """Create or upgrade the tables; unless `migrate_first`, refuse those of another version. Raises StoreError."""
    engine = engine_of(address, patient=migrate_first, poolclass=NullPool)
    event.listen(engine.sync_engine, "handle_error", _trouble)
    try:
        async with engine.begin() as connection:
            await _prepare(connection, migrate_first=migrate_first)
    finally:
        await engine.dispose()


async def _prepare(connection: AsyncConnection, *, migrate_first: bool) -> None:
    revision = await revision_of(connection)
    if revision != HEAD and migrate_first:
        await connection.exec_driver_sql("SET LOCAL lock_timeout = 0")  # another process may be upgrading it
        await connection.exec_driver_sql("SELECT pg_advisory_xact_lock($1)", (WRITERS_TURN,))
        revision = await revision_of(connection)
    if revision is not None and revision > HEAD:
        raise newer()
    if revision == HEAD:
        return
    if not migrate_first:
        whose = "holds no tables of Aircheck's" if revision is None else "was written by an older Aircheck"
        raise StoreError(f"the database of {SETTING} {whose}: start `aircheck run` once")
    if revision is None:
        await _refuse_others(connection)
    await connection.run_sync(_upgrade)


async def refuse_newer(connection: AsyncConnection) -> None:
    """Refuse tables that a newer version wrote, or has upgraded since. Raises StoreTooNewError."""
    revision = await revision_of(connection)
    if revision is not None and revision > HEAD:
        raise newer()


def _upgrade(connection: Blocking) -> None:
    from storage.revisions import UpgradeError, run_migrations  # here, since most starts need no Alembic

    try:
        run_migrations(connection, HEAD)
    except UpgradeError as error:
        raise StoreError(f"the database of {SETTING} could not be upgraded: {error}") from None
    make_texts_plain(connection)


async def revision_of(connection: AsyncConnection) -> str | None:
    """Return the database's revision; None when it is new."""
    if (await connection.exec_driver_sql("SELECT to_regclass('alembic_version')")).scalar_one() is None:
        return None
    revision = (await connection.exec_driver_sql(VERSION)).scalar_one_or_none()
    return None if revision is None else str(revision)


async def _refuse_others(connection: AsyncConnection) -> None:
    """Refuse a database with other tables, or with texts that are not in UTF-8. Raises StoreError."""
    if await connection.run_sync(lambda blocking: inspect(blocking).get_table_names()):
        raise StoreError(f"the database of {SETTING} holds other tables: give Aircheck a database of its own")
    if (await connection.exec_driver_sql("SHOW server_encoding")).scalar_one() != "UTF8":
        raise StoreError(f"the database of {SETTING} is not in UTF-8: create it with ENCODING 'UTF8'")


def make_texts_plain(connection: Blocking) -> None:
    """Give all texts the order of their characters' numbers and no greatest length, as in SQLite and Python: events of
    strangers must not fail in one of the databases alone."""
    for table, column, kind in connection.exec_driver_sql(OTHER_TEXTS).all():
        connection.exec_driver_sql(f'ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} COLLATE "C"')


def _trouble(context: ExceptionContext) -> StoreError | None:
    return statement_failed(context.sqlalchemy_exception or context.original_exception)
