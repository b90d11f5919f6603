"""Events that are sent at once stand side by side in a room, and its homeserver resolves the state: what the bot keeps
is the state that the homeserver has, whatever a sync showed last."""

import asyncio
from datetime import UTC, datetime, timedelta

from bot.demo.client_api import Refused
from bot.demo.people import Person
from bot.event_types import POWER_LEVELS, ROOM_NAME, ROOM_TOPIC
from storage import journal, rooms
from storage.records import Json, RoomId
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import move_in, until, welcome

ROUNDS = 6


async def has(store: Store, room: str, kind: str, content: Json) -> None:
    """Wait until the bot keeps this content of a room's state, where the room has none an empty one."""

    async def check() -> bool | None:
        async with store.read() as db:
            state = await rooms.state(db, RoomId(room), kind)
        return True if (state.content if state is not None else {}) == content else None

    await until(store, check)


async def all_is_heard(store: Store, alice: Person, room: str, mark: str) -> None:
    """Wait until the bot has heard all that was sent so far."""
    await alice.send_state(room, ROOM_NAME, {"name": mark})
    await has(store, room, ROOM_NAME, {"name": mark})


async def topic_of(person: Person, room: str) -> Json:
    """Return the content of a room's topic, an empty one where it has none."""
    try:
        return await person.state(room, ROOM_TOPIC)
    except Refused as refused:
        if refused.errcode != "M_NOT_FOUND":
            raise
        return {}


async def test_power_levels_are_as_before_for_nobody_who_speaks_meanwhile(world: Worlds, person: People) -> None:
    """Power levels that are changed while somebody speaks count, although a sync shows those of before once more; also
    when those of before were never heard, or so long ago that the journal has lost them."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=False)
        await welcome(bob, alice, room)
        for number in range(ROUNDS):
            levels = {**await alice.state(room, POWER_LEVELS), "events": {"org.example.round": number}}
            change = alice.send_state(room, POWER_LEVELS, levels)
            await asyncio.gather(change, *(each.say(room, "hello") for each in (alice, bob)))
            await all_is_heard(aircheck.store, alice, room, f"round {number}")
            await has(aircheck.store, room, POWER_LEVELS, levels)
            async with aircheck.store.write() as db:
                await journal.prune(db, datetime.now(UTC) + timedelta(days=1))


async def test_of_two_changes_at_once_the_one_counts_that_the_homeserver_has(world: Worlds, person: People) -> None:
    """When two moderators change the same at once, the later in the timeline is not always what the room has then."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=False)
        await welcome(bob, alice, room)
        await alice.set_power(room, {bob.user_id: 50})
        for number in range(ROUNDS):
            topics = [{"topic": f"{number} of {each.user_id}"} for each in (alice, bob)]
            changes = zip((alice, bob), topics, strict=True)
            await asyncio.gather(*(each.send_state(room, ROOM_TOPIC, topic) for each, topic in changes))
            await all_is_heard(aircheck.store, alice, room, f"round {number}")
            await has(aircheck.store, room, ROOM_TOPIC, await topic_of(alice, room))


async def test_who_lost_their_power_at_the_same_instant_changed_nothing(world: Worlds, person: People) -> None:
    """A change that a moderator makes at the instant at which they are none any more is undone by the homeserver, and
    by the bot."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=False)
        await welcome(bob, alice, room)
        await alice.send_state(room, ROOM_TOPIC, {"topic": "as it was"})
        for number in range(ROUNDS):
            await alice.set_power(room, {bob.user_id: 50})
            lowered = alice.set_power(room, {bob.user_id: 0})
            changed = bob.send_state(room, ROOM_TOPIC, {"topic": f"round {number}"})
            await asyncio.gather(lowered, changed, return_exceptions=True)
            await all_is_heard(aircheck.store, alice, room, f"round {number}")
            await has(aircheck.store, room, ROOM_TOPIC, await topic_of(alice, room))
