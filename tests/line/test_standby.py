"""A stand-by beside the owner of the session: processes that are killed, paused and cut off while a broadcast runs."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from sqlalchemy import make_url

from bot.demo.people import Person
from bot.demo.slicing import Slicer
from storage.lease import LEASE_S
from storage.records import RoomId, StudioId, UserId
from storage.store import Store
from tests.lab import People, decode
from tests.line.cable import Cable, cable
from tests.line.conftest import Worlds
from tests.line.test_broadcast_command import ENDS_WITHIN_S, command, stored
from tests.line.test_process import SPEECH, Process, published, recordings
from tests.line.world import World, assert_exact, newest_episode, send, subscribed_broadcast, subscribed_room
from tests.postgresql import Server
from tests.studio.air import assert_aligned
from tests.web.studio import studio_in

log = logging.getLogger(__name__)

TAKEN_OVER_S = 90.0  # a guard against hanging, no measure
SLACK_S = 15.0  # of a busy machine
STANDS_BY, OWNS = "standing by: another Aircheck owns", "this process owns the Matrix session"


class Bot(Process):
    """A process of `aircheck run`, with its own ways to the database and the homeserver."""

    def __init__(self, world: World, log: Path, database: Cable, homeserver: Cable) -> None:
        self.database = database
        self.homeserver = homeserver
        super().__init__(world, log)

    async def says(self, words: str) -> float:
        """Wait until the log has these words; give the time."""
        async with asyncio.timeout(TAKEN_OVER_S):
            while words not in self.log.read_text():
                assert self.running, self.log.read_text()
                await asyncio.sleep(0.02)
        return time.monotonic()

    def send(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    async def ended(self) -> int:
        assert self._child is not None
        async with asyncio.timeout(TAKEN_OVER_S):
            return await self._child.wait()


@asynccontextmanager
async def bots(world: World, server: Server, folder: Path) -> AsyncIterator[tuple[Bot, Bot]]:
    """An owner that runs, and a stand-by that waits, each with cables of its own and one folder."""
    address = await server.new()
    name = make_url(address).database
    (socket,) = (server.folder / "data").glob(".s.PGSQL.*[0-9]")
    site = urlsplit(world.homeserver.address)
    assert site.hostname
    assert site.port
    made: list[Bot] = []
    async with AsyncExitStack() as stack:
        for number in range(2):
            database = await stack.enter_async_context(cable(socket))
            homeserver = await stack.enter_async_context(cable((site.hostname, site.port)))
            world.tree["storage"] |= {"database_url": f"postgresql+asyncpg://postgres@127.0.0.1:{database.port}/{name}"}
            world.tree["matrix"] |= {"homeserver": f"http://127.0.0.1:{homeserver.port}"}
            made.append(Bot(world, folder / f"log{number}", database, homeserver))
        owner, standby = made
        try:
            await owner.start()
            await standby.launch()
            await standby.says(STANDS_BY)
            yield owner, standby
        finally:
            for bot in made:
                if bot.running:
                    await bot.end(signal.SIGKILL)
    await server.drop(address)


async def gone_on_with(owner: Bot, standby: Bot, alice: Person, how: Callable[[], Awaitable[None]]) -> float:
    """Have a broadcast run while the owner is lost, and check that the stand-by goes on with it without a hole. Give
    the seconds until it was the owner."""
    speaker, feed, _ = await subscribed_broadcast(owner.world, alice, encrypted=True)
    pieces = speaker.cut(SPEECH)
    await send(speaker, pieces[:2])
    began = time.monotonic()
    await how()
    await speaker.send_chunk(pieces[2])
    took_s = await standby.says(OWNS) - began
    await send(speaker, pieces[3:])
    await speaker.stop()
    await published(standby.world, alice)
    await assert_exact(await newest_episode(feed), speaker)
    (found,) = await recordings(standby.world, standby.log)
    assert (found["state"], found["ended_by"]) == ("complete", "stopped")
    await alice.sync_once()
    told = [event for event in alice.received if event.is_notice_of(standby.world.user_id) and "is ready" in event.body]
    assert len({event.event_id for event in told}) == 1
    return took_s


@pytest.mark.long
async def test_kill_9_and_a_clean_stop(world: Worlds, person: People, postgresql: Server, tmp_path: Path) -> None:
    """When the owner is killed, the stand-by waits for the end of its lease and goes on with the broadcast. When an
    owner is stopped, the stand-by is the owner at once."""
    bot, alice = await world(), await person("alice")
    async with bots(bot, postgresql, tmp_path) as (owner, standby):

        async def kill() -> None:
            await owner.end(signal.SIGKILL)

        took_s = await gone_on_with(owner, standby, alice, kill)
        assert took_s < LEASE_S + SLACK_S
        log.info("taken over %.1f s after kill -9", took_s)
        owner.log.write_text("")
        await owner.launch()
        await owner.says(STANDS_BY)
        began = time.monotonic()
        assert await standby.end(signal.SIGTERM) == 0
        stopped_s = time.monotonic() - began
        took_s = await owner.says(OWNS) - began
        log.info("taken over %.1f s after SIGTERM, the stop took %.1f s", took_s, stopped_s)
        assert took_s - stopped_s < SLACK_S
        assert await owner.end(signal.SIGTERM) == 0


async def sent(http: aiohttp.ClientSession, method: str, address: str, **options: Any) -> None:
    """Send as a studio's page does: again and again until it is taken."""
    async with asyncio.timeout(TAKEN_OVER_S):
        while True:
            try:
                async with http.request(method, address, **options) as answer:
                    if answer.status in (200, 201):
                        return
                    assert answer.status in (429, 503), (answer.status, await answer.text())
            except aiohttp.ClientError:
                pass  # nobody is there
            await asyncio.sleep(0.1)


@pytest.mark.long
async def test_studios_go_on_with_the_stand_by(
    world: Worlds, person: People, postgresql: Server, tmp_path: Path
) -> None:
    """The owner is killed while a page and `aircheck broadcast` are on the air in two rooms: the page sends again until
    the stand-by takes it, the command writes on meanwhile, and both are complete to the sample."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    take, tape = Slicer(1, 2.0), Slicer(2, 60.0)
    slices = [*take.feed(SPEECH), take.end()]
    tape.feed(SPEECH)
    tape.end()
    half = len(tape.ogg()) // 2
    async with bots(bot, postgresql, tmp_path) as (owner, standby):
        room, feed, _ = await subscribed_room(bot, alice, encrypted=False)
        other, feed_of_other, _ = await subscribed_room(bot, bob, encrypted=False)
        store = await Store.join(bot.settings.storage.place)
        try:
            _, token = await studio_in(store, RoomId(room), UserId(alice.user_id), datetime.now(UTC))
        finally:
            await store.close()
        root = f"{bot.web}/studio/{token}/"
        client = {"client": "page-number-one"}
        async with (
            aiohttp.ClientSession(headers={"X-Client": client["client"]}) as http,
            command(standby.log, "--fast", "--as", bob.user_id, other, "-") as broadcast,
        ):
            assert broadcast.stdin is not None
            await sent(http, "POST", f"{root}start", json=client)
            broadcast.stdin.write(tape.ogg()[:half])
            for number, piece in enumerate(slices, 1):
                if number == 4:
                    await stored(bot, 2, StudioId(2))
                    await owner.end(signal.SIGKILL)
                    broadcast.stdin.write(tape.ogg()[half:])
                await sent(http, "PUT", f"{root}slice-{number}", data=piece.data)
            await sent(http, "POST", f"{root}stop", json=client | {"last": len(slices)})
            broadcast.stdin.close()
            await standby.says(OWNS)
            _, err = await asyncio.wait_for(broadcast.communicate(), ENDS_WITHIN_S)
            assert broadcast.returncode == 0, err
        await published(bot, alice)
        await published(bot, bob)
        for address, sound in ((feed, take.ogg()), (feed_of_other, tape.ogg())):
            found, truth = decode(await newest_episode(address)), decode(sound)
            assert len(found) == len(truth)
            assert_aligned(found, truth)
        listed = await recordings(bot, standby.log)
        assert [(each["state"], each["ended_by"]) for each in listed] == [("complete", "stopped")] * 2


@pytest.mark.standby
async def test_an_owner_that_is_cut_off_from_the_database(
    world: Worlds, person: People, postgresql: Server, tmp_path: Path
) -> None:
    """An owner that can't reach the database ends with one sentence before the stand-by begins, though the homeserver
    answers it; the broadcast goes on."""
    bot, alice = await world(), await person("alice")
    async with bots(bot, postgresql, tmp_path) as (owner, standby):

        async def cut() -> None:
            owner.database.cut = True
            assert await owner.ended() == 1
            assert OWNS not in standby.log.read_text()
            (sentence,) = [line for line in owner.log.read_text().splitlines() if line.startswith("this process")]
            assert sentence == "this process no longer owns the Matrix session: it could not renew its lease in time"

        took_s = await gone_on_with(owner, standby, alice, cut)
        log.info("taken over %.1f s after the cut", took_s)
        assert took_s < LEASE_S + SLACK_S


@pytest.mark.standby
async def test_other_cuts_change_nothing(world: Worlds, postgresql: Server, tmp_path: Path) -> None:
    """An owner that only the homeserver can't reach stays the owner, and a stand-by without the database goes on
    waiting; both go on when the network is back."""
    bot = await world()
    async with bots(bot, postgresql, tmp_path) as (owner, standby):
        owner.homeserver.cut = standby.database.cut = True
        await asyncio.sleep(LEASE_S + 1)
        assert OWNS not in standby.log.read_text()
        assert owner.running
        assert standby.running
        owner.homeserver.cut = standby.database.cut = False
        assert await owner.end(signal.SIGTERM) == 0
        await standby.says(OWNS)
        assert await standby.end(signal.SIGTERM) == 0


@pytest.mark.standby
async def test_an_owner_that_is_paused(world: Worlds, person: People, postgresql: Server, tmp_path: Path) -> None:
    """An owner that is paused past its lease is succeeded; when it wakes, it writes nothing and ends."""
    bot, alice = await world(), await person("alice")
    async with bots(bot, postgresql, tmp_path) as (owner, standby):

        async def pause() -> None:
            owner.send(signal.SIGSTOP)
            await standby.says(OWNS)
            owner.send(signal.SIGCONT)
            assert await owner.ended() == 1

        await gone_on_with(owner, standby, alice, pause)
