"""A walkie-talkie as people use it, on a real homeserver: by reactions to the panel, in a room that the bot makes."""

from bot.commands.replies.walkie import ENDED
from bot.demo.client_api import Refused
from bot.demo.people import Person
from bot.demo.received import Received
from bot.demo.slicing import speech
from bot.demo.talk import record, send
from bot.event_types import PINNED_EVENTS
from bot.walkie.panel import BUTTONS
from storage import walkies
from storage.records import EndedBy, EventId, Json, RecordingKind, RecordingState, RoomId, chunk_id_of
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.test_direct_chat import ask, open_chat
from tests.line.world import World, recorded, until

FLOOR, LEVELS = "org.aircheck.walkie.floor", "m.room.power_levels"


async def floor_of(someone: Person, room: str, holder: Person | None) -> Json:
    """Wait until a member's client shows who has the floor."""
    user = holder.user_id if holder is not None else None

    def shown() -> Json | None:
        states = [event for event in someone.received if (event.room_id, event.type) == (room, FLOOR)]
        return states[-1].content if states and states[-1].content["holder"] == user else None

    return await someone.wait_until(shown)


async def panel_of(someone: Person, bot: World, room: str) -> Received:
    """Wait until a member's client shows the panel, decrypted."""
    return await someone.wait_for(
        lambda event: event.room_id == room and event.sender == bot.user_id and "🎙️" in event.body
    )


async def taken_away(someone: Person, reaction: str) -> None:
    """Wait until the bot has redacted a reaction."""
    await someone.wait_for(lambda event: event.type == "m.room.redaction" and reaction in str(event.event))


async def may_write(someone: Person, room: str) -> bool:
    """Try to write; return whether the homeserver lets the member."""
    try:
        await someone.say(room, "May I?")
    except Refused as refused:
        if refused.errcode != "M_FORBIDDEN":
            raise
        return False
    return True


async def test_members_speak_in_turn_by_reactions(world: Worlds, person: People) -> None:
    """In an encrypted room of version 12 members ask by tapping the panel, and the homeserver refuses the others. A
    voice message ends its sender's turn, and is in the recording."""
    bot = await world(walkie={"guard_s": 0.2})
    host, ann, ben = await person("host"), await person("ann"), await person("ben")
    async with bot.running() as aircheck:
        room = await host.create_room(
            "Shift", encrypted=True, version="12", invite=[bot.user_id, ann.user_id, ben.user_id]
        )
        for guest in (ann, ben):
            await guest.join(room)
        await host.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        assert (await ask(host, bot, room, "!aircheck walkie on")).startswith("I need power 100")
        await host.set_power(room, {bot.user_id: 100})
        assert "too much power" in await ask(host, bot, room, "!aircheck walkie on"), "a creator can't be limited"
        panel = await panel_of(ann, bot, room)
        await ann.wait_until(lambda: len(buttons(ann, panel)) == len(BUTTONS) or None)
        await ann.wait_for(lambda event: event.type == PINNED_EVENTS and panel.event_id in event.content["pinned"])
        await floor_of(ann, room, None)
        assert not await may_write(ann, room)

        for guest in (ann, ben):
            await taken_away(guest, await guest.react(room, panel.event_id, "✅"))
        await ann.wait_for(lambda event: is_permit(event, ann) and event.content["send"] is True)
        first, second = await ann.react(room, panel.event_id, "🎙️"), await ben.react(room, panel.event_id, "🎙️")
        await floor_of(ben, room, ann)
        await taken_away(ann, first)
        assert await may_write(ann, room)
        assert not await may_write(ben, room)
        assert not any(second in str(event.event) for event in ben.received if event.type == "m.room.redaction")
        said = await send(record("Ann", ann, speech(1)[:100]), room)
        await floor_of(ben, room, ben)
        await taken_away(ben, second)
        assert (await may_write(ann, room), await may_write(ben, room)) == (False, True)
        await ben.react(room, panel.event_id, "🛑")
        await floor_of(ann, room, None)
        assert await ask(host, bot, room, "!aircheck walkie end") == ENDED
        recording, ledger = await recorded(aircheck.store, said, RecordingState.COMPLETE)
        assert (recording.kind, recording.ended_by) == (RecordingKind.WALKIE_TALKIE, EndedBy.STOPPED)
        assert [entry.chunk_id for entry in ledger.entries] == [chunk_id_of(EventId(said))]

        assert (await ask(host, bot, room, "!aircheck walkie off")).startswith("The walkie-talkie is off")
        await floor_of(ann, room, None)


def is_permit(event: Received, of: Person) -> bool:
    """Tell whether it is the permit that the bot has given a member."""
    return (event.type, event.event.get("state_key")) == ("org.aircheck.walkie.permit", f"_{of.user_id}")


def buttons(someone: Person, panel: Received) -> set[str]:
    relations = [event.content.get("m.relates_to", {}) for event in someone.received if event.type == "m.reaction"]
    return {relation["key"] for relation in relations if relation.get("event_id") == panel.event_id}


async def test_the_bot_makes_a_room_in_which_it_limits_everybody(world: Worlds, person: People) -> None:
    """`walkie create` invites asker and users to an encrypted room; they read the panel, which is older than their
    joining, and only who has the floor can write."""
    bot, ann, ben = await world(), await person("ann"), await person("ben")
    async with bot.running() as aircheck:
        chat = await open_chat(ann, bot)
        answer = await ask(ann, bot, chat, f"walkie create Night shift {ben.user_id}")
        assert answer == "I am making the room Night shift, and invite you and 1 other."
        room = await ben.wait_for_invite(bot.user_id)
        assert await ann.wait_for_invite(bot.user_id) == room
        await until(aircheck.store, lambda: posted(aircheck.store, room))
        for member in (ann, ben):
            await member.join(room)
        panel = await panel_of(ben, bot, room)
        assert (await ben.state(room, "m.room.name"))["name"] == "Night shift"
        levels = await ben.state(room, LEVELS)
        assert (levels["events"]["m.room.encrypted"], levels["users_default"]) == (10, 0)
        assert (levels["events"]["io.element.voice_broadcast_info"], levels["state_default"]) == (10, 50)
        assert {user for user, level in levels["users"].items() if level >= 10} <= {bot.user_id}
        assert await ben.wait_for(lambda event: event.room_id == room and "I record" in event.body)
        for key in ("✅", "🎙️"):
            await ben.react(room, panel.event_id, key)
        await floor_of(ben, room, ben)
        assert (await may_write(ann, room), await may_write(ben, room)) == (False, True)


async def posted(store: Store, room: str) -> EventId | None:
    """Return the panel of a room once it is there."""
    async with store.read() as db:
        walkie = await walkies.get(db, RoomId(room))
    return walkie.panel if walkie is not None else None
