"""`episode`: what it asks for is found by a job, which answers."""

import pytest

from bot import orders, words
from storage import changes
from storage.records import EventId, UserId
from tests.commands.world import MEMBER, MOD, ROOM, World

MESSAGE = EventId("$voice")


@pytest.mark.parametrize(("asker", "mod"), [(MOD, True), (MEMBER, False)])
async def test_an_answer_to_a_message_orders_its_episode(world: World, asker: UserId, mod: bool) -> None:
    """The job answers, in the thread of the command: only the homeserver knows whose message it is."""
    job = world.command(asker, "!aircheck episode", reply_to=MESSAGE, thread="$root")
    for _ in range(2):  # the process may die before the command is done
        await world.handle(job)
    (made,) = await world.take(orders.MakeEpisode.kind)
    order = orders.MakeEpisode.of(made)
    assert (order.message, order.room_id, order.asker, order.mod) == (MESSAGE, ROOM, asker, mod)
    assert (order.event_id, order.thread) == (job.subject, "$root")
    assert await world.take(orders.Notice.kind) == ()
    async with world.store.read() as db:
        assert await changes.of_rooms(db, [ROOM]) == ()


async def test_without_a_message_it_says_how(world: World) -> None:
    """The answer is one sentence, also for words too many."""
    assert await world.say(MOD, "!aircheck episode") == words.REPLY_TO_A_VOICE_MESSAGE
    assert "`!aircheck episode`" in (await world.say(MOD, "!aircheck episode last", reply_to=MESSAGE) or "")
    assert await world.take(orders.MakeEpisode.kind) == ()


async def test_nothing_is_made_before_the_room_was_told(world: World) -> None:
    """A room whose notice is still to come is not recorded after the fact either."""
    await world.tell(None)
    assert await world.say(MOD, "!aircheck episode", reply_to=MESSAGE) == words.NOT_TOLD_FOR_EPISODE
    assert await world.say(MOD, "!aircheck backfill messages") == words.NOT_TOLD
    assert await world.take(orders.MakeEpisode.kind) == await world.take(orders.BackfillMessages.kind) == ()
