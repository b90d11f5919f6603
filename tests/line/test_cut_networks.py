"""Bots, web processes and workers in network namespaces of their own, from which single servers can't be reached."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import pytest
from sqlalchemy import make_url

from bot import orders
from bot.demo.listener import listen, subscribe
from bot.demo.people import Person
from bot.demo.slicing import speech
from bot.health import STUCK_FOR
from storage.lease import LEASE_S
from storage.workers import LEASE
from tests.lab import People
from tests.line.cable import cable
from tests.line.conftest import Worlds
from tests.line.net import Net, net, why_not
from tests.line.test_process import published
from tests.line.world import assert_exact, personal_feed, send, subscribed_broadcast
from tests.many.gate import ENCODERS, Gate
from tests.many.town import until
from tests.many.whole import BUSY_BOT, OWNS, STANDS_BY, Installation, Web, installation
from tests.postgresql import Server

if TYPE_CHECKING:
    from tests.buckets.servers import TestBucket

log = logging.getLogger(__name__)

NO_NETWORKS = why_not()
pytestmark = [pytest.mark.standby, pytest.mark.skipif(NO_NETWORKS is not None, reason=str(NO_NETWORKS))]
SPEECH = speech(1)[:1400]  # 28 s
CUT_FOR_S = 12.0
TAKES_OVER_S = 30.0
STALE_S = 1.0
"""Seconds for which a web process may answer from memory once it can't hear of commits."""
SLACK_S = 0.5


@dataclass
class Site:
    """An installation on a bridge, and the addresses of the servers there."""

    here: Installation
    net: Net
    database: str
    homeserver: str
    media: str
    person: Person
    gate: Gate


@pytest.fixture
async def site(
    world: Worlds, person: People, postgresql: Server, bucket: "TestBucket", tmp_path: Path
) -> AsyncIterator[Site]:
    gate = Gate(tmp_path, ENCODERS)
    address = await postgresql.new(empty=True)
    async with AsyncExitStack() as stack:
        bridge = stack.enter_context(net())
        bot = await world(audio={"ffmpeg": str(gate.path)}, web={"public_url": "http://podcast.test"})
        database, homeserver, media = bridge.server(), bridge.server(), bridge.server()
        (socket,) = (postgresql.folder / "data").glob(".s.PGSQL.*[0-9]")
        ways = {
            database: await stack.enter_async_context(cable(socket, database)),
            homeserver: await stack.enter_async_context(cable(_place(bot.homeserver.address), homeserver)),
            media: await stack.enter_async_context(cable(_place(bucket.endpoint), media)),
        }
        here = await stack.enter_async_context(installation(bot, postgresql, tmp_path))
        name = make_url(address).database
        bot.tree["storage"] |= {
            "database_url": f"postgresql+asyncpg://postgres@{database}:{ways[database].port}/{name}",
            "media_url": bucket.url(f"http://{media}:{ways[media].port}"),
        }
        bot.tree["matrix"] |= {"homeserver": f"http://{homeserver}:{ways[homeserver].port}"}
        yield Site(here, bridge, database, homeserver, media, await person("alice"), gate)
    await postgresql.drop(address)


def _place(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


@dataclass(frozen=True, slots=True)
class Cut:
    """The direction in which packets vanish between a machine and a server."""

    to: bool
    back: bool


BOTH, REQUESTS, ANSWERS = Cut(to=True, back=True), Cut(to=True, back=False), Cut(to=False, back=True)
CUTS = pytest.mark.parametrize("cut", [BOTH, REQUESTS, ANSWERS], ids=["both", "requests", "answers"])


@CUTS
async def test_a_worker_without_the_database(site: Site, cut: Cut) -> None:
    """In the middle of an Encode order a worker is cut off from the database alone, and ends what it does once another
    has its job: it changes nothing of it, and works again when the network is back."""
    here, machine = site.here, site.net.machine()
    await here.run(inside=site.net.machine().inside)
    await here.rows(*BUSY_BOT)
    worker = await here.work(inside=machine.inside)
    speaker, feed, _ = await subscribed_broadcast(here.world, site.person, encrypted=True)
    pieces = speaker.cut(SPEECH)
    site.gate.close()
    await send(speaker, pieces[:2])
    assert await here.runner(orders.Encode.kind, [worker]) is worker
    await site.gate.has_been_reached()
    machine.cut(site.database, to=cut.to, back=cut.back)
    other = await here.work(1, inside=site.net.machine().inside)
    mine = f"SELECT 1 FROM jobs WHERE state = 'running' AND worker = '{worker.name}'"  # noqa: S608
    async with asyncio.timeout(2 * LEASE.total_seconds()):
        await here.until_rows(f"SELECT 1 WHERE NOT EXISTS ({mine})")
    site.gate.open()
    await send(speaker, pieces[2:])
    await speaker.stop()
    await published(here.world, site.person)
    before = await archive(here)
    machine.mend(site.database, to=cut.to, back=cut.back)
    began = time.monotonic()
    await here.until_rows(f"SELECT 1 FROM workers WHERE id = '{worker.name}' AND until > now()")  # noqa: S608
    log.info("a worker was back %.1f s after the network", time.monotonic() - began)
    assert await archive(here) == before
    web = await here.web()
    await assert_exact(await newest(web, feed), speaker)
    for process in (worker, other):
        assert await process.stop() == 0


async def archive(here: Installation) -> list[object]:
    """Return what jobs of sound have made."""
    chunks = await here.rows("SELECT id, state, blob, bytes FROM chunks ORDER BY id")
    return [*chunks, *await here.rows("SELECT recording_id, guid, blob, bytes, samples FROM episodes ORDER BY 1")]


async def newest(web: Web, feed: str) -> bytes:
    (enclosure,) = await subscribe(web.at(feed))
    return await listen(replace(enclosure, url=web.at(enclosure.url)))


@CUTS
async def test_a_web_process_without_the_database(site: Site, person: People, cut: Cut) -> None:
    """A web process that is cut off from the database answers nothing personal from memory a second later, and is not
    healthy within a minute; a member who left meanwhile hears nothing once the network is back, and others do."""
    here, machine, bob = site.here, site.net.machine(), await person("bob")
    await here.run(inside=site.net.machine().inside)
    speaker, bobs, _ = await subscribed_broadcast(here.world, site.person, encrypted=False, listener=bob)
    feed, _ = await personal_feed(here.world, site.person, speaker.room_id)
    web = await here.web(machine.address, inside=machine.inside)
    for address in (feed, bobs):
        assert [await web.status(address) for _ in range(3)] == [200] * 3
    assert await web.status("/healthz") == 200

    async def is_unhealthy() -> bool:
        return await web.status("/healthz") == 503

    machine.cut(site.database, to=cut.to, back=cut.back)
    cut_at = time.monotonic()
    await bob.leave(speaker.room_id)
    answers: list[tuple[float, int]] = []
    while (asked := time.monotonic() - cut_at) < CUT_FOR_S:
        with suppress(TimeoutError, aiohttp.ClientError):
            answers.append((asked, await web.status(feed, within_s=0.5)))
        await asyncio.sleep(0.05)
    served = [asked for asked, status in answers if status == 200]
    log.info("the last answer from memory was given to a request %.2f s after the cut", max(served, default=0))
    assert max(served, default=0) < STALE_S + SLACK_S
    if cut == BOTH:
        await until(is_unhealthy)
        log.info("not healthy %.1f s after the cut", time.monotonic() - cut_at)
        assert time.monotonic() - cut_at < 2 * STUCK_FOR.total_seconds()
    machine.mend(site.database, to=cut.to, back=cut.back)
    mended_at = time.monotonic()

    async def is_back() -> bool:
        with suppress(TimeoutError, aiohttp.ClientError):
            return await web.status(feed, within_s=2) == 200
        return False

    await until(is_back)
    log.info("served again %.1f s after the network was back", time.monotonic() - mended_at)
    assert await web.status(bobs) == 410
    assert await web.status("/healthz") == 200
    assert await web.process.stop() == 0


@pytest.mark.parametrize("how", ["plug", "answers", "requests"])
async def test_an_owner_on_another_machine(site: Site, how: str) -> None:
    """The owner's machine is cut off from everything, or from the database in one direction: it ends, the stand-by goes
    on with the broadcast, and a web process serves meanwhile."""
    here, machine, other = site.here, site.net.machine(), site.net.machine()
    owner = await here.run(inside=machine.inside)
    standby = await here.run(STANDS_BY, inside=other.inside)
    web = await here.web(other.address, inside=other.inside)
    speaker, feed, _ = await subscribed_broadcast(here.world, site.person, encrypted=True)
    pieces = speaker.cut(SPEECH)
    await send(speaker, pieces[:2])
    assert await web.status(feed) == 200
    if how == "plug":
        machine.pull()
    else:
        machine.cut(site.database, to=how == "requests", back=how == "answers")
    began = time.monotonic()
    await speaker.send_chunk(pieces[2])
    assert await web.status(feed) == 200
    async with asyncio.timeout(LEASE_S + TAKES_OVER_S):
        await standby.says(OWNS)
    log.info("taken over %.1f s after the cut (%s)", time.monotonic() - began, how)
    assert await asyncio.wait_for(owner.child.wait(), TAKES_OVER_S) == 1
    await send(speaker, pieces[3:])
    await speaker.stop()
    await published(here.world, site.person)
    await assert_exact(await newest(web, feed), speaker)
    assert await standby.stop() == 0
