"""Commands in a direct chat with the bot about a room that both are in, on a real homeserver."""

from bot.demo.people import Person
from bot.words import CHAT_HINT
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.test_addressing import answers
from tests.line.world import World, move_in


async def test_a_room_is_asked_about_and_changed_from_a_direct_chat(world: Worlds, person: People) -> None:
    """Without a prefix: a question about the only shared room, a change in a room named by alias, by its own rights."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running():
        room = await move_in(bot, alice, encrypted=True)
        alias = f"#kitchen-{room[1:8].lower()}:{alice.user_id.partition(':')[2]}"
        await alice.api.call("PUT", f"/_matrix/client/v3/directory/room/{alias.replace('#', '%23')}", {"room_id": room})
        await alice.send_state(room, "m.room.canonical_alias", {"alias": alias})
        await alice.invite(room, bob.user_id)
        await bob.join(room)
        chats = {someone: await open_chat(someone, bot) for someone in (alice, bob)}

        assert (await ask(alice, bot, chats[alice], "status")).startswith("Recording is on.")
        assert await ask(bob, bot, chats[bob], f"in {alias} record off") == "Only a moderator of this room can do that."
        assert "switched it off" in await ask(alice, bot, chats[alice], f"in {alias} record off")
        assert "switched off by" in await ask(bob, bot, chats[bob], "record")
        assert "`record`" in await ask(alice, bot, chats[alice], f"in {alias} log")

        await bob.say(chats[bob], "Thank you!")
        await bob.say(chats[bob], "Are you there?")
        assert "There is no recording" in await ask(bob, bot, chats[bob], "list")
        hints = [event for event in bob.received if event.sender == bot.user_id and event.body == CHAT_HINT]
        assert len(hints) == 1


async def open_chat(someone: Person, bot: World) -> str:
    """Open an encrypted direct chat with the bot, and wait until it is in."""
    chat = await someone.create_room(encrypted=True, direct=True, invite=[bot.user_id])
    await someone.wait_for(lambda event: event.room_id == chat and event.sender == bot.user_id and event.body)
    return chat


async def ask(someone: Person, bot: World, chat: str, text: str) -> str:
    event_id = await someone.say(chat, text)
    (answer,) = await someone.wait_until(lambda: answers(someone, bot, event_id) or None)
    return answer.body
