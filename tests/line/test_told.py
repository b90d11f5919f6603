"""A room where the bot may not speak, on a real homeserver: nothing is recorded before its notice."""

import pytest

from bot.demo.client_api import room_path
from bot.demo.people import Person
from bot.demo.slicing import speech
from storage import rooms
from storage.records import RecordingState, RoomId
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import go_live, look, recorded, until, whole_broadcast

SPEECH = speech(1)[:300]  # 6 s


async def level(person: Person, room: str, **changes: object) -> None:
    where = room_path(room, "state", "m.room.power_levels") + "/"
    await person.api.call("PUT", where, await person.api.call("GET", where) | changes)


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
async def test_a_muted_bot_records_once_its_notice_is_in_the_room(
    world: Worlds, person: People, *, encrypted: bool
) -> None:
    """A broadcast that began before the notice is not recorded; the next one is."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        room = await alice.create_room("The Quiet Room", encrypted=encrypted)
        await level(alice, room, events_default=50)
        await alice.invite(room, bot.user_id)

        async def waits() -> bool | None:
            async with aircheck.store.read() as db:
                known = await rooms.room(db, RoomId(room))
            return True if known is not None and known.waits else None

        await until(aircheck.store, waits)
        before = await go_live(alice, room)
        await before.speak(SPEECH)
        await level(alice, room, users={bot.user_id: 50})
        said = await alice.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        assert "From now on I record" in said.body
        await before.stop()
        after = await whole_broadcast(alice, room, SPEECH)
        await recorded(aircheck.store, after.broadcast_id, RecordingState.COMPLETE)
        assert await look(aircheck.store, before.broadcast_id) is None
