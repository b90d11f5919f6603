"""A member objects in the middle of a broadcast, on a real homeserver: seen in the room, on disk and over HTTP."""

from bot.demo.received import Received
from bot.demo.slicing import speech
from storage.records import EndedBy, RecordingState
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.test_asking import confirm
from tests.line.test_direct_chat import open_chat
from tests.line.test_redaction import blobs_gone, gone
from tests.line.world import first_chunks, go_live, look, recorded, reply_to, send, subscribed_room, welcome

SPEECH = speech(1)[:900]  # 18 s


async def test_who_opts_out_while_live_is_not_recorded_any_more_and_deletes_it_from_the_chat(
    world: Worlds, person: People
) -> None:
    """The recording ends with the sound of before, a direct message says how to delete it, and that is done there;
    the next broadcast is not recorded."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        room, _, page = await subscribed_room(bot, alice, encrypted=True)
        await welcome(bob, alice, room)
        chat = await open_chat(bob, bot)
        speaker = await go_live(bob, room)
        rest = await first_chunks(aircheck.store, speaker, SPEECH, 2)
        out = await reply_to(bob, await bob.say(room, "!aircheck optout"))
        assert "closed" in out.body
        await send(speaker, rest)
        await speaker.stop()
        recording, ledger = await recorded(aircheck.store, speaker.broadcast_id, RecordingState.INCOMPLETE)
        assert recording.ended_by is EndedBy.SWITCHED_OFF
        found = await look(aircheck.store, speaker.broadcast_id)
        assert found is not None
        assert found[2] is not None
        keys = {str(chunk.blob) for chunk in found[1] if chunk.blob} | {str(found[2].blob)}
        assert len(keys) == 3  # two chunks and the episode: nothing that came after the objection
        assert ledger.samples < speaker.samples
        told = await bob.wait_for(lambda event: tells_how(event, chat, bot.user_id, recording.code))
        words = told.body.split("`")[1]
        question = await reply_to(bob, await bob.say(chat, words))
        assert recording.code in question.body
        assert "is deleted" in (await confirm(bob, chat, question, by_word=True)).body
        await gone(aircheck.store, page + recording.code)
        await blobs_gone(bot, aircheck.store, keys)
        again = await go_live(bob, room)
        await again.stop()
        answered = await reply_to(bob, await bob.say(room, "!aircheck status"))
        assert "Nothing is live." in answered.body
        assert await look(aircheck.store, again.broadcast_id) is None


def tells_how(event: Received, chat: str, bot: str, code: str) -> bool:
    return event.room_id == chat and event.sender == bot and f"delete {code}" in event.body
