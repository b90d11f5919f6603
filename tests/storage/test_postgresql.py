"""PostgreSQL: what it tells of itself, and what becomes of the work when it or the way to it is gone."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from storage import engines, journal
from storage.database import Database
from storage.errors import DiskFullError, StoreBusyError, StoreError, StoreTooNewError
from storage.place import Place
from storage.postgresql import PostgreSQL
from storage.postgresql_errors import statement_failed
from storage.store import Store
from storage.tables import feed_editions
from tests.postgresql import Server

SECRET = "hunter2"


@pytest.fixture
async def address(postgresql: Server) -> AsyncIterator[str]:
    """Make a database with all tables."""
    made = await postgresql.new()
    yield made
    await postgresql.drop(made)


@pytest.fixture
async def empty(postgresql: Server) -> AsyncIterator[str]:
    """Make a database without tables."""
    made = await postgresql.new(empty=True)
    yield made
    await postgresql.drop(made)


@asynccontextmanager
async def opened(tmp_path: Path, address: str, number: int = 1) -> AsyncIterator[Store]:
    """Open a store as one process of several."""
    store = await Store.join(Place(tmp_path / f"data{number}", address))
    try:
        yield store
    finally:
        await store.close()


def name_of(address: str) -> str:
    return address.partition("@/")[2].partition("?")[0]


async def put(store: Store, value: str) -> None:
    async with store.write() as db:
        await journal.put(db, "key", value)


async def value(store: Store) -> str | None:
    async with store.read() as db:
        return await journal.get(db, "key")


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110  other processes set no event of ours
            await asyncio.sleep(0.02)


# ---- what it says


async def refusal(place: Place) -> StoreError:
    with pytest.raises(StoreError) as refused:
        await Store.own(place)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)
    return refused.value


async def test_who_may_not_come_in_is_told_why(tmp_path: Path, postgresql: Server, address: str) -> None:
    """A wrong password, a database that does not exist, a server that is not there and an address that is none are one
    sentence each, which names the setting and not what stands in it."""
    folder = f"?host={postgresql.folder / 'data'}"
    await postgresql.execute("DROP ROLE IF EXISTS guarded", "CREATE ROLE guarded LOGIN PASSWORD 'right'")
    expected = {
        address.replace("postgres@", f"guarded:{SECRET}@"): "refuses the user or the password",
        f"postgresql+asyncpg://postgres:{SECRET}@/nowhere{folder}": "does not exist",
        f"postgresql+asyncpg://postgres:{SECRET}@127.0.0.1:1/nowhere": "can't be reached.*Connection refused",
        f"postgresql+asyncpg://postgres:{SECRET}@/x?host=/nowhere": "can't be reached",
        f"postgresql+asyncpg://postgres:{SECRET}@host:port:port/x": "is no address",
        f"postgresql+asyncpg://postgres:{SECRET}@/x{folder}&sslmode=perhaps": "is no address",
    }
    for wrong, why in expected.items():
        error = await refusal(Place(tmp_path / "data", wrong))
        assert "storage.database_url" in str(error)
        with pytest.raises(type(error), match=why):
            raise error


async def test_a_database_of_another_version_is_refused(tmp_path: Path, postgresql: Server, address: str) -> None:
    """A newer database is left to the newer program; readers leave an older one and an empty one to `run`."""
    place = Place(tmp_path / "data", address)
    set_to = "UPDATE alembic_version SET version_num = '{}'"
    await postgresql.execute(set_to.format("9999"), database=name_of(address))
    assert isinstance(await refusal(place), StoreTooNewError)
    await postgresql.execute(set_to.format("0001"), database=name_of(address))
    with pytest.raises(StoreError, match="older Aircheck: start `aircheck run` once"):
        await Store.look(place)
    await postgresql.execute("DROP TABLE alembic_version", database=name_of(address))
    with pytest.raises(StoreError, match="holds no tables of Aircheck's: start `aircheck run` once"):
        await Store.look(place)


async def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path, postgresql: Server, empty: str) -> None:
    """Other tables are no Aircheck's, and texts that can't hold all languages are refused before anything is made."""
    await postgresql.execute("CREATE TABLE theirs (id int)", database=name_of(empty))
    assert "holds other tables" in str(await refusal(Place(tmp_path / "data", empty)))
    latin = "test_latin"
    await postgresql.execute(
        f"DROP DATABASE IF EXISTS {latin}", f"CREATE DATABASE {latin} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    )
    assert "UTF-8" in str(await refusal(Place(tmp_path / "data", postgresql.address(latin))))
    await postgresql.drop(postgresql.address(latin))


async def test_an_upgrade_that_fails_leaves_nothing(
    tmp_path: Path, postgresql: Server, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables are made in one transaction, and by the next start after one that failed."""
    place = Place(tmp_path / "data", empty)
    with monkeypatch.context() as patch:
        patch.setattr("storage.postgresql_schema.make_texts_plain", _broken)
        with pytest.raises(ZeroDivisionError):
            await Store.own(place)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert (await postgresql.execute(tables, database=name_of(empty)))[0][0] == 0
    opened_at_once = await asyncio.gather(Database.open(place), Database.open(place))
    for database in opened_at_once:
        async with database.read() as db:
            assert await journal.get(db, "key") is None
        await database.close()


def _broken(_: object) -> None:
    raise ZeroDivisionError


async def test_texts_have_one_order_everywhere(postgresql: Server, address: str) -> None:
    """No text is ordered by a language, so pages of a list go on where the last one ended."""
    other = "SELECT count(*) FROM pg_attribute JOIN pg_collation c ON c.oid = attcollation WHERE collname <> 'C' AND {}"
    ours = "attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r')"
    assert (await postgresql.execute(other.format(ours), database=name_of(address)))[0][0] == 0


class Said(Exception):
    """A driver's error with a state."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("secret")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("53100", DiskFullError, "disk is full"),
        ("53300", StoreBusyError, "accepts no more connections"),
        ("55P03", StoreBusyError, "it is locked"),
        ("57P01", StoreBusyError, "shutting down"),
        ("08006", StoreBusyError, "connection to PostgreSQL was lost"),
        ("XX001", StoreError, "restore it from a backup"),
        ("25006", StoreError, "name the primary one"),
        ("42501", StoreError, "lacks rights"),
    ],
)
def test_trouble_is_named(state: str, kind: type[StoreError], words: str) -> None:
    """Each state with an outside cause is one sentence without values; a bug of ours stays what it is."""
    error = statement_failed(DBAPIError("SELECT", None, Said(state)))
    assert type(error) is kind
    assert words in str(error)
    assert "secret" not in str(error)
    assert statement_failed(DBAPIError("SELECT", None, Said("42P01"))) is None


# ---- texts


async def test_a_character_that_it_cannot_hold_is_replaced(tmp_path: Path, address: str) -> None:
    """A zero byte or half a character in somebody's text, alone or in a list, costs no transaction."""
    async with opened(tmp_path, address) as store:
        async with store.write() as db:
            await journal.put(db, "a\0b", "c\0d\ud83d")
            await journal.put(db, "plain", "text")
        async with store.read() as db:
            assert await journal.get(db, "a\0b") == "c\ufffdd\ufffd"
            assert await journal.get(db, "plain") == "text"


# ---- many processes


async def test_writers_take_turns_and_readers_do_not_wait(tmp_path: Path, address: str) -> None:
    """Nobody changes what a process read in its transaction for writing before it ends; readers see the state
    before it meanwhile."""
    async with opened(tmp_path, address) as one, opened(tmp_path, address, 2) as other:

        async def count(store: Store) -> None:
            for _ in range(10):
                async with store.write() as db:
                    now = int(await journal.get(db, "key") or 0)
                    await asyncio.sleep(0)
                    await journal.put(db, "key", str(now + 1))

        await asyncio.gather(count(one), count(other), count(one), count(other))
        assert await value(one) == "40"
        async with one.write() as db:
            await journal.put(db, "key", "41")
            assert await value(other) == "40"
        assert await value(other) == "41"


async def test_each_session_prefers_indexes(tmp_path: Path, address: str) -> None:
    """Sessions of all kinds take an index for a few rows of a large table, as on a disk that does not turn."""
    async with opened(tmp_path, address) as store:
        for begin in (store.read, store.write, store.claim):
            async with begin() as db:
                assert (await db.exec_driver_sql("SHOW random_page_cost")).scalar_one() == "1.1"


async def test_a_reader_can_not_write_and_sees_one_moment(tmp_path: Path, address: str) -> None:
    """A transaction for reading refuses to write, and does not see what is committed while it lasts."""
    async with opened(tmp_path, address) as store:
        await put(store, "before")
        async with store.read() as db:
            assert await journal.get(db, "key") == "before"
            await put(store, "after")
            assert await journal.get(db, "key") == "before"
        with pytest.raises(StoreError, match="only lets itself be read"):
            async with store.read() as db:
                await journal.put(db, "key", "never")


async def test_a_commit_is_heard_by_others_at_once(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process hears which tables a commit wrote, those of no interest included, without looking for it; its
    own commits count once."""
    monkeypatch.setattr(engines, "LISTEN_EVERY_S", 1000)
    async with opened(tmp_path, address) as one, opened(tmp_path, address, 2) as other:
        listening = [asyncio.create_task(store.database.listen()) for store in (one, other)]
        await eventually(lambda: _answer(one.changes.number == other.changes.number == 1))
        before, quiet = other.changes.of("meta"), other.changes.of("feed_editions")
        await put(one, "value")
        await eventually(lambda: _answer(other.changes.of("meta") == before + 1))
        assert one.changes.number == other.changes.number == 2
        async with one.write() as db:
            await db.exec_driver_sql("SELECT 1")
            await db.execute(feed_editions.delete())
        await eventually(lambda: _answer(other.changes.of("feed_editions") == quiet + 1))
        assert one.changes.number == other.changes.number == 2
        assert other.changes.of("meta") == before + 1
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)


async def _answer(holds: bool) -> bool:
    return holds


async def _heard_by(other: Store, one: Store) -> bool:
    """Commit, and tell whether the other process has heard of the table that was written."""
    await put(one, "after")
    await asyncio.sleep(0.02)
    return other.changes.of("meta") > other.changes.of("jobs")


# ---- trouble


def all_ended(store: Store) -> bool:
    """Return whether this process has seen the end of all its connections."""
    engines_of_store = store.database._engines
    assert isinstance(engines_of_store, PostgreSQL)
    return all(connection.is_closed() for connection in engines_of_store._opener._opened)


CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"


async def test_a_connection_that_is_cut_in_a_transaction_writes_nothing(
    tmp_path: Path, postgresql: Server, address: str
) -> None:
    """The transaction fails as a whole with trouble that passes; the next ones, by new connections, work."""
    cut = CUT.format(name_of(address))
    async with opened(tmp_path, address) as store:
        await put(store, "before")

        async def write() -> None:
            async with store.write() as db:
                await journal.put(db, "key", "lost")
                await postgresql.execute(cut)
                await journal.put(db, "key", "lost too")

        async def read() -> None:
            async with store.read() as db:
                await journal.get(db, "key")
                await postgresql.execute(cut)
                await journal.get(db, "key")

        for cut_short in (write, read):
            with pytest.raises(StoreBusyError):
                await cut_short()
        assert await value(store) == "before"
        await postgresql.execute(cut)
        await eventually(lambda: _answer(all_ended(store)))
        await put(store, "after")
        assert await value(store) == "after"


async def test_a_server_that_restarts_is_waited_for(
    tmp_path: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server is away each use says so, nothing that was committed is lost, and commits are heard again."""
    monkeypatch.setattr(engines, "LISTEN_EVERY_S", 0.02)
    server = Server("restarting")
    server.start()
    try:
        address = await server.new()
        await server.execute(f"ALTER DATABASE {name_of(address)} SET synchronous_commit = on")
        async with opened(tmp_path, address) as one, opened(tmp_path, address, 2) as other:
            listening = asyncio.create_task(other.database.listen())
            await put(one, "before")

            async def meanwhile() -> None:
                for attempt in (put(one, "lost"), value(one)):
                    with pytest.raises(StoreBusyError):
                        await attempt
                number = other.changes.number
                await eventually(lambda: _answer(other.changes.number > number + 1))

            await server.restart(meanwhile)
            assert await value(one) == await value(other) == "before"
            await eventually(lambda: _heard_by(other, one))
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    finally:
        server.stop()


# ---- the server of the tests


KILLED = """
import asyncio, time
from tests.postgresql import Server
Server._make_template = lambda _: asyncio.sleep(0)
server = Server("killed")
server.start()
print(server.folder, flush=True)
time.sleep(600)  # until it is killed
"""


def test_a_run_of_tests_that_is_killed_leaves_no_server_behind() -> None:
    """Its data goes too."""
    with subprocess.Popen((sys.executable, "-c", KILLED), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        run.kill()
    for _ in range(300):
        if not folder.exists() and not Path(f"/proc/{server}").exists():
            return
        time.sleep(0.1)  # nobody is left to tell of its end
    raise AssertionError("the server runs on")
