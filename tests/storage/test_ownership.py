"""The ownership of the session with PostgreSQL: one process at a time, and nothing written by a former owner."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.process import end_when_upgraded
from bot.web.bot_state import BotState
from storage import journal, owner, ownership
from storage.errors import OwnerLostError, StoreError, StoreLockedError, StoreTooNewError
from storage.lease import LEASE_S, STOP_S
from storage.ownership import Ownership, machine_time
from storage.place import Place
from storage.postgresql import connect, engine_of, parsed
from storage.store import Store, is_owned
from tests.postgresql import Server

HEARD_AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
async def shared(postgresql: Server, tmp_path: Path) -> AsyncIterator[Place]:
    address = await postgresql.new()
    yield Place(tmp_path / "data", address)
    await postgresql.drop(address)


async def say(place: Place, *statements: str) -> None:
    """Execute statements as another program would."""
    connection = await connect(parsed(place.database_url or ""))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def lapse(place: Place) -> None:
    """Have the lease end, as it does when nobody renews it."""
    await say(place, "UPDATE owner SET until = (now() AT TIME ZONE 'UTC') - interval '1 second'")


def pause(store: Store) -> Ownership:
    """Have a store's owner renew no more, as a process that is stopped."""
    assert isinstance(store.ownership, Ownership)
    store.ownership._renewing.cancel()
    return store.ownership


async def note(store: Store, value: str) -> None:
    async with store.write() as db:
        await journal.put(db, "test", value)


async def noted(store: Store) -> str | None:
    async with store.read() as db:
        return await journal.get(db, "test")


async def test_one_after_the_other(shared: Place) -> None:
    """While a process owns the session no other can; when it has ended, another can at once, with a higher epoch."""
    first = await Store.own(shared)
    with pytest.raises(StoreLockedError, match="another Aircheck owns"):
        await Store.own(shared)
    assert await is_owned(shared)
    async with first.read() as db:
        one = await owner.last(db)
    await first.close()
    assert not await is_owned(shared)
    second = await Store.own(shared)
    async with second.read() as db:
        other = await owner.last(db)
    assert one is not None
    assert other is not None
    assert other.epoch > one.epoch
    assert second.ownership is not None
    assert second.ownership.epoch == other.epoch
    await second.close()


async def test_a_process_that_died_is_waited_for(shared: Place) -> None:
    """When the lock ends without a word, its owner may live on behind a network that was cut: the lease is waited
    for."""
    first = await Store.own(shared)
    pause(first)._connection.terminate()
    with pytest.raises(StoreLockedError):
        await Store.own(shared)
    await lapse(shared)
    second = await Store.own(shared)
    await second.close()
    await first.close()


async def test_a_paused_owner_writes_nothing_when_it_wakes(shared: Place) -> None:
    """An owner that was paused past its lease has its connections ended; its next write is refused, and all that it had
    begun is undone."""
    first = await Store.own(shared)
    await note(first, "before")
    paused = pause(first)
    taken: list[Store] = []

    async def write_while_another_takes_over() -> None:
        async with first.write() as db:
            await journal.put(db, "test", "begun")
            await lapse(shared)
            taken.append(await Store.own(shared))
            await note(taken[0], "second")

    with pytest.raises(StoreError):
        await write_while_another_takes_over()
    (second,) = taken
    with pytest.raises(OwnerLostError, match="another process has taken it over"):
        await note(first, "woken")
    with pytest.raises(OwnerLostError):
        async with first.database.claim():
            pass
    assert not paused.holds()
    assert paused.lost.done()
    assert await noted(second) == "second"
    await note(second, "again")
    await first.close()
    assert second.ownership is not None
    assert second.ownership.holds()
    await second.close()


async def test_a_lost_connection_is_replaced(shared: Place) -> None:
    """An owner whose connection ends goes on with another, and keeps lock and lease."""
    store = await Store.own(shared)
    owning = pause(store)
    owning.heard_at = lambda: HEARD_AT
    await say(shared, ownership.END.replace("$1", f"'{owning.name}'"))
    await owning._renew_in_time()
    with pytest.raises(StoreLockedError):
        await Store.own(shared)
    await lapse(shared)
    async with store.read() as db:
        row = await owner.last(db)
    assert row is not None
    assert (row.heard_at, row.ready) == (HEARD_AT, False)
    with pytest.raises(OwnerLostError):  # whose lease has ended does not renew it, though nobody took over
        await owning._renew_in_time()
    await store.close()


async def test_a_lease_that_could_not_be_renewed(shared: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that can't reach the database stops by its own clock, before another process may begin."""
    store = await Store.own(shared)
    owning = pause(store)
    later = machine_time() + LEASE_S - STOP_S
    monkeypatch.setattr(ownership, "machine_time", lambda: later)
    assert not owning.holds()
    with pytest.raises(OwnerLostError, match="in time"):
        await note(store, "late")
    with pytest.raises(OwnerLostError, match="in time"):
        await owning.lost
    assert await is_owned(shared)
    await store.close()


async def test_a_database_that_is_away(shared: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewing is tried until the lease ends; the error says why."""
    store = await Store.own(shared)
    owning = pause(store)
    now = [machine_time()]
    tries = []

    async def refuse(*_: object) -> None:
        tries.append(now[0])
        now[0] += 5
        raise ConnectionRefusedError

    monkeypatch.setattr(ownership, "machine_time", lambda: now[0])
    monkeypatch.setattr(ownership, "AGAIN_S", 0)
    monkeypatch.setattr(owning, "_renew", refuse)
    with pytest.raises(OwnerLostError, match="in time"):
        await owning._renew_in_time()
    assert len(tries) == 3
    await store.close()


async def test_two_that_wait(shared: Place) -> None:
    """Several processes that take over at once end up with a single owner."""
    results = await asyncio.gather(*(Store.own(shared) for _ in range(4)), return_exceptions=True)
    owners = [result for result in results if isinstance(result, Store)]
    assert len(owners) == 1
    assert all(isinstance(result, StoreLockedError) for result in results if result is not owners[0])
    await owners[0].close()


async def test_a_folder_has_one_database(shared: Place, postgresql: Server) -> None:
    """While a process owns the session of a folder, one with another database is refused there, and so is SQLite; later
    too, since the rows are elsewhere."""
    other = replace(shared, database_url=await postgresql.new())
    file = replace(shared, database_url=None)
    store = await Store.own(shared)
    (store.blobs.scratch / "part").touch()
    for place in (other, file):
        with pytest.raises(StoreLockedError, match="another Aircheck is running on"):
            await Store.own(place)
    assert (store.blobs.scratch / "part").exists()
    await store.close()
    for opens in (Store.own, Store.look):
        with pytest.raises(StoreError, match=r"is in PostgreSQL: set storage\.database_url"):
            await opens(file)
    await (await Store.own(other)).close()
    await postgresql.drop(other.database_url or "")


async def test_a_stand_by_leaves_the_lock_to_the_owner(shared: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the lease lasts a process that waits does not touch the lock; and an owner that finds it taken when its
    connection was lost tries again until its lease ends."""
    store = await Store.own(shared)
    owning = pause(store)
    with monkeypatch.context() as patch:
        patch.setattr(ownership, "TRY_LOCK", "SELECT 1/0")
        with pytest.raises(StoreLockedError, match="another Aircheck owns"):
            await Store.own(shared)
    refused = asyncio.Event()
    locked_again = owning._locked_again

    async def note_refusal() -> bool:
        locked = await locked_again()
        if not locked:
            refused.set()
        return locked

    monkeypatch.setattr(owning, "_locked_again", note_refusal)
    holder = await connect(parsed(shared.database_url or ""))
    await say(shared, ownership.END.replace("$1", f"'{owning.name}'"))
    assert await holder.fetchval(ownership.TRY_LOCK, ownership.LOCK)
    renewing = asyncio.create_task(owning._renew_in_time())
    async with asyncio.timeout(10):
        await refused.wait()
    assert not renewing.done()
    await holder.close()
    await renewing
    assert owning.holds()
    await store.close()


async def test_a_command_leaves_what_is_known_of_the_rooms(shared: Place) -> None:
    """An owner that ends without having read the rooms' state leaves the row as it was, but for its epoch; what is
    known of them counts for an hour after the end of a lease, and not where the row is older, as in a backup."""
    bot = await Store.own(shared)
    async with bot.write() as db:
        await owner.note_ready(db, bot.epoch or 0)
    await bot.close()
    for known in (True, False):
        await say(shared, "UPDATE owner SET until = until - interval '31 minutes'")
        command = await Store.own(shared)
        state = BotState(command)
        await state.look()
        assert not state.fresh
        await command.close()
        other = await Store.join(shared)
        state = BotState(other)
        await state.look()
        assert state.fresh is known
        await other.close()


async def test_a_claimer_that_is_cut_off_is_ended_before_the_lease(shared: Place) -> None:
    """The server ends a claim that nobody goes on with while the owner can still renew; an upgrade may take long."""
    store = await Store.own(shared)
    show = "SELECT setting::int FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
    async with store.claim() as db:
        assert (await db.exec_driver_sql(show)).scalar_one() < (LEASE_S - STOP_S - ownership.ATTEMPT_S) * 1000
    engine = engine_of(parsed(shared.database_url or ""), patient=True)
    async with engine.begin() as db:
        assert (await db.exec_driver_sql(show)).scalar_one() == 0
    await engine.dispose()
    await store.close()


async def test_a_process_beside_ends_when_the_tables_are_upgraded(shared: Place) -> None:
    """A process that joined the store ends, with the reason, once a newer version has upgraded the tables."""
    await (await Store.own(shared)).close()
    store = await Store.join(shared)
    await store.refuse_upgraded()
    await say(shared, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNewError, match="written by a newer Aircheck: update the program"):
        await end_when_upgraded(store)
    await store.close()


async def test_others_write_beside_the_owner(shared: Place) -> None:
    """Processes that do not own the session write too, and see whether the owner is ready."""
    store = await Store.own(shared)
    other = await Store.join(shared)
    await note(other, "joined")
    assert await noted(store) == "joined"
    assert store.ownership is not None
    assert store.ownership.epoch is not None
    async with store.write() as db:
        await owner.note_ready(db, store.ownership.epoch)
    async with other.read() as db:
        row = await owner.last(db)
    assert row is not None
    assert row.ready
    await other.close()
    await store.close()
