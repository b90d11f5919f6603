"""`aircheck addresses renew-all`: every personal address ends, whatever became of the secret, killed or not."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.dialects import studio as events
from bot.errors import StartError
from bot.feeds.addresses import look_up_hash, personal_shelf, token_for
from bot.handlers import Parts
from bot.settings import Settings
from bot.shell import handover
from bot.worker.checking_feed import CheckingFeed
from bot.worker.lanes import Worker
from bot.worker.renewing import NotingEnded, RenewingAddresses, warn_of_another_secret
from storage import ended_addresses, jobs, journal, rooms, secret, studios
from storage.errors import StoreError
from storage.place import Place
from storage.records import EventId, JobState, Listener, StudioState
from storage.store import Store
from storage.tables import secrets as secret_table
from tests.commands.world import BASE, BOT, MEMBER
from tests.commands.world import ROOM as HERE
from tests.commands.world import World as CommandWorld
from tests.factories import a_studio
from tests.postgresql import Server, of_postgresql, of_the_file
from tests.world import ALICE, ROOM, Killed, settings_for

DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "whole": lambda value: value,
    "missing": lambda value: None,
    "empty": lambda value: b"",
    "too long": lambda value: b"x" * 100,
    "another": lambda value: b"x" * 32,
}
"""Secrets that are left of a good one."""
FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$
"""


def now() -> datetime:
    return datetime.now(UTC)


def token(store: Store) -> str:
    """Alice's address as `feed` would make it."""
    return token_for(store.secret(), ROOM, ALICE, 1)


async def stored_secret(place: Place) -> bytes | None:
    """Read the secret where it lies: in the folder's file, or in the row of the database by address."""
    if place.database_url is None:
        file = place.directory / secret.NAME
        return file.read_bytes() if file.exists() else None
    async with handover.closing_store(await Store.join(place)) as beside, beside.read() as db:
        return await secret.get(db, secret.ADDRESSES)


async def damage_secret(place: Place, damage: str) -> None:
    """Damage the secret where it lies, as nobody who uses the store would."""
    value = await stored_secret(place)
    assert value is not None
    left = DAMAGE[damage](value)
    if place.database_url is not None:
        async with handover.closing_store(await Store.join(place)) as beside, beside.write() as db:
            await secret.save(db, secret.ADDRESSES, left)
    elif left is None:
        (place.directory / secret.NAME).unlink()
    else:
        (place.directory / secret.NAME).write_bytes(left)


async def given_address(store: Store) -> str:
    """Give Alice an address."""
    async with store.write() as db:
        await rooms.save_room(db, rooms.new_room(ROOM, now()))
        await rooms.save_listener(db, Listener(ROOM, ALICE, 1, look_up_hash(token(store))))
    return token(store)


async def has_ended(store: Store, address: str) -> bool:
    async with store.read() as db:
        return await ended_addresses.has(db, look_up_hash(address))


async def is_known(store: Store, address: str) -> bool:
    async with store.read() as db:
        return await rooms.listener_by_hash(db, look_up_hash(address)) is not None


async def asked_again(store: Store) -> str:
    async with store.write() as db:
        await rooms.save_listener(db, Listener(ROOM, ALICE, 1, look_up_hash(token(store))))
    return token(store)


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.mark.parametrize("damage", DAMAGE)
async def test_every_address_ends_whatever_became_of_the_secret(settings: Settings, damage: str) -> None:
    """With no bot running: the address that was given out is nobody's, and the next one is another."""
    store = await Store.own(settings.storage.place)
    before = await given_address(store)
    await store.close()
    await damage_secret(store.place, damage)
    for _ in range(2):
        said = await handover.renew_addresses(settings)
        assert said.startswith("All personal addresses have ended, and all studios. ")
    store = await Store.own(settings.storage.place)
    assert not await is_known(store, before)
    assert await has_ended(store, before)
    assert await asked_again(store) != before
    async with store.read() as db:
        assert await jobs.count(db, JobState.READY, JobState.RUNNING, JobState.FAILED) == 0
    await store.close()


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_running_bot_does_it_and_goes_on_with_the_new_secret(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """The command hands it over; what the bot gives out afterwards is made from the new secret."""
    store = await Store.own(settings.storage.place)
    before = await given_address(store)
    await damage_secret(store.place, damage)
    worker = Worker(store, {orders.RenewAddresses.kind: RenewingAddresses(store, now)}, now)
    await worker.start()
    monkeypatch.setattr(handover, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("storage.engines.LISTEN_EVERY_S", 0.02)
    listening = asyncio.create_task(store.database.listen())
    await handover.renew_addresses(settings)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await worker.stop(1)
    assert not await is_known(store, before)
    assert await asked_again(store) != before
    assert await stored_secret(store.place) == store.secret()
    await store.close()


async def test_every_studio_ends_with_the_secret(settings: Settings) -> None:
    """Studios that wait are over, those that run stop with what came so far, and nothing comes late to any."""
    store = await Store.own(settings.storage.place)
    states = (StudioState.WAITING, StudioState.LIVE, StudioState.PAUSED, StudioState.OVER)
    async with store.write() as db:
        await rooms.save_room(db, rooms.new_room(ROOM, now()))
        waiting = [a_studio(room_id=ROOM, key=f"{number:032x}") for number in range(4)]
        made = [await studios.add(db, replace(each, state=state)) for each, state in zip(waiting, states, strict=True)]
        await studios.save(db, replace(made[3], last=4))
    await store.close()
    await handover.renew_addresses(settings)
    store = await Store.own(settings.storage.place)
    async with store.read() as db:
        found = [await studios.get(db, studio.id) for studio in made]
        stopped = [await journal.position_of(db, events.change_id(studio, 1)) for studio in made]
    assert [(each.state, each.last) for each in found if each] == [(StudioState.OVER, None)] * 4
    assert [position is not None for position in stopped] == [False, True, True, False]
    await store.close()


@pytest.mark.parametrize("where", ["before the secret", "after the secret", "after the rows"])
async def test_killed_on_the_way_it_is_done_by_the_next_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The work is written down first: a bot that starts, or the command again, does the rest."""
    store = await Store.own(settings.storage.place)
    before = await given_address(store)
    await store.close()

    async def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        match where:
            case "before the secret":
                patch.setattr(type(store.secret), "replace", die)
            case "after the secret":
                patch.setattr(rooms, "forget_listeners", die)
            case _:
                patch.setattr(jobs, "done", die)
        with pytest.raises(Killed):
            await handover.renew_addresses(settings)
    store = await Store.own(settings.storage.place)
    assert await is_known(store, before) == (where != "after the rows")
    worker = Worker(store, {orders.RenewAddresses.kind: RenewingAddresses(store, now)}, now)
    await worker.start()
    with store.changes.subscribe() as changed:
        while True:
            changed.clear()
            async with store.read() as db:
                if await jobs.count(db, JobState.DONE):
                    break
            await changed.wait()
    await worker.stop(1)
    assert not await is_known(store, before)
    assert await asked_again(store) != before
    await store.close()


async def test_the_loss_of_the_secret_ends_no_address_and_is_told(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Addresses are rows: without their secret they go on, and the log names the command that ends them."""
    store = await Store.own(settings.storage.place)
    before = await given_address(store)
    caplog.set_level(logging.WARNING)
    await warn_of_another_secret(store)
    assert not caplog.records
    await store.close()
    await damage_secret(store.place, "missing")
    store = await Store.own(settings.storage.place)
    await warn_of_another_secret(store)
    assert "aircheck addresses renew-all" in caplog.text
    assert before not in caplog.text
    assert await is_known(store, before)
    await store.close()


@of_the_file
async def test_a_disk_that_can_not_be_written_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends with the sentence; the addresses of before go on until it was done."""
    store = await Store.own(settings.storage.place)
    before = await given_address(store)
    await store.close()

    def full(*_: object) -> bytes:
        raise StoreError("addresses.key can't be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("storage.secret.SecretFile.renew", full)
        with pytest.raises(StartError, match="No space left"):
            await handover.renew_addresses(settings)
    store = await Store.own(settings.storage.place)
    assert await is_known(store, before)
    assert token(store) == before
    await store.close()


@of_postgresql
async def test_a_database_that_is_full_changes_nothing(settings: Settings) -> None:
    """The same where the secret is a row. The order stays, and the next start does it."""
    store = await Store.own(settings.storage.place)
    before = await given_address(store)
    async with store.write() as db:
        await db.exec_driver_sql(FULL)
        await db.exec_driver_sql(
            f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {secret_table.name} EXECUTE FUNCTION full_disk()"
        )
    await store.close()
    with pytest.raises(StartError, match="PostgreSQL's disk is full"):
        await handover.renew_addresses(settings)
    store = await Store.own(settings.storage.place)
    assert await is_known(store, before)
    assert token(store) == before
    async with store.read() as db:
        assert await jobs.count(db, JobState.READY) == 1
    await store.close()


async def test_addresses_that_were_renewed_before_are_known_as_ended(settings: Settings) -> None:
    """Each earlier address of a listener has ended, the one of now and the one that waits have not, killed or not."""
    store = await Store.own(settings.storage.place)
    tokens = [token_for(store.secret(), ROOM, ALICE, generation) for generation in range(1, 5)]
    hashes = [look_up_hash(each) for each in tokens]
    async with store.write() as db:
        await rooms.save_room(db, rooms.new_room(ROOM, now()))
        await rooms.save_listener(db, Listener(ROOM, ALICE, 3, hashes[2], next_generation=4, next_sha256=hashes[3]))
        await jobs.add(db, orders.NoteEnded().job(), now())
        (job,) = await jobs.claim(db, [orders.NoteEnded.kind], now(), 1)
    for _ in range(2):
        await NotingEnded(store, now)(job)
    assert [await has_ended(store, each) for each in tokens] == [True, True, False, False]
    await store.close()


async def test_what_another_process_renewed_is_used_at_once(postgresql: Server, tmp_path: Path) -> None:
    """`feed` saves the address that the direct chat gets, and a check asks for it, made of the secret that another
    process has put there, although nobody has told this one of it."""
    place = Place(tmp_path / "data", await postgresql.new())
    owned, joined = await Store.own(place), None
    try:
        joined = await Store.join(place)
        world = CommandWorld(owned)
        world.secret = owned.secret.within
        await world.open()
        await joined.secret.replace()
        await world.say(MEMBER, "!aircheck feed")
        nothing: Any = None
        check = CheckingFeed(owned, BASE, now, us=BOT, check_calls=nothing)
        asked = orders.CheckFeed(HERE, EventId("$check"), HERE, MEMBER, None)
        parts = Parts(world.settings, owned, *[nothing] * 9)
        async with owned.read() as db:
            listener = await rooms.listener(db, HERE, MEMBER)
            feed, _ = await parts.personal_addresses(db, HERE, MEMBER, 1)
        address = token_for(joined.secret(), HERE, MEMBER, 1)
        assert listener is not None
        assert listener.token_sha256 == look_up_hash(address)
        assert feed == personal_shelf(BASE, address).feed
        assert await check._address(asked) == (feed, True)
    finally:
        if joined is not None:
            await joined.close()
        await owned.close()
