"""The move of a store's rows to the other database and back: everything arrives as it is, or nothing does."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, DateTime, Float, Integer, LargeBinary, Table

from storage import jobs, owner, row_copies, workers
from storage.database import Database
from storage.elsewhere import mark
from storage.errors import NotEmptyError, StoreError, StoreLockedError
from storage.moving import move
from storage.place import Place
from storage.records import JobKind, NewJob
from storage.row_copies import Content, content_of, copied_tables
from storage.secret import SecretFile
from storage.store import Store
from tests.postgresql import Server

ROWS = 3
NOON = datetime.fromisoformat("2026-11-20T12:00:00")
NOON_UTC = NOON.replace(tzinfo=UTC)
TEXT = 'Grüße\t"quoted" \\ \U0001f399'


@pytest.fixture
def file(tmp_path: Path) -> Place:
    (tmp_path / "data").mkdir(mode=0o700)
    return Place(tmp_path / "data")


@pytest.fixture
async def server_place(file: Place, postgresql: Server) -> AsyncIterator[Place]:
    """Make a database without rows for the same folder."""
    address = await postgresql.new()
    yield replace(file, database_url=address)
    await postgresql.drop(address)


def told(_: str, __: int, ___: int) -> None:
    """Show nothing."""


def stored(table: Table, name: str, number: int) -> Any:
    """Return a value as it is stored, another one for each row; the last row has none where that is allowed."""
    column = table.columns[name]
    for foreign in column.foreign_keys:
        return stored(foreign.column.table, foreign.column.name, number)
    if column.nullable and number == ROWS - 1:
        return None
    match row_copies._plain(column.type):
        case JSON():
            return f'{{"text": "\\u0000 {number}", "list": [1, 2.50, null, true]}}'
        case Boolean():
            return bool(number % 2)
        case DateTime():
            return NOON.replace(microsecond=123456 * number)
        case LargeBinary():
            return bytes([0, 255, number]) * 1000
        case Float():
            return number / 3
        case Integer():
            return number + 1
        case _:
            return f"{number}{TEXT if name not in {'code', 'kind'} else ''}"[: getattr(column.type, "length", None)]


async def fill(place: Place) -> None:
    """Write rows into every table."""
    database = await Database.open(place)
    async with database.write() as db:
        for table in copied_tables():
            names = [column.name for column in table.columns]
            rows = [{name: stored(table, name, number) for name in names} for number in range(ROWS)]
            await db.execute(row_copies._as_stored(table, db).insert(), rows)
        await db.execute(copied_tables_by_name()["changes"].delete().where(NEWEST))
    await database.close()


def copied_tables_by_name() -> dict[str, Table]:
    return {table.name: table for table in copied_tables()}


NEWEST = copied_tables_by_name()["changes"].c.id == ROWS


async def contents(place: Place) -> dict[str, Content]:
    database = await Database.open(place, migrate_first=False)
    async with database.read() as db:
        found = {table.name: await content_of(db, table) for table in copied_tables()}
    await database.close()
    return found


async def test_everything_goes_there_and_back(
    file: Place, server_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row of each table, its numbers and the secret of personal addresses are the same in PostgreSQL and, after
    the way back, in a new file; pages end anywhere."""
    monkeypatch.setattr(row_copies, "PAGE", 2)
    await fill(file)
    SecretFile(file.directory).renew(b"s" * 32)
    before = await contents(file)
    assert {content.rows for content in before.values()} == {ROWS, ROWS - 1}
    assert await move(file, server_place, told) == sum(content.rows for content in before.values())
    assert await contents(server_place) == await contents(file) == before
    with pytest.raises(StoreError, match="is in PostgreSQL"):
        await Store.own(file)
    with pytest.raises(StoreError, match="is in PostgreSQL"):
        await move(file, server_place, told)
    (file.directory / "aircheck.db").rename(file.directory / "before.db")
    SecretFile(file.directory).renew(b"o" * 32)
    await move(server_place, file, told)
    assert await contents(file) == before
    assert SecretFile(file.directory)() == b"s" * 32
    await (await Store.own(file)).close()
    for place in (file, server_place):
        assert await next_number(place) == ROWS + 1


async def test_the_server_knows_what_was_moved(file: Place, server_place: Place) -> None:
    """After a move the server has statistics of each table, so that it chooses indexes from the first statement on."""
    await fill(file)
    await move(file, server_place, told)
    database = await Database.open(server_place, migrate_first=False)
    async with database.read() as db:
        counted = await db.exec_driver_sql("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'")
        rows = {row.relname: int(row.reltuples) for row in counted}
    await database.close()
    assert {rows[table.name] for table in copied_tables()} == {ROWS, ROWS - 1}


async def next_number(place: Place) -> int:
    """Return the number that the next row of a table gets, of which the newest row was deleted."""
    table = copied_tables_by_name()["changes"]
    database = await Database.open(place)
    async with database.write() as db:
        values = {"at": NOON, "what": "x"}
        added = await db.execute(row_copies._as_stored(table, db).insert().values(values).returning(table.c.id))
        number = int(added.scalar_one())
    await database.close()
    return number


async def test_a_move_that_fails_anywhere_can_be_repeated(file: Place, server_place: Place) -> None:
    """After a failure in the middle the source is as it was and the target holds no row; the next try moves all."""
    await fill(file)
    before = await contents(file)
    for table in ("meta", "jobs"):

        def fail(name: str, rows: int, _: int, failing: str = table) -> None:
            if name == failing and rows:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await move(file, server_place, fail)
        assert {content.rows for content in (await contents(server_place)).values()} == {0}
    await move(file, server_place, told)
    assert await contents(server_place) == await contents(file) == before


async def test_what_runs_now_stays_behind(file: Place, server_place: Place) -> None:
    """Neither the owner nor workers, nor who listens, move with the rows: a job that a worker had claimed when it was
    killed is ready again with the next start, wherever the archive lies then."""
    before = await Store.own(server_place)
    async with before.write() as db:
        await workers.enter(db, "w1", "host")
        await jobs.add(db, NewJob(JobKind("fetch"), "1", {}), NOON_UTC)
        assert len(await jobs.claim(db, [JobKind("fetch")], NOON_UTC, 1, (), "w1")) == 1
    await before.close()
    await move(server_place, file, told)
    after = await Store.own(file)
    async with after.write() as db:
        assert await workers.present(db) == ()
        assert await owner.last(db) is None
        assert await jobs.recover(db, NOON_UTC) == 1
        assert len(await jobs.claim(db, [JobKind("fetch")], NOON_UTC, 1)) == 1
    await after.close()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from storage.moving import move
from storage.place import Place
from storage.records import JobKind, NewJob

def told(table, rows, of):
    if table == "chunks" and rows:
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(move(Place(Path(sys.argv[1])), Place(Path(sys.argv[1]), sys.argv[2]), told))
"""


async def test_a_move_that_is_killed_can_be_repeated(file: Place, server_place: Place) -> None:
    """A process that is killed leaves the source as it was, and nothing in the way of the next try."""
    await fill(file)
    before = await contents(file)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(file.directory), str(server_place.database_url)
    )
    assert await child.wait() == -signal.SIGKILL
    async with asyncio.timeout(20):
        while True:
            with suppress(StoreLockedError):  # until the server has seen the end of the connections
                await move(file, server_place, told)
                break
            await asyncio.sleep(0.05)
    assert await contents(server_place) == await contents(file) == before


async def test_who_is_in_the_way_is_named(file: Place, server_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running bot, other processes, rows in the target, the same database, and rows that arrive changed are refused;
    nothing is written."""
    await fill(file)
    store = await Store.own(file)
    with pytest.raises(StoreLockedError, match="another Aircheck is running"):
        await move(file, server_place, told)
    await store.close()
    with pytest.raises(StoreError, match="lies there already"):
        await move(file, file, told)
    with monkeypatch.context() as patch:
        patch.setattr(row_copies, "_same", _each_time_another())
        with pytest.raises(StoreError, match="are not the same"):
            await move(file, server_place, told)
    await move(file, server_place, told)
    mark(file)
    with pytest.raises(NotEmptyError, match="not empty: it holds rows in `"):
        await move(file, server_place, told)
    other = await Database.open(server_place)
    async with other.read() as db:
        await db.exec_driver_sql("SELECT 1")
        with pytest.raises(StoreLockedError, match="stop the bot, `web` and `work` first"):
            await move(server_place, file, told)
    await other.close()


def _each_time_another() -> Any:
    """Return a function whose results are never the same."""
    numbers = iter(range(10**9))
    return lambda _: next(numbers)
