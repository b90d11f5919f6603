"""The bot leaves a room once it has said so there, and its recordings that run are closed."""

from typing import cast

import pytest

from bot import orders, topics
from bot.matrix.sending import Sending
from bot.worker.leaving import LAST_WORDS_TAKE, UNLOCKING_TAKES, Leaving
from storage import changes, jobs, rooms, walkies
from storage.records import EndedBy, EventId, Walkie
from tests.worker.post import Post
from tests.world import ALICE, BOT, ROOM, heard


@pytest.fixture
async def leaving(post: Post) -> Post:
    """Let a moderator ask the bot to leave, which answers first."""
    sending = cast("Sending", post.homeserver)
    post.world.handlers[orders.Leave.kind] = Leaving(post.world.store, sending, clock=post.clock)
    post.world.handlers[orders.Notice.kind] = post.notices
    await drop_notices(post)
    async with post.world.store.write() as db:
        for order in (
            orders.Notice(topics.answer(EventId("$leave")), ROOM, "I am leaving."),
            orders.Leave(ROOM, "Alice asked me to leave.", post.clock(), asker=ALICE, command=EventId("$leave")),
        ):
            await jobs.add(db, order.job(), post.clock())
    return post


async def drop_notices(post: Post) -> None:
    """Leave the greeting out."""
    async with post.world.store.write() as db:
        for notice in await jobs.unfinished(db, orders.Notice.kind):
            await jobs.done(db, notice.id, post.clock())


async def test_the_answer_is_said_before_the_bot_leaves(leaving: Post) -> None:
    """Outside of the room it could not be said any more."""
    await leaving.world.work_one([orders.Leave.kind])
    assert leaving.homeserver.left == []
    await leaving.world.work_one([orders.Notice.kind])
    leaving.clock.pass_by(1)
    await leaving.world.work_one([orders.Leave.kind])
    assert leaving.homeserver.left == [(ROOM, "Alice asked me to leave.")]


async def test_an_answer_that_can_not_be_said_holds_nobody(leaving: Post) -> None:
    """A bot that may not speak in the room leaves it all the same."""
    leaving.clock.pass_by(LAST_WORDS_TAKE.seconds)
    await leaving.world.work_one([orders.Leave.kind])
    assert len(leaving.homeserver.left) == 1


@pytest.mark.parametrize("hindered", [False, True])
async def test_a_walkie_talkie_is_put_right_before_the_bot_leaves(leaving: Post, hindered: bool) -> None:
    """The members could write nothing any more. A bot that may not put the levels back, or can't for long, leaves all
    the same."""
    row = Walkie(ROOM, on=False, floor_s=60, guard_s=1, locked=True, hindered=hindered)
    async with leaving.world.store.write() as db:
        await walkies.save(db, row)
    leaving.clock.pass_by(LAST_WORDS_TAKE.seconds)
    await leaving.world.work_one([orders.Leave.kind])
    assert len(leaving.homeserver.left) == hindered
    if not hindered:
        leaving.clock.pass_by(UNLOCKING_TAKES.seconds)
        await leaving.world.work_one([orders.Leave.kind])
        assert len(leaving.homeserver.left) == 1


async def test_what_runs_is_closed_when_the_bot_is_out(leaving: Post) -> None:
    """A second attempt after that asks the homeserver for nothing."""
    await leaving.world.begin()
    await leaving.world.hear(heard("$out", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    await leaving.world.work()
    recording = await leaving.world.recording()
    assert recording.ended_by is EndedBy.REMOVED
    await leaving.world.work_one([orders.Leave.kind])
    assert leaving.homeserver.left == []


@pytest.mark.parametrize("died", [False, True], ids=["left", "killed before its note"])
async def test_the_log_says_once_that_the_bot_left(leaving: Post, died: bool) -> None:
    """Before it is out nothing is noted; an attempt that died after its request is noted by the next."""
    leaving.clock.pass_by(LAST_WORDS_TAKE.seconds)
    out = heard("$out", "m.room.member", {"membership": "leave"}, state_key=BOT)
    assert await left(leaving) == []
    if died:
        await leaving.world.hear(out, joined=False)
    await leaving.world.work_one([orders.Leave.kind])
    if not died:
        await leaving.world.hear(out, joined=False)
    assert len(leaving.homeserver.left) == (0 if died else 1)
    assert await left(leaving) == [(ALICE, "joined", "left", "$leave")]
    async with leaving.world.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    assert not room.joined


async def left(post: Post) -> list[tuple[object, ...]]:
    async with post.world.store.read() as db:
        noted = await changes.of_rooms(db, [ROOM])
    return [(each.by, each.before, each.after, each.event_id) for each in noted if each.what == "leave"]
