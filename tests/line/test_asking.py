"""Questions before what cannot be undone, on a real homeserver: confirmed by a reaction and by `yes`."""

import pytest

from bot.commands.replies import confirm as replies
from bot.demo.listener import subscribe
from bot.demo.people import Person
from bot.demo.received import Received
from bot.demo.slicing import speech
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.test_redaction import blobs_gone, gone
from tests.line.world import World, look, reply_to, subscribed_room, welcome, whole_broadcast

SPEECH = speech(1)[:300]  # 6 s


@pytest.mark.parametrize(
    "encrypted",
    [
        pytest.param(True, id="reaction-encrypted"),
        pytest.param(False, id="word-plain", marks=pytest.mark.long),
    ],
)
async def test_its_asker_deletes_a_recording_and_sends_the_bot_away(
    world: Worlds, person: People, *, encrypted: bool
) -> None:
    """Another member's 👍 and yes do nothing; after the asker's, the episode is gone from feed, page and disk, and its
    announcement says so to every client. Then the bot leaves, with the reason, once it has said so."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        room, feed, page = await subscribed_room(bot, alice, encrypted=encrypted)
        await welcome(bob, alice, room)
        speaker = await whole_broadcast(alice, room, SPEECH)
        announced = await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "is ready" in event.body)
        (enclosure,) = await subscribe(feed)
        found = await look(aircheck.store, speaker.broadcast_id)
        assert found is not None
        assert found[2] is not None
        keys = {str(chunk.blob) for chunk in found[1]} | {str(found[2].blob)}
        question = await reply_to(alice, await alice.say(room, "!aircheck delete last"))
        assert found[0].code in question.body
        await bob.react(room, question.event_id, "👍")
        not_asked = await reply_to(bob, await bob.say(room, "!aircheck yes"))
        assert not_asked.body == replies.NOTHING_TO_CONFIRM
        assert len(await subscribe(feed)) == 1
        deleted = await confirm(alice, room, question, by_word=not encrypted)
        assert f"{found[0].code} is deleted" in deleted.body
        assert list(await subscribe(feed)) == []
        await gone(aircheck.store, page + found[0].code, enclosure.url)
        await blobs_gone(bot, aircheck.store, keys)
        edit = await bob.wait_for(lambda event: "m.new_content" in event.content)
        assert edit.content["m.new_content"]["body"] == "This recording was deleted."
        assert edit.content["m.relates_to"] == {"rel_type": "m.replace", "event_id": announced.event_id}
        await send_away(bot, alice, room, by_word=encrypted)


async def confirm(asker: Person, room: str, question: Received, *, by_word: bool) -> Received:
    """Confirm a question; give the answer, which stands below the yes or below the question."""
    if by_word:
        return await reply_to(asker, await asker.say(room, "!aircheck yes"))
    await asker.react(room, question.event_id, "👍🏽")
    return await reply_to(asker, question.event_id)


async def send_away(bot: World, host: Person, room: str, *, by_word: bool) -> None:
    question = await reply_to(host, await host.say(room, "!aircheck leave"))
    said = await confirm(host, room, question, by_word=by_word)
    assert "I am leaving" in said.body
    left = await host.wait_for(lambda event: event.is_membership("leave", bot.user_id))
    assert "asked me to leave" in str(left.content.get("reason"))
