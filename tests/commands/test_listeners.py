"""`listeners`: numbers for moderators, their own addresses for listeners."""

from datetime import timedelta

import pytest

from bot.commands.replies import general
from storage import listener_uses, rooms
from storage.records import Listener, ListenerUse, RoomId, UserId
from tests.commands.world import BOT, MEMBER, MOD, ROOM, SPEAKER, STRANGER, World

CHAT = RoomId("!chat:hs")


async def given(world: World, user: UserId, used_days_ago: float | None = None, app: str = "AntennaPod") -> None:
    """Give a user an address of the room's podcast, last used so long ago."""
    async with world.store.write() as db:
        await rooms.save_listener(db, Listener(ROOM, user, 1, f"hash of {user}"))
        if used_days_ago is not None:
            at = world.clock() - timedelta(days=used_days_ago)
            await listener_uses.save(db, [ListenerUse(ROOM, user, at, app)])


async def test_moderators_read_numbers_alone(world: World) -> None:
    """Addresses of those who are out don't count, nobody is named, and only moderators are told."""
    await world.open()
    await given(world, MEMBER, 1)
    await given(world, SPEAKER, 31)
    await given(world, MOD)
    await given(world, STRANGER, 0)
    said = await world.say(MOD, "!aircheck listeners")
    assert said == "3 members have a personal address; 1 address was used in the last 30 days."
    assert "Only a moderator" in str(await world.say(MEMBER, "!aircheck listeners"))


@pytest.mark.parametrize("recorded", [False, True])
async def test_a_listener_reads_when_and_by_which_app_in_the_direct_chat(world: World, *, recorded: bool) -> None:
    """In the direct chat, recorded or not, the asker's own addresses are listed, and nobody else's."""
    await world.open()
    await given(world, MEMBER, 1)
    await given(world, SPEAKER, 2, app="Spy")
    await world.open(room_id=CHAT, members=(BOT, MEMBER), direct=True, recording_on=recorded)
    said = str(await world.say(MEMBER, "!aircheck listeners", room_id=CHAT))
    assert "19 November 2026, 14:05 (UTC), AntennaPod" in said
    assert "Spy" not in said


@pytest.mark.parametrize("membership", ["join", "invite", "knock"])
async def test_with_a_third_member_nobody_reads_when_somebody_listens(world: World, membership: str) -> None:
    """A direct chat that holds somebody else, or soon may, is answered like any other room."""
    await given(world, MEMBER, 1)
    await world.open(room_id=CHAT, members=(BOT, MEMBER), direct=True, recording_on=False)
    await world.member(SPEAKER, membership, room_id=CHAT)
    assert await world.say(MEMBER, "!aircheck listeners", room_id=CHAT) == general.ONLY_MODS
