"""The database by address: PostgreSQL, through asyncpg. Imported only where an address is set.

Writers of all processes take turns by an advisory lock that their transaction holds, so that a transaction may read and
then write as with a file; readers see a snapshot; claims of jobs pass by each other's rows. A commit tells the tables
that it wrote by NOTIFY. Connections are direct or pooled by session: locks and LISTEN belong to a session.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any
from weakref import WeakSet

import asyncpg
from sqlalchemy import event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError

from storage import engines
from storage.asyncsql import AsyncConnection as Connection
from storage.asyncsql import AsyncEngine, create_async_engine
from storage.commits import Changes
from storage.engines import READERS, Fence, loads
from storage.errors import StoreBusyError, StoreError, StoreLockedError
from storage.postgresql_errors import NOT_UNDERSTOOD, SETTING, connecting_failed, sqlstate, statement_failed
from storage.texts import dumps, storable

log = logging.getLogger(__name__)

CONNECT_S = 10
STATEMENT_S = 120
"""Seconds after which a statement is given up: the server or the way to it is gone."""
PING_S = 0.5
"""Seconds between two signs of life on the connection that listens. After as many without an answer anything may have
been written: what is in memory is old for no longer than twice this time."""
ANSWER_S = 10
"""Seconds after which a connection without an answer is given up."""
CHANNEL = "aircheck_commits"
NAME = "aircheck"
"""The name of a connection, as the server lists it."""
WRITERS_TURN = 0x41697243
"""The number of the advisory lock that each writing transaction holds."""
NOT_OWNER = "AC001"
"""The SQLSTATE of ours for a transaction that another owner's epoch refuses."""
STATEMENTS_PREPARED = 500
SETTINGS = {
    "client_encoding": "UTF8",
    "jit": "off",  # compiling takes longer than our statements
    "random_page_cost": "1.1",  # not of a turning disk: a room's page read the episodes of all rooms from end to end
    "lock_timeout": "15000",
    "idle_in_transaction_session_timeout": "14000",  # a process that was stopped: others wait longer for their turn
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
"""Settings of each session, which end what would hold up others."""
CLAIMS = {**SETTINGS, "idle_in_transaction_session_timeout": "3000"}
"""Settings for claims, which hold the owner's row: a claimer that is cut off must not outlast the owner's lease."""
UPGRADES = {**SETTINGS, "idle_in_transaction_session_timeout": "0"}


OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'aircheck%' AND pid <> pg_backend_pid()
"""


class PostgreSQL:
    """The `Engines` of an address. `fence` of the owner: its writes are refused once another process is."""

    def __init__(self, address: str, fence: Fence | None = None) -> None:
        self.address = parsed(address)
        self._fence = fence
        self._opener = Opener(self.address, NAME if fence is None else fence.name)
        turn = f"PERFORM pg_advisory_xact_lock({WRITERS_TURN});"
        epoch = None if fence is None else fence.epoch
        claims = partial(self._opener, _first("", epoch, " FOR SHARE"), CLAIMS)
        self.writer = _engine(partial(self._opener, _first(turn, epoch)), pool_size=1, max_overflow=0)
        self.claimer = _engine(claims, pool_size=1, max_overflow=0)
        self.readers = _engine(self._opener, pool_size=READERS, max_overflow=READERS)
        event.listen(self.readers.sync_engine, "connect", _only_read)
        self._name = secrets.token_hex(8)  # of this process, which hears of its own commits without the database

    @classmethod
    async def open(cls, address: str, *, migrate_first: bool, fence: Fence | None = None) -> "PostgreSQL":
        """Check the database's version, or create or upgrade its tables first. Raises StoreError."""
        from storage import postgresql_schema

        await postgresql_schema.prepare(parsed(address), migrate_first=migrate_first)
        return cls(address, fence)

    async def take_turn(self, connection: Connection) -> None:
        """Have the turn taken with the first statement, which begins the transaction. Raises OwnerLostError."""
        if self._fence is not None:
            self._fence.check()

    stand_beside = take_turn

    async def tell(self, connection: Connection, tables: Collection[str | None]) -> None:
        names = ",".join(sorted(table or "*" for table in tables))
        raw = await connection.get_raw_connection()
        raw.driver_connection.last = f"SELECT pg_notify('{CHANNEL}', '{self._name} {names}');"  # type: ignore[union-attr]

    async def settle(self) -> None:
        """Do nothing: a commit is on the disk when it is answered, unless the operator set it otherwise."""

    async def size(self, connection: Connection) -> int:
        return int((await connection.exec_driver_sql("SELECT pg_database_size(current_database())")).scalar_one())

    async def listen(self, changes: Changes) -> None:
        """Notify of commits by other processes when they happen; until cancelled. While the connection is lost,
        anything may have been written, as far as anybody here knows."""
        lost = False
        while True:
            try:
                connection = await _doubting(changes, connect(self.address))
                try:
                    await connection.add_listener(CHANNEL, lambda *news: self._heard(changes, str(news[-1])))
                    if lost:
                        log.info("commits of other processes are heard again")
                    lost = False
                    changes.notify()
                    await _lives(connection, changes)
                finally:
                    connection.terminate()
            except (StoreError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not lost:
                    log.warning("commits of other processes are not heard: %s", type(error).__name__)
                lost = True
                changes.notify()
                await asyncio.sleep(engines.LISTEN_EVERY_S)

    def _heard(self, changes: Changes, news: str) -> None:
        name, _, tables = news.partition(" ")
        if name != self._name:
            changes.notify(frozenset(None if table == "*" else table for table in tables.split(",")))

    def abandon(self) -> None:
        self._opener.abandon()

    def trouble(self, error: BaseException) -> StoreError | None:
        if self._fence is not None and isinstance(error, DBAPIError) and sqlstate(error) == NOT_OWNER:
            return self._fence.passed()
        return statement_failed(error)


def _first(turn: str, epoch: int | None, beside: str = "") -> str:
    """Return the statement that goes with the beginning of a transaction: each part of it sees what was committed when
    the part before was done. A transaction `beside` the writers keeps the owner's row, for which a take-over waits."""
    owner = f"""
        PERFORM 1 FROM owner WHERE epoch = {epoch}{beside};
        IF NOT FOUND THEN RAISE EXCEPTION 'another is the owner' USING ERRCODE = '{NOT_OWNER}'; END IF;
    """
    work = turn + (owner if epoch is not None else "")
    return f"DO $$ BEGIN {work} END $$;" if work else ""


class Together(asyncpg.Connection):  # type: ignore[misc]
    """A connection that sends the statements that belong to the two ends of a transaction together with them: each way
    to the server and back takes longer than they do. Failed there, it is closed, since nobody knows its state."""

    first = ""
    last = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        begins, commits = query.startswith("BEGIN"), query == "COMMIT;"
        if begins:
            query, self.last = query + self.first, ""
        elif commits:
            query, self.last = self.last + query, ""
        try:
            return str(await super().execute(query, *args, timeout=timeout))
        except BaseException:
            if begins or commits:
                self.terminate()
            raise


async def _lives(connection: Any, changes: Changes) -> None:
    """Return when the connection is gone, which a network that was cut does not say by itself."""
    gone = asyncio.Event()
    connection.add_termination_listener(lambda _: gone.set())
    while not connection.is_closed():
        try:
            async with asyncio.timeout(PING_S):
                await gone.wait()
        except TimeoutError:
            await _doubting(changes, connection.execute("SELECT 1", timeout=ANSWER_S))
    raise asyncpg.InterfaceError("connection is closed")


async def _doubting(changes: Changes, answer: Coroutine[Any, Any, Any]) -> Any:
    """Wait for an answer, and notify again and again while there is none: nobody knows what is written meanwhile."""
    task = asyncio.create_task(answer)
    try:
        while not (await asyncio.wait({task}, timeout=PING_S))[0]:
            changes.notify()
        return task.result()
    finally:
        task.cancel()


def parsed(address: str) -> URL:
    """Take an address apart. Raises StoreError."""
    try:
        return make_url(address)
    except (ArgumentError, ValueError):
        raise StoreError(NOT_UNDERSTOOD) from None


async def connect(
    address: URL,
    name: str = NAME,
    kind: type[Any] = asyncpg.Connection,
    settings: Mapping[str, str] = SETTINGS,
    statement_s: float | None = STATEMENT_S,
) -> Any:
    """Open a connection. Raises StoreError, whose sentence names no password."""
    try:
        return await asyncpg.connect(
            address.set(drivername="postgresql").render_as_string(hide_password=False),
            timeout=CONNECT_S,
            connection_class=kind,
            command_timeout=statement_s,
            server_settings={**settings, "application_name": name},
        )
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InternalClientError) as error:
        raise connecting_failed(error) from None


async def refuse_company(address: str) -> None:
    """Refuse a database that other processes of Aircheck use. Raises StoreError."""
    connection = await connect(parsed(address))
    try:
        others = await connection.fetchval(OTHERS)
    except asyncpg.PostgresError as error:
        raise connecting_failed(error) from None
    finally:
        connection.terminate()
    if others:
        raise StoreLockedError(f"another Aircheck uses the database of {SETTING}: stop the bot, `web` and `work` first")


class Opener:
    """Connections to an address, under one name, until they are abandoned."""

    def __init__(self, address: URL, name: str, statement_s: float | None = STATEMENT_S) -> None:
        self._address = address
        self._name = name
        self._statement_s = statement_s
        self._opened: WeakSet[Any] = WeakSet()
        self._abandoned = False

    async def __call__(self, first: str = "", settings: Mapping[str, str] = SETTINGS, *_: Any, **__: Any) -> Any:
        """Open a connection, which begins each transaction with the statement `first`. Raises StoreError."""
        if not self._abandoned:
            connection = await connect(self._address, self._name, Together, settings, self._statement_s)
            self._opened.add(connection)
            connection.first = first
        if self._abandoned:
            self.abandon()
            raise StoreBusyError("the database can't be used now: this process no longer owns the Matrix session")
        return connection

    def abandon(self) -> None:
        """End all connections, and open no more: on a network that was cut, they would keep their users waiting."""
        self._abandoned = True
        for connection in list(self._opened):
            connection.terminate()


def engine_of(address: URL, *, patient: bool = False, **options: Any) -> AsyncEngine:
    """Return an engine over `connect`, which itself knows no address, and so can tell none. `patient`: its statements,
    and what is done between them, take as long as they take, as in an upgrade."""
    if patient:
        return _engine(partial(Opener(address, NAME, None), "", UPGRADES), **options)
    return _engine(Opener(address, NAME), **options)


def _engine(opener: Callable[..., Coroutine[Any, Any, Any]], **options: Any) -> AsyncEngine:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args={"async_creator_fn": opener, "prepared_statement_cache_size": STATEMENTS_PREPARED},
        hide_parameters=True,
        json_serializer=dumps,
        json_deserializer=loads,
        **options,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "before_cursor_execute", _storable, retval=True)
    return engine


def _only_read(connection: Any, _: object) -> None:
    connection.set_isolation_level("repeatable_read")
    connection.readonly = True


def _refuse_closed(connection: Any, *_: object) -> None:
    """Have the pool connect anew where the server closed a connection: without a statement, unlike its own ping."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _storable(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> tuple[str, Any]:
    """Replace the characters that PostgreSQL's texts can't hold, in values and in what is compared with them."""
    if many:
        return statement, [_clean(row) for row in parameters]
    return statement, _clean(parameters)


def _clean(parameters: Any) -> Any:
    if not any(isinstance(value, str) and not _is_storable(value) for value in parameters or ()):
        return parameters
    return tuple(storable(value) if isinstance(value, str) else value for value in parameters)


def _is_storable(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
