"""Listening first, on a real homeserver: an episode waits for its approval."""

import re

from bot.demo.listener import subscribe
from bot.demo.people import Person
from bot.demo.slicing import speech
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.test_told import level
from tests.line.world import (
    World,
    answers,
    assert_exact,
    move_in,
    newest_episode,
    personal_feed,
    welcome,
    whole_broadcast,
)

SPEECH = speech(1)[:300]  # 6 s
INFO = "io.element.voice_broadcast_info"


async def said(bot: World, listener: Person, words: str) -> str:
    """Wait until the bot says these words, and return the whole notice."""
    return (await listener.wait_for(lambda event: event.is_notice_of(bot.user_id) and words in event.body)).body


async def test_an_episode_waits_until_its_speaker_approves_it(world: Worlds, person: People) -> None:
    """Until then it is on the pages of its speaker and of the moderator, and in nobody's feed; then it is in all."""
    bot, mod, speaker, member = await world(), await person("alice"), await person("bob"), await person("carol")
    async with bot.running():
        room = await move_in(bot, mod, encrypted=False)
        await level(mod, room, events={INFO: 0})
        for guest in (speaker, member):
            await welcome(guest, mod, room)
        feeds, pages = zip(*[await personal_feed(bot, one, room) for one in (mod, speaker, member)], strict=True)
        await mod.say(room, "!aircheck review on")
        await said(bot, mod, "Review is on")
        spoken = await whole_broadcast(speaker, room, SPEECH)
        waits = await said(bot, member, "This recording (")
        found = re.search(r"approve ([a-z]{6})", waits)
        assert found is not None
        code = found[1]
        for name in (code, f"{code}.mp3"):
            assert [await answers(page + name) for page in pages] == [200, 200, 404]
        assert [await subscribe(feed) for feed in feeds] == [[], [], []]
        await speaker.say(room, f"!aircheck approve {code}")
        await said(bot, member, "is ready")
        assert [await answers(page + code) for page in pages] == [200, 200, 200]
        await assert_exact(await newest_episode(feeds[2]), spoken)
