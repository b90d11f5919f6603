"""`check`: a moderator has the feed tested; a job does it and gives the answer."""

from bot import orders
from bot.commands.replies import check as replies
from storage import rooms
from storage.records import Visibility
from tests.commands.world import MEMBER, MOD, ROOM, World


async def listeners(world: World) -> bool:
    async with world.store.read() as db:
        return await rooms.listener(db, ROOM, MOD) is not None


async def test_a_moderator_has_the_feed_tested(world: World) -> None:
    """Nothing is answered before the test; a second one in the room waits for the first."""
    job = world.command(MOD, "!aircheck check")
    await world.handle(job)
    await world.handle(job)  # the process had died at its end
    assert await world.take(orders.Notice.kind) == ()
    assert await world.say(MOD, "!aircheck check") == replies.UNDER_WAY
    (order,) = [orders.CheckFeed.of(job) for job in await world.take(orders.CheckFeed.kind)]
    assert (order.room_id, order.said_in, order.asker, order.command) == (ROOM, ROOM, MOD, job.subject)
    assert await world.say(MOD, "!aircheck check") is None
    assert len(await world.take(orders.CheckFeed.kind)) == 1


async def test_only_moderators_have_it_tested(world: World) -> None:
    """A test fetches whole episodes."""
    assert "Only a moderator" in str(await world.say(MEMBER, "!aircheck check"))
    assert await world.take(orders.CheckFeed.kind) == ()


async def test_of_a_private_podcast_the_askers_own_feed_is_tested(world: World) -> None:
    """They get an address for it, which is told to nobody; a public podcast needs none."""
    await world.say(MOD, "!aircheck check")
    assert await listeners(world)
    assert await world.take(orders.Direct.kind) == ()


async def test_of_a_public_podcast_the_public_feed_is_tested(bare: World) -> None:
    """The asker gets no address."""
    await bare.open(visibility=Visibility.PUBLIC)
    await bare.say(MOD, "!aircheck check")
    assert not await listeners(bare)
