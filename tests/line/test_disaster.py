"""The drill: a backup of a running bot, a disaster, a restore, and what happened between the two."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from bot import orders
from bot.demo.listener import subscribe
from bot.demo.people import Person
from bot.demo.slicing import speech
from bot.intake import consent
from bot.matrix import room_keys
from bot.shell import backup as backing_up
from bot.shell import handover
from bot.shell import restore as restoring
from storage import archive, jobs, rooms
from storage.records import ChunkState, EventId, RecordingState, RoomId, UserId
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import (
    World,
    assert_exact,
    newest_episode,
    personal_feed,
    recorded,
    reply_to,
    subscribed_room,
    until,
    welcome,
    whole_broadcast,
)
from tests.line.world import look as look_at

SPEECH = speech(1)[:600]  # 12 s


class Visitors:
    """Requests to some addresses, again and again: the statuses that each of them ever gave, in their order."""

    def __init__(self) -> None:
        self.statuses: dict[str, list[int | None]] = {}
        self._opened: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def ever(self, url: str) -> set[int | None]:
        return set(self.statuses[url])

    @asynccontextmanager
    async def visiting(self, *urls: str) -> AsyncIterator["Visitors"]:
        self.statuses = {url: [] for url in urls}
        task = asyncio.create_task(self._visit(urls))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _visit(self, urls: Sequence[str]) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                for url in urls:
                    try:
                        async with http.get(url) as answer:
                            self.statuses[url].append(answer.status)
                            if answer.status == 200:
                                self._opened[url].set()
                    except aiohttp.ClientError:
                        self.statuses[url].append(None)
                    await asyncio.sleep(0.01)

    async def until_open(self, url: str) -> None:
        async with asyncio.timeout(60):
            await self._opened[url].wait()


async def told(bot: World, somebody: Person, words: str) -> None:
    await somebody.wait_for(lambda event: event.is_notice_of(bot.user_id) and words in event.body)


@pytest.mark.parametrize(
    "encrypted",
    [
        pytest.param(True, id="encrypted", marks=pytest.mark.long),
        pytest.param(False, id="plain", marks=pytest.mark.standby),
    ],
)
async def test_a_disaster_costs_nothing_that_can_be_had_and_exposes_nobody(
    world: Worlds, person: People, tmp_path: Path, encrypted: bool
) -> None:
    """After a restore a missed broadcast is found again, and no address gives anything before the redaction and the
    departure since the backup are applied; what was made private stays private."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        room, of_bob, _ = await subscribed_room(bot, alice, encrypted=encrypted, listener=bob)
        of_alice, _ = await personal_feed(bot, alice, room)
        await alice.say(room, "!aircheck publish public")
        await told(bot, alice, "public")
        kept = await whole_broadcast(alice, room, SPEECH)
        await recorded(aircheck.store, kept.broadcast_id, RecordingState.COMPLETE)
        redacted = await whole_broadcast(alice, room, SPEECH)
        await recorded(aircheck.store, redacted.broadcast_id, RecordingState.COMPLETE)
        newest, older = [item.url for item in await subscribe(of_alice)]
        old_device = room_keys.read_session(bot.directory)
        await backing_up.backup(bot.settings, tmp_path / "backup")
        missed = await whole_broadcast(alice, room, SPEECH)
        await recorded(aircheck.store, missed.broadcast_id, RecordingState.COMPLETE)
        await alice.say(room, "!aircheck publish private")
        await told(bot, alice, "private")
        await alice.redact(room, redacted.broadcast_id)
        await bob.leave(room)
        await alice.wait_until(lambda: alice.membership(room, bob.user_id) != "join" or None)
        sealed = await whole_broadcast(alice, room, SPEECH)  # in a new session: somebody left
    await world.destroy(bot)
    await restoring.restore(bot.settings, tmp_path / "backup")

    async with Visitors().visiting(of_alice, of_bob, newest, older) as visitors, bot.starting() as aircheck:
        await visitors.until_open(of_alice)
        listed = [item.url for item in await subscribe(of_alice)]
        assert newest not in listed
        assert older in listed
        assert visitors.statuses[of_alice][-1] == 200
    assert 503 in visitors.ever(of_alice)
    assert 200 not in visitors.ever(of_bob)
    assert 200 not in visitors.ever(newest)

    new_device = room_keys.read_session(bot.directory)
    assert old_device is not None
    assert new_device is not None
    assert new_device.device_id != old_device.device_id
    async with bot.running() as aircheck:
        await recorded(aircheck.store, missed.broadcast_id, RecordingState.COMPLETE)
        if encrypted:
            await _waits_for_keys(aircheck.store, sealed.broadcast_id)
            await alice.export_keys(tmp_path / "exported", "a passphrase")
            await handover.import_keys(bot.settings, tmp_path / "exported", "a passphrase")
        await recorded(aircheck.store, sealed.broadcast_id, RecordingState.COMPLETE)
        await told(bot, alice, "restored from a backup")
        await assert_exact(await newest_episode(of_alice), sealed)


async def _waits_for_keys(store: Store, broadcast: str) -> None:
    """Wait until chunks of a broadcast are listed that can't be decrypted."""

    async def check() -> bool | None:
        found = await look_at(store, broadcast)
        states = {chunk.state for chunk in found[1]} if found is not None else set()
        return True if ChunkState.WAITING_FOR_KEY in states else None

    await until(store, check)


@pytest.mark.long
async def test_wishes_of_an_encrypted_room_outlive_a_disaster(world: Worlds, person: People, tmp_path: Path) -> None:
    """Words said since the backup in an encrypted room, which a restored bot can't read, hold, before
    any address answers: `optout`, `delete`, `unpublish`, `forget me` and `review on`."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        room, of_alice, _ = await subscribed_room(bot, alice, encrypted=True)
        await welcome(bob, alice, room)
        await alice.say(room, "!aircheck publish public")
        await told(bot, alice, "public")
        codes = {}
        for name, speaker in (("deleted", alice), ("unpublished", alice), ("bobs", bob)):
            broadcast = (await whole_broadcast(speaker, room, SPEECH)).broadcast_id
            recording, _ = await recorded(aircheck.store, broadcast, RecordingState.COMPLETE)
            assert recording.public
            codes[name] = recording.code
        items = [item.url for item in await subscribe(of_alice)]
        await backing_up.backup(bot.settings, tmp_path / "backup")
        await ask(alice, room, f"delete {codes['deleted']}", "yes")
        await ask(alice, room, f"unpublish {codes['unpublished']}")
        await ask(bob, room, "forget me", "yes")
        late = (await whole_broadcast(bob, room, SPEECH)).broadcast_id
        await recorded(aircheck.store, late, RecordingState.COMPLETE)
        await ask(bob, room, "forget me", "yes")
        await ask(bob, room, "optout")
        await ask(alice, room, "review on")
        refused = (await whole_broadcast(bob, room, SPEECH)).broadcast_id
        shown = (await whole_broadcast(alice, room, SPEECH)).broadcast_id
        await recorded(aircheck.store, shown, RecordingState.COMPLETE)
        await until(aircheck.store, partial(_wishes_are_kept, aircheck.store))
    await world.destroy(bot)
    await restoring.restore(bot.settings, tmp_path / "backup")

    deleted, unpublished, bobs = (next(url for url in items if codes[name] in url) for name in codes)
    async with Visitors().visiting(of_alice, deleted, unpublished, bobs) as visitors, bot.starting() as aircheck:
        await visitors.until_open(of_alice)
        listed = [item.url for item in await subscribe(of_alice)]
        async with aircheck.store.read() as db:
            assert await consent.is_out(db, RoomId(room), UserId(bob.user_id))
            of_room = await rooms.room(db, RoomId(room))
            states = {name: await archive.recording_by_code(db, code) for name, code in codes.items()}
            again = await archive.recording_by_event(db, EventId(late))
            held = await archive.recording_by_event(db, EventId(shown))
            assert await archive.recording_by_event(db, EventId(refused)) is None
    assert listed == [unpublished]
    assert visitors.ever(deleted) <= {503, 404, 410, None}
    assert visitors.ever(bobs) <= {503, 404, 410, None}
    assert of_room is not None
    assert of_room.review
    for name, known in states.items():
        assert known is not None
        assert (known.state is RecordingState.DELETED) is (name != "unpublished")
        assert name != "unpublished" or not known.public
    assert again is None or again.state is RecordingState.DELETED
    assert held is not None
    assert held.unreviewed


async def ask(somebody: Person, room: str, *commands: str) -> None:
    """Say commands, each after the answer to the one before."""
    for command in commands:
        await reply_to(somebody, await somebody.say(room, f"!aircheck {command}"))


async def _wishes_are_kept(store: Store) -> bool | None:
    """Tell whether nothing waits to be written into the bot's account data."""
    async with store.read() as db:
        waits = await jobs.unfinished(db, orders.KeepWishes.kind)
    return None if waits else True
