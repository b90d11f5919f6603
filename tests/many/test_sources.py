"""Source clients at two web servers over one database: a broadcast has one of them at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from bot.studio.life import HELD_FOR
from bot.web import source_work
from storage import studios
from storage.records import Studio, StudioSource, StudioState
from storage.store import Store
from tests.connections import connected
from tests.postgresql import Server
from tests.studio.air import TOKEN, as_file, on_the_air, spoken
from tests.web.test_sources import MP3, closed, request, send, status
from tests.web.tower import WITHIN_S, Tower


class Pair(NamedTuple):
    """Two web servers; the first one is the bot's own."""

    one: Tower
    other: Tower


@pytest.fixture
async def pair(postgresql: Server, tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as ends:
        address = await postgresql.new()
        air = await ends.enter_async_context(on_the_air(tmp_path / "data", storage={"database_url": address}))
        store = await Store.join(air.bot.settings.storage.place)
        ends.push_async_callback(store.close)
        hearing = [asyncio.create_task(each.follow()) for each in (air.bot.store, store)]
        made = Pair(Tower(air), Tower(air, store))
        try:
            for tower in made:
                await tower.server.start()
            yield made
        finally:
            for tower in made:
                await tower.server.stop()
            for task in hearing:
                task.cancel()
            await asyncio.gather(*hearing, return_exceptions=True)


async def shown_now(tower: Tower, studio: Studio) -> None:
    """Wait until the source of a studio has shown itself."""
    with tower.air.bot.store.changes.subscribe() as changed:
        async with asyncio.timeout(WITHIN_S):
            while True:
                changed.clear()
                if (await tower.air.now(studio)).heard_at == tower.air.bot.clock():
                    return
                await changed.wait()


async def test_silent_source_keeps_its_broadcast(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a source is connected to one process and sends nothing, another one is refused by the other process."""
    monkeypatch.setattr(source_work, "RIGHT_EVERY_S", 0.05)
    studio = await pair.one.air.studio(StudioSource.CLIENT, TOKEN)
    async with connected(pair.one.port) as line, connected(pair.other.port) as second:
        line.writer.write(request())
        assert await status(line) == 200
        await send(line, await as_file(spoken(6), *MP3))
        await pair.one.has_slices(studio, 2)
        pair.one.air.bot.clock.pass_by(HELD_FOR.total_seconds() + 5)
        await shown_now(pair.one, studio)
        second.writer.write(request())
        assert await status(second) == 403
    await pair.one.becomes(studio, StudioState.PAUSED)


async def test_source_whose_process_showed_nothing_is_replaced(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not shown its source for long loses the broadcast to another source, which goes on with it
    alone: what the first one sends then is taken no more, and ends nothing."""
    monkeypatch.setattr(source_work, "RIGHT_EVERY_S", 3600.0)
    studio = await pair.one.air.studio(StudioSource.CLIENT, TOKEN)
    sound = await as_file(spoken(12), *MP3)
    half = len(sound) // 2
    async with connected(pair.one.port) as first, connected(pair.other.port) as second:
        first.writer.write(request())
        assert await status(first) == 200
        await send(first, sound[:half])
        await pair.one.has_slices(studio, 2)
        pair.one.air.bot.clock.pass_by(HELD_FOR.total_seconds())
        second.writer.write(request())
        assert await status(second) == 200
        await send(second, sound)
        await pair.one.has_slices(studio, 4)
        owner = (await pair.one.air.now(studio)).client
        await send(first, sound[half:])
        assert await closed(first)
        now = await pair.one.air.now(studio)
        assert (now.state, now.client) == (StudioState.LIVE, owner)
        second.writer.write_eof()
        assert await closed(second)
    await pair.one.becomes(studio, StudioState.PAUSED)
    async with pair.one.air.bot.store.read() as db:
        numbers = [piece.number for piece in await studios.slices_of(db, studio.id)]
    assert numbers == [*range(1, len(numbers) + 1)]
