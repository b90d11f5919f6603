"""Messages in direct chats, which need no prefix to be commands."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot import orders, words
from bot.intake.shares import AT_ONCE
from storage import rooms
from storage.records import HeardEvent, Position, StateEvent
from tests.world import ALICE, ROOM, World, batch, heard, room_state, world_of

BOB = "@bob:hs"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path / "data") as made:
        yield made


async def join(world: World, *, direct: bool = True) -> None:
    """Let the bot join a room with Alice."""
    await world.intake.take(batch(before=room_state()))
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, direct=direct))


def said(event_id: str, body: str, kind: str = "m.text") -> HeardEvent:
    return heard(event_id, "m.room.message", {"msgtype": kind, "body": body})


async def commands(world: World) -> list[str]:
    return [command.body for command in await world.ordered(orders.Command)]


async def hints(world: World) -> list[object]:
    return [job["room_id"] for job in await world.waiting(orders.Notice.kind) if job["body"] == words.CHAT_HINT]


async def test_a_direct_chat_needs_no_prefix(world: World) -> None:
    """With the bot alone, commands and what is nearly one are kept without a prefix."""
    await join(world)
    bodies = ("status", " Help ", "sttaus", "in Kitchen list", "walkie on", "recrod on", "!aircheck list")
    await world.hear(*(said(f"$c{number}", body) for number, body in enumerate(bodies)))
    assert await commands(world) == list(bodies)
    assert await hints(world) == []


async def test_what_is_no_command_gets_one_hint_and_is_not_kept(world: World) -> None:
    """Talk in a direct chat is not written down; the first of it is answered with a hint, and no more."""
    await join(world)
    await world.hear(said("$n", "Hello, I am a bot too", "m.notice"))
    await world.hear(replace(said("$past", "Hello"), history=True))
    assert await hints(world) == []
    await world.hear(said("$a", "Hello"), said("$b", "Nobody there?"))
    assert await hints(world) == [ROOM]
    await world.hear(said("$c", "So long"))
    assert await hints(world) == [ROOM]
    assert await commands(world) == []


@pytest.mark.parametrize("membership", ["join", "invite"])
async def test_with_a_third_member_it_is_no_direct_chat(world: World, membership: str) -> None:
    """Once somebody else is in the chat, or invited, only what begins with the prefix is kept."""
    await join(world)
    await world.hear(heard("$bob", "m.room.member", {"membership": membership}, state_key=BOB))
    await world.hear(said("$a", "status"), said("$b", "Hello"), said("$c", "!aircheck status"))
    assert await commands(world) == ["!aircheck status"]
    assert await hints(world) == []


async def test_a_room_of_two_that_is_no_direct_chat_needs_the_prefix(world: World) -> None:
    """A room in which only one member is left is no direct chat."""
    await join(world, direct=False)
    await world.hear(said("$a", "status"), said("$b", "Hello"))
    assert await commands(world) == []
    assert await hints(world) == []


async def test_a_flood_without_a_prefix_is_answered_up_to_a_share(world: World) -> None:
    """Commands and misspelt ones in a direct chat count against the share, and who exceeds it is told once."""
    await join(world)
    bodies = ("status", "sttaus", "dance", "walkie on")
    await world.hear(*(said(f"$c{number}", bodies[number % 4]) for number in range(200)))
    assert len(await commands(world)) == AT_ONCE
    told = [job for job in await world.waiting(orders.Notice.kind) if job["body"] == words.ASKED_TOO_MUCH]
    assert len(told) == 1


async def test_a_chat_that_the_bot_made_counts_too(world: World) -> None:
    """A chat that the bot opened for a user is one, whatever its invite said."""
    await join(world, direct=False)
    async with world.store.write() as db:
        await rooms.save_direct(db, ALICE, ROOM, world.clock())
    await world.hear(said("$a", "status"))
    assert await commands(world) == ["status"]


async def test_no_more_members_are_read_than_it_takes(world: World) -> None:
    """A room of many that somebody called a direct chat costs no more than any other."""
    await join(world)
    async with world.store.write() as db:
        for number, membership in enumerate(["leave", "ban", "invite", "knock", "join", "join"]):
            member = StateEvent(
                ROOM, "m.room.member", f"@m{number}:hs", ALICE, {"membership": membership}, Position(number)
            )
            await rooms.save_state(db, member)
        present = await rooms.present_members(db, ROOM, 9)
        assert len(await rooms.present_members(db, ROOM, 3)) == 3
    assert {member.content["membership"] for member in present} == {"join", "invite", "knock"}
