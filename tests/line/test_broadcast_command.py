"""`aircheck broadcast` beside `aircheck run`, each a process of its own, on a real homeserver: the bot is killed."""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.demo.people import Person
from bot.demo.slicing import Slicer, speech
from storage import archive, studios
from storage.records import StudioId
from storage.store import Store
from tests.buckets.servers import TestBucket
from tests.lab import People, decode
from tests.line.conftest import Worlds
from tests.line.test_process import process, published, recordings
from tests.line.world import World, newest_episode, subscribed_room
from tests.many.town import until
from tests.postgresql import Server
from tests.studio.air import assert_aligned, broadcast_command

pytestmark = pytest.mark.long
ENDS_WITHIN_S = 120
FIRST = StudioId(1)


def command(log: Path, *arguments: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """Run the command under the settings of the bot of this log."""
    return broadcast_command(log.with_suffix(".yaml"), *arguments)


async def stored(bot: World, count: int, studio: StudioId = FIRST) -> None:
    """Wait until a studio has so many slices."""
    store = await Store.look(bot.settings.storage.place)
    try:

        async def are_stored() -> bool:
            async with store.read() as db:
                return len(await studios.slices_of(db, studio)) >= count

        await until(are_stored)
    finally:
        await store.close()


async def recorded_chunks(bot: World) -> list[int | None]:
    """Return the numbers of the chunks of all recordings."""
    store = await Store.look(bot.settings.storage.place)
    try:
        async with store.read() as db:
            found = [await archive.chunks(db, each) for each in await archive.all_ids(db)]
        return [chunk.sequence for chunks in found for chunk in chunks]
    finally:
        await store.close()


async def survives_kill_9_of_the_bot(bot: World, alice: Person, folder: Path) -> None:
    """Kill the bot in the middle of a broadcast of the command, which writes on without any; start it again, and check
    the episode."""
    log = folder / "log"
    slicer = Slicer(1, 60.0)
    slicer.feed(speech(1)[:1300])
    slicer.end()
    data, truth = slicer.ogg(), decode(slicer.ogg())
    third = len(data) // 3
    async with process(bot, log) as running:
        room, feed, _ = await subscribed_room(bot, alice, encrypted=False)
        async with command(log, "--fast", "--as", alice.user_id, room, "-") as broadcast:
            assert broadcast.stdin is not None
            broadcast.stdin.write(data[:third])
            await stored(bot, 2)
            await running.end(signal.SIGKILL)
            broadcast.stdin.write(data[third : 2 * third])
            await stored(bot, 4)  # there is no bot
            await running.start()
            out, err = await asyncio.wait_for(broadcast.communicate(data[2 * third :]), ENDS_WITHIN_S)
            assert broadcast.returncode == 0, err
            assert b"its episode is ready" in out
        await published(bot, alice)
        found = decode(await newest_episode(feed))
        assert len(found) == len(truth)
        assert_aligned(found, truth)
        (recording,) = await recordings(bot, log)
        assert (recording["state"], recording["ended_by"]) == ("complete", "stopped")
        numbers = await recorded_chunks(bot)
        assert numbers == list(range(1, len(numbers) + 1))
        assert await running.end(signal.SIGTERM) == 0


async def test_kill_9_of_the_bot_beside_it(world: Worlds, person: People, tmp_path: Path) -> None:
    """The command writes on while there is no bot; the bot that starts again goes on with it: the broadcast is complete
    to the sample, and nothing is there twice."""
    await survives_kill_9_of_the_bot(await world(), await person("alice"), tmp_path)


async def test_the_same_over_postgresql_and_a_bucket(
    world: Worlds, person: People, postgresql: Server, bucket: TestBucket, tmp_path: Path
) -> None:
    """The bot that starts again is the owner once the lease of the killed one has ended; the command needs none."""
    address = await postgresql.new(empty=True)
    bot = await world(storage={"database_url": address, "media_url": bucket.url()})
    await survives_kill_9_of_the_bot(bot, await person("alice"), tmp_path)
    await postgresql.drop(address)
