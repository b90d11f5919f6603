"""Statements are brought to SQLite's thread and back once, with all that they say."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiosqlite import core
from sqlalchemy import Column, Integer, MetaData, Table, Text, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage import dialect, driver

NOTES = Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("body", Text, unique=True))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Open an empty database with a table, by a single connection."""
    url = dialect.address(tmp_path / "notes.db", asynchronous=True)
    made = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=10, **dialect.ASYNCHRONOUS)
    dialect.prepare(made.sync_engine, dialect.SERVING, dialect.WRITE, busy_ms=1000)
    async with made.begin() as db:
        await db.run_sync(NOTES.metadata.create_all)
    yield made
    await made.dispose()


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Count what is given to threads of connections."""
    given: list[object] = []
    execute: Any = core.Connection._execute

    async def counting(connection: core.Connection, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        given.append(function)
        return await execute(connection, function, *args, **named)

    monkeypatch.setattr(core.Connection, "_execute", counting)
    return given


async def test_a_statement_is_one_visit(engine: AsyncEngine, visits: list[object]) -> None:
    """A transaction of two statements visits the thread four times: to begin, for each of them, and to commit."""
    async with engine.begin() as db:
        await db.execute(insert(NOTES), [{"body": "one"}, {"body": "two"}])
        assert (await db.scalars(select(NOTES.c.body).order_by(NOTES.c.id))).all() == ["one", "two"]
    assert len(visits) == 4


async def test_outcomes_are_complete(engine: AsyncEngine) -> None:
    """Rows have names, changes are counted, and a new row's number is known."""
    async with engine.begin() as db:
        added = await db.execute(insert(NOTES).values(body="one"))
        assert added.inserted_primary_key == (1,)
        await db.execute(insert(NOTES), [{"body": "two"}, {"body": "three"}])
        assert (await db.execute(update(NOTES).where(NOTES.c.id > 1).values(body=NOTES.c.body + "!"))).rowcount == 2
        row = (await db.execute(select(NOTES).where(NOTES.c.id == 3))).mappings().one()
        assert dict(row) == {"id": 3, "body": "three!"}
        gone = await db.execute(delete(NOTES).returning(NOTES.c.body))
        assert sorted(gone.scalars()) == ["one", "three!", "two!"]
        assert (await db.execute(select(NOTES))).first() is None
        streamed = await db.stream(insert(NOTES).returning(NOTES.c.id), [{"body": "four"}])
        assert await streamed.scalars().all() == [1]


async def test_a_refused_statement_and_what_follows(engine: AsyncEngine) -> None:
    """An error comes as it is; a transaction that ends by it leaves nothing, and the connection goes on."""

    async def twice() -> None:
        async with engine.begin() as db:
            await db.execute(insert(NOTES).values(body="one"))
            await db.execute(insert(NOTES).values(body="one"))

    with pytest.raises(IntegrityError):
        await twice()
    async with engine.connect() as db:
        with pytest.raises(OperationalError):
            await db.exec_driver_sql("SELECT nothing")
    async with engine.begin() as db:
        assert (await db.execute(select(NOTES))).all() == []


@pytest.mark.parametrize("when", ["BEGIN IMMEDIATE", "INSERT"])
async def test_cancelled_in_a_statement(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """A task that is cancelled while SQLite works, also while it begins, leaves no open transaction and no row."""
    begun, go_on = threading.Event(), threading.Event()
    executed = driver._executed

    def held(connection: Any, method: str, operation: str, parameters: Any) -> Any:
        if operation.startswith(when):
            begun.set()
            assert go_on.wait(10)
        return executed(connection, method, operation, parameters)

    async def write() -> None:
        async with engine.begin() as db:
            await db.execute(insert(NOTES).values(body="one"))

    with monkeypatch.context() as patch:
        patch.setattr(driver, "_executed", held)
        writing = asyncio.create_task(write())
        assert await asyncio.to_thread(begun.wait, 10)
        writing.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await writing
    async with engine.begin() as db:
        assert (await db.execute(select(NOTES))).all() == []


async def test_half_a_character_costs_no_transaction(engine: AsyncEngine) -> None:
    """Half of a surrogate pair in somebody's text is replaced, alone or in a list."""
    async with engine.begin() as db:
        await db.execute(insert(NOTES).values(body="a\ud83d"))
        await db.execute(insert(NOTES), [{"body": "b\ude00"}, {"body": "c"}])
    async with engine.begin() as db:
        assert list((await db.execute(select(NOTES.c.body))).scalars()) == ["a\ufffd", "b\ufffd", "c"]
