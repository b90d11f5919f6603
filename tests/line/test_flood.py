"""A flood of commands from one member: others are answered all the same."""

import asyncio
import uuid
from collections import Counter

from sqlalchemy import select

from bot import orders
from bot.demo.client_api import room_path
from bot.demo.people import Person
from bot.demo.received import Received
from bot.intake.shares import AT_ONCE
from storage.store import Store
from storage.tables import jobs
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import World, move_in, welcome

COMMANDS = 400


async def test_one_members_flood_of_commands_keeps_nobody_waiting(world: Worlds, person: People) -> None:
    """Others are answered soon in the same and in another room, and the flooding member is told once."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        flooded = await move_in(bot, alice, encrypted=False)
        quiet = await move_in(bot, bob, encrypted=False)
        await welcome(bob, alice, flooded)

        async def ask() -> None:
            content = {"msgtype": "m.text", "body": "!aircheck status"}
            await alice.api.call("PUT", room_path(flooded, "send", "m.room.message", uuid.uuid4().hex), content)

        for _ in range(COMMANDS // 20):
            await asyncio.gather(*(ask() for _ in range(20)))
        for room in (quiet, flooded):
            asked = await bob.say(room, "!aircheck help")
            await answered(bob, bot, asked)
        said = await said_by(aircheck.store)
        assert said["share"] == 1
        assert said["answer"] <= 2 * AT_ONCE


async def said_by(store: Store) -> Counter[str]:
    """Collect the bot's notices, sent or queued, by kind."""
    async with store.read() as db:
        found = await db.execute(select(jobs.c.subject).where(jobs.c.kind == orders.Notice.kind))
    return Counter(str(subject).partition(":")[0] for subject in found.scalars())


async def answered(person: Person, bot: World, event_id: str) -> None:
    """Wait for the bot's reply to an event."""

    def is_reply(event: Received) -> bool:
        relation = event.content.get("m.relates_to", {}).get("m.in_reply_to", {})
        return event.sender == bot.user_id and relation.get("event_id") == event_id

    await person.wait_for(is_reply)
