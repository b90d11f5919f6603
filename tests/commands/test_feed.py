"""`feed`, `feed renew`: who gets which address, and where it is sent."""

from dataclasses import replace
from typing import Any

import pytest

from bot import orders
from bot.commands.replies import feed as replies
from bot.commands.replies import general
from bot.feeds.addresses import look_up_hash, token_for
from storage import archive, ended_addresses, rooms
from storage.records import HistoryVisibility, Listener, Position, RoomId, Visibility
from tests.commands.world import BASE, BOT, MEMBER, MOD, ROOM, SECRET, SPEAKER, World

CHAT = RoomId("!chat:hs")
OTHER = RoomId("!other:hs")


async def listener(world: World, room_id: RoomId = ROOM) -> Listener | None:
    async with world.store.read() as db:
        return await rooms.listener(db, room_id, MEMBER)


async def sent(world: World) -> list[tuple[str, dict[str, str]]]:
    return sorted((job.subject, dict(job.payload)) for job in await world.take(orders.Direct.kind))


def expected(generation: int, room_id: RoomId = ROOM) -> Listener:
    return Listener(room_id, MEMBER, generation, look_up_hash(token_for(SECRET, room_id, MEMBER, generation)))


async def test_in_a_private_room_the_address_goes_to_the_direct_chat(world: World) -> None:
    """The room reads that the address comes, never the address itself, which stays the same."""
    for _ in range(2):
        answer = await world.say(MEMBER, "!aircheck feed")
        assert answer == replies.address_is_coming(renewed=False)
        assert "http" not in answer
        assert await sent(world) == [(f"{MEMBER}|{ROOM}", {"user_id": MEMBER, "room_id": ROOM})]
        assert await listener(world) == expected(1)


async def works(world: World, generation: int) -> bool:
    async with world.store.read() as db:
        return await rooms.listener_by_hash(db, expected(generation).token_sha256) is not None


async def has_ended(world: World, generation: int) -> bool:
    async with world.store.read() as db:
        return await ended_addresses.has(db, expected(generation).token_sha256)


async def test_renew_makes_a_new_address_and_keeps_the_old_one_until_it_is_said(world: World) -> None:
    """Renewed twice before it was sent, the new address is the same one; after that the old token is unknown."""
    await world.say(MEMBER, "!aircheck feed")
    for generation in (2, 3):
        for command in ("feed renew", "feed renew", "feed"):
            answer = await world.say(MEMBER, f"!aircheck {command}")
            assert answer == replies.address_is_coming(renewed=command != "feed")
        assert [await works(world, one) for one in (generation - 1, generation, generation + 1)] == [True, True, False]
        async with world.store.write() as db:
            await rooms.end_old_address(db, ROOM, MEMBER, world.clock())
        assert await listener(world) == expected(generation)
        assert [await has_ended(world, one) for one in (generation - 1, generation)] == [True, False]
        assert not await works(world, generation - 1)
    await world.say(MEMBER, "!aircheck feed")
    assert await listener(world) == expected(3)


async def test_an_address_made_with_another_secret_is_put_right(world: World) -> None:
    """After the secret file was lost, `feed` sends an address that works, and the one before is known to have ended."""
    async with world.store.write() as db:
        await rooms.save_listener(db, Listener(ROOM, MEMBER, 4, "of another secret"))
    await world.say(MEMBER, "!aircheck feed")
    assert await listener(world) == expected(4)
    async with world.store.read() as db:
        assert await ended_addresses.has(db, "of another secret")


async def test_in_a_public_room_the_address_is_said_aloud(world: World) -> None:
    """`feed` answers with the public address and makes no personal one; `feed renew` renews the personal one."""
    await world.say(MOD, "!aircheck publish public")
    room = await world.room()
    assert room.visibility is Visibility.PUBLIC
    assert f"{BASE}/r/{room.key}/feed.xml" in (await world.say(MEMBER, "!aircheck feed") or "")
    assert await listener(world) is None
    assert await sent(world) == []
    await world.say(MEMBER, "!aircheck feed renew")
    assert len(await sent(world)) == 1


async def private_episode(world: World, **fields: Any) -> None:
    """Make an episode of the speaker that the public feed does not list."""
    recording = await world.recording(public=False, **fields)
    async with world.store.write() as db:
        episode = await archive.episode(db, recording.id)
        assert episode is not None
        await archive.save_episode(db, replace(episode, published_at=world.clock()))


@pytest.mark.parametrize(
    ("fields", "sent_too"),
    [
        ({}, True),
        ({"history_visibility": HistoryVisibility.JOINED}, True),
        ({"history_visibility": HistoryVisibility.JOINED, "position": Position(0)}, False),
        ({"unreviewed": True}, False),
        ({"room_id": OTHER}, False),
    ],
    ids=["of before", "heard as a member", "from before the asker came", "waits for approval", "another room's"],
)
async def test_in_a_public_room_older_episodes_come_by_the_personal_address(
    world: World, fields: dict[str, Any], *, sent_too: bool
) -> None:
    """A member who may hear what the public feed lacks gets the personal address too, in the direct chat only."""
    await world.open(room_id=OTHER)
    await private_episode(world, **fields)
    await world.say(MOD, "!aircheck publish public")
    answer = await world.say(MEMBER, "!aircheck feed") or ""
    feed = f"{BASE}/r/{(await world.room()).key}/feed.xml"
    assert answer == replies.public_address(feed, more=sent_too)
    assert answer.count("http") == 1
    assert [subject for subject, _ in await sent(world)] == ([f"{MEMBER}|{ROOM}"] if sent_too else [])


async def open_chat(world: World, *, direct: bool = True, recorded: bool = False) -> None:
    async with world.store.write() as db:
        if not direct:
            await rooms.save_direct(db, MEMBER, CHAT, world.clock())
    await world.open(room_id=CHAT, members=(BOT, MEMBER), direct=direct, recording_on=recorded)


@pytest.mark.parametrize("direct", [True, False], ids=["theirs", "the bot's"])
async def test_in_a_direct_chat_feed_means_the_rooms_that_we_share(world: World, direct: bool) -> None:
    """In a direct chat `feed` sends the addresses of all recorded rooms that both are in."""
    await open_chat(world, direct=direct)
    await world.open(room_id=OTHER)
    await world.open(room_id=RoomId("!left:hs"))
    await world.member(MEMBER, "leave", room_id=RoomId("!left:hs"))
    await world.open(room_id=RoomId("!without-bot:hs"), joined=False)
    await world.open(room_id=RoomId("!silent:hs"), recording_on=False)
    answer = await world.say(MEMBER, "!aircheck feed", room_id=CHAT)
    assert answer == replies.addresses_are_coming(2)
    assert [subject for subject, _ in await sent(world)] == [f"{MEMBER}|{OTHER}", f"{MEMBER}|{ROOM}"]
    assert await listener(world, OTHER) == expected(1, OTHER)
    assert await listener(world, CHAT) is None


async def test_in_a_direct_chat_with_nothing_shared_it_says_so(bare: World) -> None:
    """A stranger learns nothing of rooms that they don't share with the bot."""
    await open_chat(bare)
    assert await bare.say(MEMBER, "!aircheck feed", room_id=CHAT) == general.NO_SHARED_ROOM
    assert await sent(bare) == []


async def test_with_a_third_member_feed_is_about_the_room_alone(world: World) -> None:
    """If others read along, they are not told how many rooms the asker shares with the bot."""
    await open_chat(world)
    await world.member(SPEAKER, room_id=CHAT)
    assert await world.say(MEMBER, "!aircheck feed", room_id=CHAT) == replies.address_is_coming(renewed=False)
    assert [subject for subject, _ in await sent(world)] == [f"{MEMBER}|{CHAT}"]


async def test_renew_asks_for_the_room_in_a_direct_chat(world: World) -> None:
    """`feed renew` in a direct chat ends no address by mistake."""
    await open_chat(world)
    await world.say(MEMBER, "!aircheck feed")
    await sent(world)
    answer = await world.say(MEMBER, "!aircheck feed renew", room_id=CHAT)
    assert answer == replies.renew_in_the_room("!aircheck")
    assert await listener(world) == expected(1)
    assert await sent(world) == []


async def test_a_direct_chat_that_records_is_a_room_like_any_other(world: World) -> None:
    """After `record on` in a direct chat, `feed` means the chat's own podcast."""
    await open_chat(world, recorded=True)
    await world.say(MEMBER, "!aircheck feed", room_id=CHAT)
    assert [subject for subject, _ in await sent(world)] == [f"{MEMBER}|{CHAT}"]
    assert BOT not in repr(await listener(world, CHAT))
