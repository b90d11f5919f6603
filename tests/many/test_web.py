"""`aircheck web`: processes that serve beside the bot, and know at once what it has written."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import ClientSession

from bot.dialects.studio import started_id
from bot.feeds.addresses import look_up_hash, personal_shelf, public_shelf, token_for
from storage import archive, rooms
from storage.records import Listener, MediaSource, MxcUri, Recording, Via, Visibility
from tests.many.town import Process, Town, rooms_were_read, town, until
from tests.ports import free_port
from tests.postgresql import Server
from tests.web.studio import PAGE, studio_in
from tests.world import ALICE, ROOM, hearing, media_of, state

OF_THE_BOT_ALONE = ("nio", "simplematrixbotlib", "vodozemac", "aiortc", "av", "livekit", "numpy", "soxr")
PARTS_OF_THE_BOT = ("bot.matrix", "bot.calls", "bot.worker", "bot.recorder", "bot.intake", "bot.commands", "bot.app")


@pytest.fixture
async def here(postgresql: Server, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(postgresql, tmp_path, web={"public_url": "https://pod.example"}) as here:
        yield here


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as client:
        yield client


class Web:
    """A web process, asked on its own port."""

    def __init__(self, process: Process, port: int, client: ClientSession) -> None:
        self.process = process
        self._base = f"http://127.0.0.1:{port}"
        self._client = client

    async def status(self, address: str) -> int:
        """Return how it answers for an address of the podcast."""
        async with self._client.get(self._base + address.removeprefix("https://pod.example")) as answer:
            return answer.status

    async def asked(self, method: str, path: str, body: bytes) -> int:
        """Return how it answers a request with a body."""
        async with self._client.request(method, self._base + path, data=body, headers={"X-Client": PAGE}) as answer:
            return answer.status

    async def says(self, address: str, status: int) -> None:
        """Wait until it answers so; the bot's commit is on its way."""

        async def answered() -> bool:
            return await self.status(address) == status

        await until(answered)

    def told(self, words: str) -> int:
        """Return how often its log has these words."""
        return self.process.log.read_text().count(words)


async def served(here: Town, client: ClientSession) -> Web:
    port = free_port()
    return Web(await here.start("web", ready="serving: https", AIRCHECK_WEB__PORT=str(port)), port, client)


async def publish(here: Town, visibility: Visibility) -> str:
    """Make the room's podcast public or private; return the address of its feed."""
    async with here.world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, visibility=visibility))
    return public_shelf("https://pod.example", room.key).feed


async def test_any_number_serve_what_the_bot_writes(here: Town, client: ClientSession) -> None:
    """A podcast becomes public or private in each process at once, also where it was answered from memory; one that is
    killed takes none with it, and SIGTERM ends one with 0."""
    one, other = await asyncio.gather(served(here, client), served(here, client))
    assert await one.status("/healthz") == 200
    feed = await publish(here, Visibility.PUBLIC)
    for web in (one, other):
        await web.says(feed, 200)
        assert [await web.status(feed) for _ in range(3)] == [200, 200, 200]
    await publish(here, Visibility.PRIVATE)
    for web in (one, other):
        await web.says(feed, 404)
    await one.process.kill()
    assert await other.status("/healthz") == 200
    assert await other.process.stop() == 0


async def test_personal_addresses_open_once_the_bot_has_read_the_rooms(here: Town, client: ClientSession) -> None:
    """Until the bot of now has read the rooms' state nobody hears anything; who leaves hears nothing more, and a new
    secret ends all addresses in each process."""
    store = here.world.store
    address = personal_shelf("https://pod.example", token_for(store.secret(), ROOM, ALICE, 1)).feed
    async with store.write() as db:
        await rooms.save_listener(db, Listener(ROOM, ALICE, 1, look_up_hash(address.split("/")[-2])))
    web = await served(here, client)
    assert await web.status(address) == 503
    await rooms_were_read(store)
    await web.says(address, 200)
    assert await web.status(address) == 200
    await here.world.hear(before=(state("m.room.member", {"membership": "leave"}, ALICE, event_id="$left"),))
    await web.says(address, 410)
    await here.world.hear(before=(state("m.room.member", {"membership": "join"}, ALICE, event_id="$again"),))
    await web.says(address, 200)
    before = store.secret()
    await store.secret.replace()
    async with store.write() as db:
        await rooms.forget_listeners(db, here.world.clock())
    await web.says(address, 410)
    assert store.secret() != before


class _Sent(NamedTuple):
    """A request of a studio's page: the process that it goes to, what it asks, and with which answer."""

    web: Web
    method: str
    name: str
    body: bytes
    status: int


async def test_a_studio_works_at_each_process(here: Town, client: ClientSession) -> None:
    """Sound that is sent to one process or the other is recorded by the bot, which hears of it at once; after
    a kill of the one it goes on at the other, and when the right ends at neither."""
    store = here.world.store
    studio, token = await studio_in(store, ROOM, ALICE, here.world.clock())
    sound = media_of(MediaSource(MxcUri("mxc://hs/sound")))
    await rooms_were_read(store)
    one, other = await asyncio.gather(served(here, client), served(here, client))
    said = json.dumps({"client": PAGE, "title": "Soup", "last": 3}).encode()

    async def send(*requests: _Sent) -> None:
        for web, method, name, body, status in requests:
            assert await web.asked(method, f"/studio/{token}/{name}", body) == status, name

    async def recorded() -> Recording | None:
        async with store.read() as db:
            return await archive.recording_by_event(db, started_id(studio))

    async def has(chunks: int) -> bool:
        recording = await recorded()
        async with store.read() as db:
            return recording is not None and len(await archive.chunks(db, recording.id)) == chunks

    async with hearing(store, here.world.recorder):
        await send(
            _Sent(one, "POST", "start", said, 200),
            _Sent(other, "PUT", "slice-1", sound, 201),
            _Sent(one, "PUT", "slice-1", sound, 200),
        )
        await until(partial(has, 1))
        await one.process.kill()
        await send(_Sent(other, "PUT", "slice-2", sound + b"\0", 201))
        await until(partial(has, 2))
        recording = await recorded()
        assert recording is not None
        assert (recording.via, recording.title) == (Via.STUDIO, "Soup")
        await here.world.hear(before=(state("m.room.member", {"membership": "leave"}, ALICE, event_id="$left"),))
        await other.says(f"https://pod.example/studio/{token}/state", 410)
        await send(_Sent(other, "PUT", "slice-3", sound, 410), _Sent(other, "POST", "stop", said, 410))


NOT_HEARD = "commits of other processes are not heard"
HEARD_AGAIN = "commits of other processes are heard again"
LISTENING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND (query LIKE 'LISTEN%' OR query = 'SELECT 1')
"""


async def test_what_is_not_heard_is_not_remembered(here: Town, client: ClientSession, postgresql: Server) -> None:
    """While the connection that hears of commits is lost, or only silent, an address closes all the same: if silent,
    before it is known to be lost, which a busy machine may bring about in some of the tries."""
    web = await served(here, client)
    feed = await publish(here, Visibility.PUBLIC)
    await web.says(feed, 200)
    assert any([await closes_in_silence(here, web, feed, postgresql) for _ in range(3)])
    lost = web.told(NOT_HEARD)
    await postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM ({LISTENING}) AS them", database=here.database)  # noqa: S608
    await publish(here, Visibility.PRIVATE)
    await web.says(feed, 404)

    async def known() -> bool:
        return web.told(NOT_HEARD) > lost

    await until(known)


async def closes_in_silence(here: Town, web: Web, feed: str, postgresql: Server) -> bool:
    """Close a public address while the connections that hear of commits are silent, and open it again. Return whether
    it was closed before the connection was known to be lost."""
    lost = web.told(NOT_HEARD)
    listening = [row["pid"] for row in await postgresql.execute(LISTENING, database=here.database)]
    assert listening
    for pid in listening:
        os.kill(pid, signal.SIGSTOP)
    try:
        await publish(here, Visibility.PRIVATE)
        await web.says(feed, 404)
        in_time = web.told(NOT_HEARD) == lost
    finally:
        for pid in listening:
            os.kill(pid, signal.SIGCONT)
    await publish(here, Visibility.PUBLIC)
    await web.says(feed, 200)

    async def hears() -> bool:
        return web.told(HEARD_AGAIN) == web.told(NOT_HEARD)

    await until(hears)
    return in_time


def test_nothing_of_the_session_is_loaded() -> None:
    """A web process has no part of the bot that speaks Matrix, records, or carries out jobs, nor its libraries."""
    code = "import sys, bot.serving; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & set(OF_THE_BOT_ALONE)
    assert not [name for name in loaded if name.startswith(PARTS_OF_THE_BOT)]
