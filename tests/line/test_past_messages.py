"""Voice messages of the past on a real homeserver: a thread becomes an episode, and a day's messages a session."""

import secrets
from collections.abc import Sequence
from typing import Any

from bot.demo.listener import subscribe
from bot.demo.people import Person
from bot.demo.slicing import Slicer, speech
from storage import archive
from storage.records import EventId, RecordingState
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.test_past import told
from tests.line.world import personal_feed, recorded, welcome


async def voice(sender: Person, room: str, *, thread: str | None = None) -> str:
    """Send a voice message of two seconds, encrypted as the room is; return its event id."""
    run = Slicer(secrets.randbits(32), 60)
    run.feed(speech(1)[:100])
    media = await sender.upload(run.end().data, "audio/ogg", encrypted=await sender.is_encrypted(room))
    where = {"url": media.mxc} if media.file is None else {"file": {**media.file, "url": media.mxc}}
    content: dict[str, Any] = {"msgtype": "m.audio", "body": "Voice message", "org.matrix.msc3245.voice": {}, **where}
    content["info"] = {"duration": 2000, "mimetype": "audio/ogg"}
    if thread is not None:
        content["m.relates_to"] = {"rel_type": "m.thread", "event_id": thread}
    return await sender.send(room, "m.room.message", content)


async def heard_in(store: Store, first: str) -> Sequence[EventId | None]:
    async with store.read() as db:
        recording = await archive.recording_by_event(db, EventId(first))
        assert recording is not None
        return [chunk.event_id for chunk in await archive.chunks(db, recording.id)]


async def test_what_was_said_becomes_episodes_that_the_members_of_then_hear(world: Worlds, person: People) -> None:
    """In an encrypted room of version 12 whose newcomers can't read the past: a thread by the reply of one of its
    speakers, the rest by `backfill messages`; Carol, who opted out, is in neither."""
    bot, alice, bob, carol = await world(), await person("alice"), await person("bob"), await person("carol")
    room = await alice.create_room("table", encrypted=True, version="12", visibility="joined", invite=[bot.user_id])
    async with bot.running() as aircheck:
        await told(bot, alice, "Hello")
        for guest in (bob, carol):
            await welcome(guest, alice, room)
        await carol.say(room, "!aircheck optout")
        await told(bot, carol, "nothing")
        root = await alice.say(room, "What do we cook?")
        first = await voice(bob, room, thread=root)
        main = [await voice(alice, room), await voice(bob, room)]
        await voice(carol, room)
        second = await voice(alice, room, thread=root)
        await bob.say(room, "!aircheck episode", reply_to=first)
        made = await told(bot, alice, "made an episode")
        assert "of 2 voice messages from the past" in made
        recording, _ = await recorded(aircheck.store, first, RecordingState.COMPLETE)
        assert await heard_in(aircheck.store, first) == [first, second]
        await alice.say(room, "!aircheck backfill messages yesterday")
        report = await told(bot, alice, "I found the voice messages of 2 episodes: 1 recorded whole, 1 already there.")
        assert "1 message was left out, since its sender is not recorded here." in report
        session, _ = await recorded(aircheck.store, main[0], RecordingState.COMPLETE)
        assert await heard_in(aircheck.store, main[0]) == main
        assert (recording.number, session.number) == (1, 2)
        feed, _ = await personal_feed(bot, bob, room)
        assert len(await subscribe(feed)) == 2
