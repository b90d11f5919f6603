"""A check of the feed fetches it through the bot's own public address, and answers in the room."""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bot import orders, topics
from bot.check.finding import Finding, Level
from bot.worker.checking_feed import CheckingFeed
from storage import jobs, rooms
from storage.records import EventId, Job, JobId, JobState, Room, UserId, Visibility
from tests.check.site import mp3
from tests.web.world import ALICE, BOB, World, world_of

BOT = UserId("@bot:hs")
COMMAND, THREAD = EventId("$check"), EventId("$thread")


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path, feeds={"email": "us@pod.example"}) as (world, _):
        world.clock.pass_by(86_400)
        yield world


async def checked(world: World, room: Room, asker: UserId = ALICE, calls: Sequence[Finding] = ()) -> str:
    """Check the room's feed for somebody and return the answer. `calls`: what is found about calls."""

    async def check_calls() -> Sequence[Finding]:
        return calls

    new = orders.CheckFeed(room.room_id, COMMAND, room.room_id, asker, THREAD).job()
    job = Job(JobId(1), new.kind, new.subject, new.payload, JobState.RUNNING, world.clock(), 1)
    handler = CheckingFeed(world.store, world.server.address, world.clock, us=BOT, check_calls=check_calls)
    await handler(job)
    await handler(job)  # the process died before the job was done: the answer is said once
    async with world.store.read() as db:
        (answer,) = [orders.Notice.of(each) for each in await jobs.unfinished(db, orders.Notice.kind)]
    assert (answer.topic, answer.room_id) == (topics.answer(COMMAND), room.room_id)
    assert (answer.reply_to, answer.thread) == (COMMAND, THREAD)
    return answer.body


async def test_the_public_feed_of_the_bot_itself_is_right(web: World) -> None:
    """Its own web server gives nothing that a directory would refuse."""
    room = await web.room(visibility=Visibility.PUBLIC)
    for _ in range(3):
        await web.episode(await web.recording(room), mp3(184))
    answer = await checked(web, room)
    assert "❌" not in answer
    assert "only this machine reaches" in answer
    assert "byte ranges" in answer.splitlines()[-1]


async def test_a_private_feed_is_tested_by_the_askers_own_address(web: World, caplog: pytest.LogCaptureFixture) -> None:
    """The address stands neither in the answer nor in the log nor in a job; who has none is told so."""
    caplog.set_level(logging.DEBUG, "bot")
    room = await web.room()
    await web.member(room, ALICE)
    await web.store.secret.replace(bytes(32))
    token = await web.listener(room, ALICE)
    await web.episode(await web.recording(room), mp3(184))
    answer = await checked(web, room)
    assert "❌" not in answer
    assert "byte ranges" in answer.splitlines()[-1]
    async with web.store.read() as db:
        stored = str([await jobs.unfinished(db, order.kind) for order in orders.ORDERS])
    assert token not in answer + caplog.text + stored


async def test_a_closed_address_is_told_without_it(web: World) -> None:
    """The asker has left the room meanwhile."""
    room = await web.room()
    await web.store.secret.replace(bytes(32))
    token = await web.listener(room, BOB)
    await web.member(room, BOB, "leave")
    answer = await checked(web, room, BOB)
    assert "❌ reachable" in answer
    assert token not in answer


async def test_without_an_address_nothing_is_fetched(web: World) -> None:
    """The answer says so in one sentence."""
    assert "no address" in await checked(web, await web.room())


@pytest.mark.parametrize(
    ("calls_on", "may", "end"),
    [
        (False, False, ""),
        (True, False, "❌ Element Call: the room does not let the bot send `org.matrix.msc3401.call.member`"),
        (True, True, "❌ Element Call: no token"),
    ],
)
async def test_a_room_that_records_calls_is_told_what_they_lack(
    web: World, calls_on: bool, may: bool, end: str
) -> None:
    """The lines on calls follow those on the feed; a room whose calls are not recorded has none."""
    room = await web.room(visibility=Visibility.PUBLIC)
    async with web.store.write() as db:
        await rooms.save_room(db, replace(room, calls_on=calls_on))
    await web.state(room, "m.room.create", {"creator": ALICE})
    await web.state(room, "m.room.power_levels", {"users": {BOT: 50 if may else 0}})
    wrong = Finding(Level.FAIL, "Element Call", "no token")
    answer = await checked(web, room, calls=[wrong] if may else [Finding(Level.OK, "Element Call", "fine")])
    assert ("Not every call can be recorded here as it should:" in answer) == calls_on
    assert end in answer.splitlines()[-1]
    assert ("Element Call" in answer) == calls_on
