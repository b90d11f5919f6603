"""Reactions that confirm a question are kept, and no others; a question's event is known before its answer is read."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import orders, topics, words
from bot.intake.shares import AT_ONCE
from storage import jobs, questions
from storage.records import EventId, HeardEvent, Question, UserId
from tests.world import ALICE, BOT, ROOM, World, heard, world_of

COMMAND, QUESTION = EventId("$command"), EventId("$question")
BOB = UserId("@bob:hs")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Provide a room in which Alice was asked something, which was not said yet."""
    async with world_of(tmp_path / "data") as world:
        await world.join()
        now = world.clock()
        async with world.store.write() as db:
            await questions.ask(db, Question(COMMAND, ROOM, ALICE, "delete", ("kfmtra",), now, encrypted=False))
            notice = orders.Notice(topics.answer(COMMAND), ROOM, "Delete?", asks=COMMAND)
            await jobs.add(db, notice.job(), now)
        yield world


async def said(world: World, **more: Any) -> HeardEvent:
    """Return the question as the sync shows it to the bot."""
    async with world.store.read() as db:
        (job,) = [job for job in await jobs.unfinished(db, orders.Notice.kind) if orders.command_answered_by(job)]
    unsigned = {"transaction_id": f"aircheck-{job.id}"}
    content = {"msgtype": "m.notice", "body": "Delete?"}
    return heard(QUESTION, "m.room.message", content, sender=BOT, unsigned=unsigned, **more)


def thumb(event_id: str, key: str = "👍", to: str = QUESTION, **more: Any) -> HeardEvent:
    relation = {"rel_type": "m.annotation", "event_id": to, "key": key}
    return heard(event_id, "m.reaction", {"m.relates_to": relation}, **more)


async def open_question(world: World) -> Question:
    async with world.store.read() as db:
        question = await questions.open_of(db, ROOM, ALICE)
    assert question is not None
    return question


async def test_a_reaction_in_the_same_sync_as_the_question_confirms_it(world: World) -> None:
    """The bot's own message tells the question's event id, before the answer to the request is read."""
    await world.hear(await said(world), thumb("$yes"))
    (confirm,) = await world.ordered(orders.Confirm)
    now = world.clock()
    assert (confirm.event_id, confirm.sender, confirm.to, confirm.received_at) == ("$yes", ALICE, QUESTION, now)


@pytest.mark.parametrize("key", ["👍", "👍️", "👍🏿", "👍🏻"])
async def test_a_thumb_of_any_look_is_a_yes(world: World, key: str) -> None:
    """Skin tone and variation selector make no difference."""
    await world.hear(await said(world), thumb("$yes", key))
    assert len(await world.ordered(orders.Confirm)) == 1


@pytest.mark.parametrize(
    "other",
    [
        thumb("$no", "👎"),
        thumb("$no", "👍👍"),
        thumb("$no", "👍" * 99),
        thumb("$no", to="$other"),
        thumb("$no", to="no id"),
        thumb("$no", sender=BOB),
        thumb("$no", sender=BOT),
        thumb("$no", state_key=""),
        heard("$no", "m.reaction", {}),
        heard("$no", "m.reaction", {"m.relates_to": {"rel_type": "m.reference", "event_id": QUESTION, "key": "👍"}}),
        heard("$no", "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": QUESTION, "key": 7}}),
    ],
)
async def test_every_other_reaction_is_not_kept(world: World, other: HeardEvent) -> None:
    """Not those of other members, to other events, with other emoji, nor junk."""
    await world.hear(await said(world), other)
    assert await world.ordered(orders.Confirm) == []


async def test_a_reaction_after_the_answer_is_not_kept(world: World) -> None:
    """A question is answered once."""
    await world.hear(await said(world))
    async with world.store.write() as db:
        await questions.close(db, COMMAND)
    await world.hear(thumb("$yes"))
    assert await world.ordered(orders.Confirm) == []


async def test_a_question_counts_from_when_the_homeserver_had_it(world: World) -> None:
    """The earliest time counts that is known, but none from before it was asked."""
    asked = world.clock()
    world.clock.pass_by(40)
    async with world.store.write() as db:
        await questions.said(db, COMMAND, QUESTION, world.clock())
    assert (await open_question(world)).said_at == asked + timedelta(seconds=40)
    await world.hear(await said(world, origin_server_ts=ms(asked + timedelta(seconds=10))))
    assert (await open_question(world)).said_at == asked + timedelta(seconds=10)
    await world.hear(await said(world, origin_server_ts=ms(asked - timedelta(days=1))))
    assert (await open_question(world)).said_at == asked


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


async def test_a_flood_of_reactions_is_kept_up_to_a_share_and_told_once(world: World) -> None:
    """Reactions count against the asker's share of answers as commands do, and who exceeds it is told once."""
    await world.hear(await said(world), *(thumb(f"$yes{number}") for number in range(200)))
    assert len(await world.ordered(orders.Confirm)) == AT_ONCE
    told = [job for job in await world.waiting(orders.Notice.kind) if job["body"] == words.ASKED_TOO_MUCH]
    assert [job["reply_to"] for job in told] == [f"$yes{AT_ONCE}"]
