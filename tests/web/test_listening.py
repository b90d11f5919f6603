"""Live listening that other processes know of: who makes the frames may be another than who serves."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from bot.web.listening import Listening
from storage import live_listening
from storage.live_listening import LISTENED_FOR
from storage.place import Place
from storage.records import RecordingId
from storage.store import Store
from tests.clock import Clock
from tests.postgresql import Server

LIVE, OTHER = RecordingId(7), RecordingId(8)


async def test_each_process_knows_who_listens_by_another(postgresql: Server, tmp_path: Path) -> None:
    """A request is written down at once, and counts for as long as in its own process."""
    address = await postgresql.new()
    place = Place(tmp_path / "data", address)
    bot, clock = await Store.own(place), Clock()
    web = await Store.join(replace(place, directory=tmp_path / "elsewhere"))
    here, there = Listening(web, clock), Listening(bot, clock)
    here.start()
    here.note(LIVE)
    async with asyncio.timeout(10):
        while True:
            async with bot.read() as db:
                if await there.is_listened_anywhere(db, LIVE):
                    break
            await asyncio.sleep(0.01)
    async with bot.read() as db:
        assert not await there.is_listened_anywhere(db, OTHER)
        clock.pass_by(LISTENED_FOR.total_seconds())
        assert not await there.is_listened_anywhere(db, LIVE)
    await here.stop()
    for store in (web, bot):
        await store.close()
    await postgresql.drop(address)


async def test_old_notes_go(tmp_path: Path) -> None:
    """A note is deleted with a later one, and with its recording."""
    store, clock = await Store.own(Place(tmp_path / "data")), Clock()
    async with store.write() as db:
        await live_listening.note(db, "one", {LIVE: 2, OTHER: 1}, clock())
        await live_listening.note(db, "other", {LIVE: 3}, clock())
        assert await live_listening.count(db, LIVE, clock()) == 5
        assert await live_listening.count(db, LIVE, clock(), but="one") == 3
        await live_listening.note(db, "", {LIVE: 1}, clock())  # of before an upgrade
        assert await live_listening.count(db, LIVE, clock()) == 6
        assert await live_listening.is_listened(db, LIVE, clock())
        await live_listening.forget(db, LIVE)
        assert not await live_listening.is_listened(db, LIVE, clock())
        await live_listening.note(db, "one", {}, clock() + timedelta(hours=2))
        assert not await live_listening.is_listened(db, OTHER, clock())
    await store.close()
