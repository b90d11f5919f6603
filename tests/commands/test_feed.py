"""`feed`, `feed renew`: who gets which address, and where it is said."""

import pytest

from bot import orders
from bot.commands import replies
from bot.feeds.addresses import look_up_hash, token_for
from storage import rooms
from storage.records import Listener, RoomId, Visibility
from tests.commands.stage import BASE, BOT, MEMBER, MOD, ROOM, SECRET, Stage

CHAT = RoomId("!chat:hs")
OTHER = RoomId("!other:hs")


async def listener(stage: Stage, room_id: RoomId = ROOM) -> Listener | None:
    async with stage.store.read() as db:
        return await rooms.listener(db, room_id, MEMBER)


async def sent(stage: Stage) -> list[tuple[str, dict[str, str]]]:
    return sorted((job.subject, dict(job.payload)) for job in await stage.take(orders.Direct.kind))


def expected(generation: int, room_id: RoomId = ROOM) -> Listener:
    return Listener(room_id, MEMBER, generation, look_up_hash(token_for(SECRET, room_id, MEMBER, generation)))


async def test_in_a_private_room_the_address_goes_to_the_direct_chat(stage: Stage) -> None:
    """The room reads that it comes, never the address; asked again it is the same one."""
    for _ in range(2):
        answer = await stage.say(MEMBER, "!aircheck feed")
        assert answer == replies.address_is_coming(renewed=False)
        assert "http" not in answer
        assert await sent(stage) == [(f"{MEMBER}|{ROOM}", {"user_id": MEMBER, "room_id": ROOM})]
        assert await listener(stage) == expected(1)


async def works(stage: Stage, generation: int) -> bool:
    async with stage.store.read() as db:
        return await rooms.listener_by_hash(db, expected(generation).token_sha256) is not None


async def test_renew_makes_a_new_address_and_keeps_the_old_one_until_it_is_said(stage: Stage) -> None:
    """Asked again before that it is the same new one; after it the generation rises each time, and the old token's
    hash is known no more."""
    await stage.say(MEMBER, "!aircheck feed")
    for generation in (2, 3):
        for command in ("feed renew", "feed renew", "feed"):
            answer = await stage.say(MEMBER, f"!aircheck {command}")
            assert answer == replies.address_is_coming(renewed=command != "feed")
        assert [await works(stage, one) for one in (generation - 1, generation, generation + 1)] == [True, True, False]
        async with stage.store.write() as db:
            await rooms.end_old_address(db, ROOM, MEMBER)
        assert await listener(stage) == expected(generation)
        assert not await works(stage, generation - 1)
    await stage.say(MEMBER, "!aircheck feed")
    assert await listener(stage) == expected(3)


async def test_an_address_made_with_another_secret_is_put_right(stage: Stage) -> None:
    """After a lost secret file, what is sent works again."""
    async with stage.store.write() as db:
        await rooms.save_listener(db, Listener(ROOM, MEMBER, 4, "of another secret"))
    await stage.say(MEMBER, "!aircheck feed")
    assert await listener(stage) == expected(4)


async def test_in_a_public_room_the_address_is_said_aloud(stage: Stage) -> None:
    """The public one, with no personal address made; `feed renew` is about the personal one all the same."""
    await stage.say(MOD, "!aircheck publish public")
    room = await stage.room()
    assert room.visibility is Visibility.PUBLIC
    assert f"{BASE}/r/{room.key}/feed.xml" in (await stage.say(MEMBER, "!aircheck feed") or "")
    assert await listener(stage) is None
    assert await sent(stage) == []
    await stage.say(MEMBER, "!aircheck feed renew")
    assert len(await sent(stage)) == 1


async def open_chat(stage: Stage, *, direct: bool = True) -> None:
    async with stage.store.write() as db:
        if not direct:
            await rooms.save_direct(db, MEMBER, CHAT, stage.clock())
    await stage.open(room_id=CHAT, direct=direct, recording_on=False)


@pytest.mark.parametrize("direct", [True, False], ids=["theirs", "the bot's"])
async def test_in_a_direct_chat_feed_means_the_rooms_that_we_share(stage: Stage, direct: bool) -> None:
    """Those that are recorded and that both are in; the chat itself is none of them."""
    await open_chat(stage, direct=direct)
    await stage.open(room_id=OTHER)
    await stage.open(room_id=RoomId("!left:hs"))
    await stage.member(MEMBER, "leave", room_id=RoomId("!left:hs"))
    await stage.open(room_id=RoomId("!without-bot:hs"), joined=False)
    await stage.open(room_id=RoomId("!silent:hs"), recording_on=False)
    answer = await stage.say(MEMBER, "!aircheck feed", room_id=CHAT)
    assert answer == replies.addresses_are_coming(2)
    assert [subject for subject, _ in await sent(stage)] == [f"{MEMBER}|{OTHER}", f"{MEMBER}|{ROOM}"]
    assert await listener(stage, OTHER) == expected(1, OTHER)
    assert await listener(stage, CHAT) is None


async def test_in_a_direct_chat_with_nothing_shared_it_says_so(bare: Stage) -> None:
    """A stranger's chat gives nothing away."""
    await open_chat(bare)
    assert await bare.say(MEMBER, "!aircheck feed", room_id=CHAT) == replies.NO_SHARED_ROOM
    assert await sent(bare) == []


async def test_renew_asks_for_the_room_in_a_direct_chat(stage: Stage) -> None:
    """Ending every address at once is nothing to do by mistake."""
    await open_chat(stage)
    await stage.say(MEMBER, "!aircheck feed")
    await sent(stage)
    answer = await stage.say(MEMBER, "!aircheck feed renew", room_id=CHAT)
    assert answer == replies.renew_in_the_room("!aircheck")
    assert await listener(stage) == expected(1)
    assert await sent(stage) == []


async def test_a_direct_chat_that_records_is_a_room_like_any_other(stage: Stage) -> None:
    """After `record on` its own podcast is meant."""
    await open_chat(stage)
    await stage.say(MOD, "!aircheck record on", room_id=CHAT)
    await stage.say(MEMBER, "!aircheck feed", room_id=CHAT)
    assert [subject for subject, _ in await sent(stage)] == [f"{MEMBER}|{CHAT}"]
    assert BOT not in repr(await listener(stage, CHAT))
