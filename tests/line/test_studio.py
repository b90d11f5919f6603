"""A member asks for a studio and loses the right to it in the middle of the broadcast, on a real homeserver."""

import asyncio
import logging
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.commands.replies.studio import is_coming
from bot.demo.people import Person
from bot.demo.received import Received
from bot.dialects import studio as events
from bot.event_types import ENCRYPTED
from bot.feeds.addresses import look_up_hash
from bot.studio.writing import Writing
from storage import studios
from storage.records import RecordingState, Studio, StudioId, StudioSource, StudioState
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import World, look, move_in, reply_to, until, welcome

COMING = is_coming(StudioSource.PAGE, live=False)


async def test_a_member_gets_a_studio_in_the_direct_chat_and_loses_it_with_the_right(
    world: Worlds, person: People, caplog: pytest.LogCaptureFixture
) -> None:
    """The address comes encrypted, to them alone, and is the same when they ask again. A demotion ends the broadcast
    by itself, for good: with the right back, the next studio has another address. No log and no file holds either."""
    caplog.set_level(logging.DEBUG, "bot")
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        store = aircheck.store
        room = await move_in(bot, alice, encrypted=True)
        await welcome(bob, alice, room)
        assert (await reply_to(bob, await bob.say(room, "!aircheck studio"))).body == COMING
        chat = await bob.wait_for_invite(bot.user_id)
        await bob.join(chat)
        told = await addressed(bob, bot)
        assert told.room_id == chat
        assert (await bob.fetch_event(chat, told.event_id))["type"] == ENCRYPTED
        studio = await studio_of(store, token_in(told))
        assert (studio.user_id, studio.room_id, studio.state) == (bob.user_id, room, StudioState.WAITING)

        await reply_to(bob, await bob.say(room, "!aircheck studio"))
        assert token_in(await addressed(bob, bot)) == token_in(told)

        await Writing(store, bot.settings, lambda: datetime.now(UTC)).start(studio.id, "page")
        await until(store, lambda: is_live(store, studio))
        await alice.set_power(room, {bob.user_id: -1})
        await until(store, lambda: is_over(store, studio))

        await alice.set_power(room, {bob.user_id: 0})
        await bob.wait_for(lambda event: event.room_id == room and event.content.get("users", {}).get(bob.user_id) == 0)
        assert (await reply_to(bob, await bob.say(room, "!aircheck studio"))).body == COMING
        again = await addressed(bob, bot)
        assert token_in(again) != token_in(told)
        assert not [event for event in (*alice.received, *bob.received) if event.room_id == room and has_token(event)]
    tokens = {token_in(told), token_in(again)}
    assert not [token for token in tokens if token in caplog.text]
    assert await asyncio.to_thread(files_with, bot.directory, tokens) == []


TOKEN = re.compile(r"/studio/([a-z2-7]{52})/")


def files_with(directory: Path, tokens: set[str]) -> list[Path]:
    """Return the files of a bot in which one of these tokens stands. Blocking."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(token.encode() in path.read_bytes() for token in tokens)]


def has_token(event: Received) -> bool:
    return TOKEN.search(event.body) is not None


def token_in(event: Received) -> str:
    found = TOKEN.search(event.body)
    assert found is not None
    return found[1]


async def addressed(member: Person, bot: World) -> Received:
    """Wait for the next message with the address of a studio."""
    return await member.wait_for(lambda event: event.sender == bot.user_id and has_token(event))


async def studio_of(store: Store, token: str) -> Studio:
    async with store.read() as db:
        found = await studios.by_token(db, look_up_hash(token))
    assert found is not None
    return found


async def is_live(store: Store, studio: Studio) -> bool | None:
    """Return True once the recording of a studio's broadcast is live."""
    found = await look(store, events.started_id(studio))
    return True if found is not None and found[0].state is RecordingState.LIVE else None


async def is_over(store: Store, studio: Studio) -> bool | None:
    """Return True once a studio is over, and so is its recording, which has no sound."""
    async with store.read() as db:
        now = await studios.get(db, StudioId(studio.id))
    found = await look(store, events.started_id(studio))
    over = now is not None and now.state is StudioState.OVER
    return True if over and found is not None and found[0].state is RecordingState.EMPTY else None
