"""Replayed ciphertexts: a command is executed once, and only while it is new."""

from bot.app import Aircheck
from bot.demo.people import Person
from storage import rooms
from storage.records import RoomId
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import World, move_in, until

ENCRYPTED = "m.room.encrypted"
AWAY = "I was away, please repeat."


async def records(store: Store, room: str) -> bool:
    async with store.read() as db:
        found = await rooms.room(db, RoomId(room))
    assert found is not None
    return found.recording_on


async def answer_to(person: Person, bot: World, event_id: str) -> str:
    """Wait for the bot's reply to this event."""

    def is_reply(content: object) -> bool:
        relation = content.get("m.relates_to", {}) if isinstance(content, dict) else {}
        return bool(relation.get("m.in_reply_to", {}).get("event_id") == event_id)

    told = await person.wait_for(lambda event: event.sender == bot.user_id and is_reply(event.content))
    return told.body


async def show_again(person: Person, room: str, event_id: str) -> str:
    """Make a new event with the same ciphertext, as a homeserver can."""
    wrapper = await person.fetch_event(room, event_id)
    return await person.send(room, ENCRYPTED, wrapper["content"], encrypt=False)


async def test_an_old_command_is_not_carried_out_again_after_a_restart(world: Worlds, person: People) -> None:
    """A replayed command is not executed, also after restarts."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=True)
        off = await alice.say(room, "!aircheck record off")
        assert "Recording is off" in await answer_to(alice, bot, off)
        on = await alice.say(room, "!aircheck record on")
        assert "Recording is on" in await answer_to(alice, bot, on)
        assert await records(aircheck.store, room)
    async with bot.running() as aircheck:
        await show_again(alice, room, off)
        status = await alice.say(room, "!aircheck status")
        assert "Recording is on" in await answer_to(alice, bot, status)
        assert await records(aircheck.store, room)


async def test_a_command_of_an_exported_key_is_not_carried_out(world: Worlds, person: People) -> None:
    """A command under an exported key is not executed; one under the same key is, once its owner has sent it too."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=True)
        alice.keys.hold_back([bot.user_id])
        off = await alice.say(room, "!aircheck record off")
        file = bot.directory.parent / "keys.txt"
        await alice.export_keys(file, "open sesame")
        await until_heard(aircheck.store, alice, room)  # else the first one is opened, and answered
        await aircheck.session.keys.import_keys(file, "open sesame")
        shown = await show_again(alice, room, off)
        assert await answer_to(alice, bot, shown) == AWAY
        assert await records(aircheck.store, room)
    async with bot.running() as aircheck:  # what is known of a key outlives the process
        status = await alice.say(room, "!aircheck status")
        assert await answer_to(alice, bot, status) == AWAY
        await alice.keys.release(room)
        await until_proved(aircheck, room)
        off = await alice.say(room, "!aircheck record off")
        assert "Recording is off" in await answer_to(alice, bot, off)


async def until_heard(store: Store, person: Person, room: str) -> None:
    """Wait until the bot has heard everything that the room had until now."""
    topic = await person.send_state(room, "m.room.topic", {"topic": "What was said before this was heard"})

    async def check() -> bool | None:
        async with store.read() as db:
            known = await rooms.state(db, RoomId(room), "m.room.topic")
        return True if known is not None and known.event_id == topic else None

    await until(store, check)


async def until_proved(aircheck: Aircheck, room: str) -> None:
    """Wait until the owner has sent the bot the room's key."""

    async def check() -> bool | None:
        sessions = aircheck.session.keys.olm.inbound_group_store[room].values()
        return None if any(one.forwarding_chain for own in sessions for one in own.values()) else True

    await until(aircheck.store, check)
