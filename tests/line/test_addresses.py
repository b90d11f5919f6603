"""Personal addresses on a real homeserver: nobody loses theirs, and only their listener reads them."""

from bot.demo.people import Person
from bot.demo.story import addresses_in
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import World, answers, move_in, personal_feed


async def feed_told(listener: Person, bot: World, chat: str) -> str:
    """Wait for the address that the bot sends in this chat."""
    told = await listener.wait_for(
        lambda event: event.room_id == chat and event.sender == bot.user_id and bot.web in event.body
    )
    return addresses_in(told.body, bot.web).feed


async def test_who_left_the_chat_and_renews_keeps_the_old_address_until_the_new_one_is_said(
    world: Worlds, person: People
) -> None:
    """After a lost chat the bot invites again at once; the new address works and the old one has ended."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        room = await move_in(bot, alice, encrypted=True)
        old, _ = await personal_feed(bot, alice, room)
        await alice.leave(next(event.room_id for event in alice.received if bot.web in event.body))
        await alice.say(room, "!aircheck feed renew")
        chat = await alice.wait_for_invite(bot.user_id)
        assert await answers(old) == 200
        await alice.join(chat)
        new = await feed_told(alice, bot, chat)
        assert new != old
        assert await answers(new) == 200
        await alice.say(chat, "!aircheck help")  # what follows the address is answered after it
        await alice.wait_for(lambda event: event.room_id == chat and "`!aircheck help" in event.body)
        assert await answers(old) in (404, 410)


async def test_a_chat_that_the_listener_opened_is_used(world: Worlds, person: People) -> None:
    """An existing direct chat is used again, unless a third person is in it."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running():
        room = await move_in(bot, alice, encrypted=True)
        theirs = await alice.create_room(encrypted=True, invite=[bot.user_id], direct=True)
        await alice.wait_for(lambda event: event.room_id == theirs and event.is_notice_of(bot.user_id))
        await alice.say(room, "!aircheck feed")
        feed = await feed_told(alice, bot, theirs)
        assert await answers(feed) == 200
        assert bot.user_id not in alice.invites.values()
        await alice.invite(theirs, bob.user_id)
        await alice.say(room, "!aircheck feed")
        chat = await alice.wait_for_invite(bot.user_id)
        await alice.join(chat)
        assert await feed_told(alice, bot, chat) == feed
