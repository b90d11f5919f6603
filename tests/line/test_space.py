"""A space is no room to record: on a real homeserver the bot declines its invite, and says why."""

from bot import words
from bot.demo.client_api import CLIENT
from tests.lab import People
from tests.line.conftest import Worlds


async def test_an_invite_to_a_space_is_declined_with_the_reason(world: Worlds, person: People) -> None:
    """Whoever invited it reads the reason in the room's timeline; the bot was never in."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        body = {"preset": "private_chat", "creation_content": {"type": "m.space"}, "invite": [bot.user_id]}
        space = str((await alice.api.call("POST", f"{CLIENT}/createRoom", body))["room_id"])
        left = await alice.wait_for(lambda event: event.room_id == space and event.is_membership("leave", bot.user_id))
        assert left.content["reason"] == words.NO_SPACES
