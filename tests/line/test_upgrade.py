"""An upgraded room on a real homeserver keeps its podcast, and an impostor's room gets nothing."""

import pytest

from bot.demo.broadcaster import Broadcaster
from bot.demo.client_api import CLIENT, room_path
from bot.demo.listener import listen, subscribe
from bot.demo.people import Person
from bot.demo.slicing import speech
from storage.records import RecordingState
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import World, answers, assert_exact, personal_feed, recorded, whole_broadcast

SPEECH = speech(1)[:600]  # 12 s


async def broadcast(store: Store, host: Person, room: str) -> Broadcaster:
    """Broadcast, and wait until it is recorded whole."""
    speaker = await whole_broadcast(host, room, SPEECH)
    await recorded(store, speaker.broadcast_id, RecordingState.COMPLETE)
    return speaker


async def come_in(person: Person, host: Person, room: str) -> None:
    await host.invite(room, person.user_id)
    await person.wait_until(lambda: room in person.invites or None)
    await person.join(room)


async def told(world: World, person: Person, room: str) -> str:
    """Wait for the bot's next notice in a room."""
    found = await person.wait_for(lambda event: event.room_id == room and event.is_notice_of(world.user_id))
    return found.body


@pytest.mark.parametrize("version", ["11", "12"], ids="from version {}".format)
async def test_an_upgraded_rooms_podcast_goes_on(world: Worlds, person: People, version: str) -> None:
    """An old address serves both rooms to members of the new one; a room that only claims the old one gets nothing."""
    bot, alice, bob, mallory = await world(), await person("alice"), await person("bob"), await person("mallory")
    async with bot.running() as aircheck:
        old = await alice.create_room("The Kitchen Table", version=version, invite=[bot.user_id])
        await told(bot, alice, old)
        for guest in (bob, mallory):
            await come_in(guest, alice, old)
        bobs, _ = await personal_feed(bot, bob, old)
        mallorys, _ = await personal_feed(bot, mallory, old)
        before = await broadcast(aircheck.store, alice, old)
        (first,) = await subscribe(bobs)
        assert await answers(mallorys) == 200
        await told(bot, alice, old)  # that it is there

        claim = {"predecessor": {"room_id": old, "event_id": "$tombstone"}}
        body = {"preset": "private_chat", "creation_content": claim, "invite": [bot.user_id]}
        impostor = str((await mallory.api.call("POST", f"{CLIENT}/createRoom", body))["room_id"])
        assert "continues" not in await told(bot, mallory, impostor)
        await mallory.say(impostor, "!aircheck record on")
        assert "continues" not in await told(bot, mallory, impostor)
        await mallory.say(impostor, "!aircheck list")
        assert "no recording" in await told(bot, mallory, impostor)

        upgrade = await alice.api.call("POST", room_path(old, "upgrade"), {"new_version": "12"})
        new = str(upgrade["replacement_room"])
        await alice.invite(new, bot.user_id)
        assert "continues the podcast" in await told(bot, alice, new)
        assert await answers(bobs) == 410, "the archive is under the new room's rules, and Bob is not in it yet"
        await come_in(bob, alice, new)
        after = await broadcast(aircheck.store, alice, new)
        second, again = await subscribe(bobs)
        assert again == first, "what is known of an episode has changed"
        await assert_exact(await listen(second), after)
        await assert_exact(await listen(again), before)
        assert await answers(mallorys) == 410

        await bob.say(new, "!aircheck feed")
        sent = await bob.wait_for(lambda event: event.sender == bot.user_id and f"{bot.web}/p/" in event.body)
        assert bobs in sent.body.split()
