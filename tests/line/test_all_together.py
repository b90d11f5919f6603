"""Everything that scales at once: PostgreSQL, a bucket, web processes and workers without a shared disk, an encrypted
room; and processes of each kind that are killed."""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from bot import orders
from bot.demo.listener import Enclosure, listen, subscribe
from bot.demo.people import Person
from bot.demo.slicing import speech
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.test_process import published
from tests.line.world import assert_exact, send, subscribed_broadcast
from tests.many.gate import ENCODERS, Gate
from tests.many.town import until
from tests.many.whole import BUSY_BOT, Installation, Web, installation
from tests.postgresql import Server

if TYPE_CHECKING:
    from tests.buckets.servers import TestBucket

pytestmark = pytest.mark.standby
SPEECH = speech(1)[:1400]  # 28 s


async def test_nothing_is_lost_or_doubled(
    world: Worlds, person: People, postgresql: Server, bucket: "TestBucket", tmp_path: Path
) -> None:
    """A worker is killed in the middle of an Encode order, a web process in the middle of a write, then the bot: there
    is one episode, exact, in the feed and announced once; each web process redirects to it; once its broadcast is
    redacted, neither the bucket nor the folder of any process has anything of it."""
    gate = Gate(tmp_path, ENCODERS)
    address = await postgresql.new(empty=True)
    storage = {"database_url": address, "media_url": bucket.url()}
    bot = await world(storage=storage, audio={"ffmpeg": str(gate.path)})
    alice = await person("alice")
    async with installation(bot, postgresql, tmp_path) as here:
        owner = await here.run()
        await here.rows(*BUSY_BOT)
        webs = list(await asyncio.gather(here.web(), here.web()))
        workers = list(await asyncio.gather(here.work(0), here.work(1)))
        speaker, feed, _ = await subscribed_broadcast(bot, alice, encrypted=True)
        before = bucket.blobs()
        pieces = speaker.cut(SPEECH)
        gate.close()
        await send(speaker, pieces[:2])
        killed = await here.runner(orders.Encode.kind, workers)
        await gate.has_been_reached()
        await killed.kill()
        gate.open()
        number = workers.index(killed)
        workers[number] = await here.work(number)
        webs = [await killed_while_it_writes(here, webs[0], feed), webs[1]]
        await send(speaker, pieces[2:3])
        await owner.kill()
        await speaker.send_chunk(pieces[3])
        owner = await here.run()
        await send(speaker, pieces[4:])
        await speaker.stop()
        await published(bot, alice)
        for web in webs:
            enclosure = await the_episode(web, feed, bucket)
            await assert_exact(await listen_by(web, enclosure), speaker)
        await assert_told_once(alice, bot.user_id)
        ((state, ended_by),) = await here.rows("SELECT state, ended_by FROM recordings")
        assert (state, ended_by) == ("complete", "stopped")
        assert await here.rows("SELECT 1 FROM jobs WHERE state = 'failed'") == []
        await alice.redact(speaker.room_id, speaker.broadcast_id)
        await nothing_is_left(here, bucket, before)
        for web in webs:
            assert await web.status(enclosure.url) == 404
            assert await subscribe(web.at(feed)) == []
        for process in (owner, *workers, *(web.process for web in webs)):
            assert await process.stop() == 0
    await postgresql.drop(address)


async def killed_while_it_writes(here: Installation, web: Web, feed: str) -> Web:
    """Kill a web process while it writes the date of a document, which holds up all other writers; return the next."""
    async with here.held("feed_editions"):
        asking = asyncio.create_task(web.status(feed))
        await here.until_stuck("feed_editions")
        await web.process.kill()
        with suppress(aiohttp.ClientError):
            await asking
    again = await here.web()
    assert await again.status(feed) == 200
    return again


async def listen_by(web: Web, enclosure: Enclosure) -> bytes:
    return await listen(replace(enclosure, url=web.at(enclosure.url)))


async def the_episode(web: Web, feed: str, bucket: "TestBucket") -> Enclosure:
    """Return the one episode of the feed, which lies in the bucket under its hash, where this process redirects to."""
    (enclosure,) = await subscribe(web.at(feed))
    location = await web.redirect(enclosure.url)
    assert location.startswith(bucket.endpoint)
    sound = await listen_by(web, enclosure)
    assert hashlib.sha256(sound).hexdigest() in bucket.blobs()
    return enclosure


async def assert_told_once(alice: Person, bot: str) -> None:
    await alice.sync_once()
    told = {event.event_id for event in alice.received if event.is_notice_of(bot) and "is ready" in event.body}
    assert len(told) == 1


async def nothing_is_left(here: Installation, bucket: "TestBucket", before: set[str]) -> None:
    """Wait until neither the bucket nor a folder has anything but what was there before, and the room's cover."""

    async def gone() -> bool:
        kept = before | {row["cover"] for row in await here.rows("SELECT cover FROM rooms")}
        in_folders = await asyncio.to_thread(media_in, here.folder)
        return not (bucket.blobs() | in_folders) - kept and not bucket.uploads()

    await until(gone)


def media_in(folder: Path) -> set[str]:
    """Return the hashes of all files of sound and pictures in the folders of all processes. Blocking."""
    begins = (b"OggS", b"ID3", b"\xff\xfb", b"\x89PNG", b"\xff\xd8")
    found = set()
    for path in folder.rglob("*"):
        with suppress(OSError):
            data = path.read_bytes() if path.is_file() and "people" not in path.parts else b""
            if data.startswith(begins):
                found.add(hashlib.sha256(data).hexdigest())
    return found
