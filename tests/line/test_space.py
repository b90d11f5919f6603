"""On a real homeserver the bot declines an invite to a space, and says why."""

from bot import words
from bot.demo.client_api import CLIENT
from tests.lab import People
from tests.line.conftest import Worlds


async def test_an_invite_to_a_space_is_declined_with_the_reason(world: Worlds, person: People) -> None:
    """The inviter reads the reason in the space's timeline; the bot never joins."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        body = {"preset": "private_chat", "creation_content": {"type": "m.space"}, "invite": [bot.user_id]}
        space = str((await alice.api.call("POST", f"{CLIENT}/createRoom", body))["room_id"])
        left = await alice.wait_for(lambda event: event.room_id == space and event.is_membership("leave", bot.user_id))
        assert left.content["reason"] == words.NO_SPACES
