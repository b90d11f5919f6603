"""Absences of the bot or the homeserver."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from bot.demo.slicing import speech
from storage import journal
from storage.records import RecordingState
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import (
    World,
    answers,
    assert_exact,
    first_chunks,
    go_live,
    move_in,
    newest_episode,
    recorded,
    send,
    subscribed_broadcast,
    subscribed_room,
    whole_broadcast,
)

SPEECH = speech(1)[:1400]  # 28 s


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
async def test_a_whole_broadcast_while_the_bot_was_stopped_is_recorded(
    world: Worlds, person: People, encrypted: bool
) -> None:
    """A broadcast that ran while the bot was down is recorded whole."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        room, feed, _ = await subscribed_room(bot, alice, encrypted=encrypted)
    speaker = await whole_broadcast(alice, room, SPEECH)
    async with bot.running() as aircheck:
        await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "is ready" in event.body)
        await assert_exact(await newest_episode(feed), speaker)


async def test_a_gap_in_the_sync_is_walked(world: Worlds, person: People) -> None:
    """A broadcast among hundreds of events that a sync left out is recorded whole."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        room = await move_in(bot, alice, encrypted=True)
    for number in range(65):
        await alice.say(room, f"before {number}")
    speaker = await go_live(alice, room)
    await speaker.speak(SPEECH)
    await alice.say(room, "!aircheck record off")
    await speaker.stop()
    for number in range(65):
        await alice.say(room, f"after {number}")
    async with bot.running() as aircheck:
        _, ledger = await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        assert ledger.samples == speaker.samples
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "away" in event.body)
        status = await alice.say(room, "!aircheck status")
        told = await alice.wait_for(
            lambda event: (
                event.is_notice_of(bot.user_id) and event.content["m.relates_to"]["m.in_reply_to"]["event_id"] == status
            )
        )
        assert "recording is on" in told.body.lower(), "an old command was carried out"


async def test_an_invite_that_came_while_the_bot_was_down_is_taken(world: Worlds, person: People) -> None:
    """The bot accepts an invite from while it was down, and records because a moderator invited it."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        pass
    room = await alice.create_room("late", encrypted=True, invite=[bot.user_id])
    async with bot.running() as aircheck:
        await alice.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        speaker = await whole_broadcast(alice, room, SPEECH[:600])
        await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)


async def test_a_refused_invite_is_left_alone(world: Worlds, person: People) -> None:
    """Only invites allowed by `matrix.invites_from` are accepted, also after a refused one."""
    alice, mallory = await person("alice"), await person("mallory")
    bot = await world(matrix={"invites_from": [alice.user_id]})
    async with bot.running():
        refused = await mallory.create_room("trap", encrypted=False, invite=[bot.user_id])
        await move_in(bot, alice, encrypted=False)
        await mallory.sync_once()
        assert mallory.membership(refused, bot.user_id) == "invite"


async def test_a_homeserver_that_restarts_in_the_middle_costs_nothing(world: Worlds, person: People) -> None:
    """A broadcast survives a restart of the homeserver, and feeds answer all the time."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        speaker, feed, _ = await subscribed_broadcast(bot, alice, encrypted=True)
        rest = await first_chunks(aircheck.store, speaker, SPEECH, 2)
        await bot.homeserver.stop()
        assert await answers(feed) == 200
        assert await answers(f"{bot.web}/healthz") == 200
        await bot.homeserver.restart()
        await send(speaker, rest)
        await speaker.stop()
        await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        await assert_exact(await newest_episode(feed), speaker)


async def test_after_a_start_personal_addresses_wait_for_the_rooms_state(world: Worlds, person: People) -> None:
    """After a start without the homeserver a personal address answers 503 until the room's state was read."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        _, feed, _ = await subscribed_room(bot, alice, encrypted=False)
        assert await answers(feed) == 200
    away = await world()
    away.directory, away.tree = bot.directory, {**bot.tree, "matrix": {**bot.tree["matrix"], "homeserver": NOWHERE}}
    async with away.starting():
        assert await answers(feed) == 503
        assert await answers(f"{bot.web}/healthz") == 200
    async with bot.running():
        assert await answers(feed) == 200


NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        pytest.param("s99999999_99999999_0_1_1_1_1_99999_0_1", marks=pytest.mark.long),
        pytest.param("t1", marks=pytest.mark.long),
    ],
)
async def test_a_sync_token_that_the_homeserver_does_not_know_is_begun_anew(
    world: Worlds, person: People, token: str
) -> None:
    """After a forgotten sync token the bot syncs anew within a minute, and does nothing twice."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        room = await move_in(bot, alice, encrypted=True)
        await alice.say(room, "!aircheck status")
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "ecording is on" in event.body)
    async with aircheck_store(bot) as store, store.write() as db:
        await journal.put(db, journal.SYNC_TOKEN, token)
    speaker = await go_live(alice, room)
    await speaker.speak(SPEECH[:600])
    for number in range(65):
        await alice.say(room, f"after {number}", encrypt=False)
    async with bot.starting() as aircheck:
        await speaker.speak(SPEECH[600:])
        await speaker.stop()
        await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        async with aircheck.store.read() as db:
            commands = await db.execute(text("SELECT count(*) FROM jobs WHERE kind = 'command'"))
            assert commands.scalar_one() == 1
        assert aircheck.session.heard_at is not None


@asynccontextmanager
async def aircheck_store(bot: World) -> AsyncIterator[Store]:
    """Open the store of a bot that does not run."""
    store = await Store.own(bot.settings.storage.place)
    try:
        yield store
    finally:
        await store.close()
