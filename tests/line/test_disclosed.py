"""Members and clients see what a room records: state event, pinned notice, reaction, on a real homeserver."""

import pytest

from bot.demo.people import Person
from bot.demo.slicing import speech
from bot.event_types import DISCLOSURE, PINNED_EVENTS
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import whole_broadcast

SPEECH = speech(1)[:150]  # 3 s


async def pinned(person: Person, room: str) -> object:
    return (await person.state(room, PINNED_EVENTS))["pinned"]


@pytest.mark.parametrize(
    "encrypted", [pytest.param(True, id="encrypted"), pytest.param(False, id="plain", marks=pytest.mark.long)]
)
async def test_a_room_shows_what_it_records_as_soon_as_the_bot_may(
    world: Worlds, person: People, *, encrypted: bool
) -> None:
    """Without power a member reads the notice alone; with it the state event and the pin appear, and follow changes."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        room = await alice.create_room("The Kitchen Table", encrypted=encrypted, invite=[bot.user_id])
        notice = await alice.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        for words in ("members only", "`!aircheck optout`", "switched this on", "forever"):
            assert words in notice.body
        theirs = await alice.say(room, "Rules of this room: be kind")
        await alice.send_state(room, PINNED_EVENTS, {"pinned": [theirs]})

        await alice.set_power(room, {bot.user_id: 50})
        shown = await alice.wait_for(lambda event: event.room_id == room and event.type == DISCLOSURE)
        assert shown.content["since"] > 0
        facts = {"records": ["broadcasts"], "visibility": "private", "retention": "forever", "by": alice.user_id}
        assert {name: shown.content[name] for name in facts} == facts
        pin = await alice.wait_for(lambda event: event.type == PINNED_EVENTS and event.sender == bot.user_id)
        # The homeserver tells what a state event replaced, so that no pin of others is lost.
        assert {"replaces_state", "prev_content"} & set((await alice.fetch_event(room, pin.event_id))["unsigned"])
        assert await pinned(alice, room) == [theirs, notice.event_id]

        speaker = await whole_broadcast(alice, room, SPEECH)
        reaction = await alice.wait_for(lambda event: event.type == "m.reaction" and event.sender == bot.user_id)
        assert reaction.content["m.relates_to"]["event_id"] == speaker.broadcast_id

        await alice.say(room, "!aircheck publish public")
        again = await alice.wait_for(
            lambda event: event.is_notice_of(bot.user_id) and "for its public podcast" in event.body
        )
        await alice.wait_for(lambda event: event.type == DISCLOSURE and event.content["visibility"] == "public")
        await alice.wait_for(
            lambda event: event.type == PINNED_EVENTS and event.content["pinned"] == [theirs, again.event_id]
        )
        await alice.say(room, "!aircheck record off")
        await alice.wait_for(lambda event: event.type == DISCLOSURE and event.content["records"] == [])
