"""Commands in a room that was upgraded, and in the one that replaced it."""

from dataclasses import replace

import pytest

from bot import orders
from bot.commands.replies import feed as feed_replies
from bot.feeds.addresses import look_up_hash, token_for
from bot.intake import consent
from bot.intake.succession import settle
from bot.words import CONTINUES_ELSEWHERE
from storage import heirs, rooms
from storage.records import (
    BlobKey,
    EndedBy,
    Listener,
    Position,
    RecordingState,
    RoomId,
    StateEvent,
    UserId,
    Visibility,
)
from tests.commands.test_places import CHAT, open_chat
from tests.commands.world import ADMIN, BANNED, BASE, BOT, CREATOR, MEMBER, MOD, ROOM, SECRET, SPEAKER, World

NEW = RoomId("!new:hs")


async def replaced(world: World, creator: UserId = CREATOR) -> None:
    """A second room with the same people; each of the two names the other."""
    await world.open(room_id=NEW, recording_on=False)
    content = {"room_version": "12", "predecessor": {"room_id": ROOM, "event_id": "$tombstone"}}
    async with world.store.write() as db:
        await rooms.save_state(db, StateEvent(NEW, "m.room.create", "", creator, content, Position(1)))
    await entomb(world, NEW)


async def entomb(world: World, replacement: str | None, room_id: RoomId = ROOM) -> None:
    """The tombstone by which the room's moderator names its replacement."""
    content = {} if replacement is None else {"replacement_room": replacement}
    async with world.store.write() as db:
        await rooms.save_state(db, StateEvent(room_id, "m.room.tombstone", "", MOD, content, Position(2)))


async def inherited(world: World) -> None:
    await replaced(world)
    await world.say(MOD, "!aircheck record on", room_id=NEW)
    assert await line(world) == (ROOM, NEW)


async def line(world: World) -> tuple[RoomId, ...]:
    async with world.store.read() as db:
        return await heirs.line(db, ROOM)


async def listeners(world: World) -> list[Listener | None]:
    async with world.store.read() as db:
        return [await rooms.listener(db, room_id, MEMBER) for room_id in (ROOM, NEW)]


def listener(room_id: RoomId, generation: int) -> Listener:
    return Listener(room_id, MEMBER, generation, look_up_hash(token_for(SECRET, room_id, MEMBER, generation)))


@pytest.mark.parametrize("on", [True, False], ids=["recorded before", "silent before"])
async def test_record_on_by_a_mod_of_both_makes_an_heir(world: World, on: bool) -> None:
    """`record on` by a moderator of both rooms makes the new one the heir, whoever invited the bot."""
    await replaced(world)
    async with world.store.write() as db:
        room = await rooms.room(db, NEW)
        assert room is not None
        await rooms.save_room(db, replace(room, recording_on=on, cover=BlobKey("cd" * 32)))
        old = await rooms.room(db, ROOM)
        assert old is not None
        await rooms.save_room(db, replace(old, cover=BlobKey("ab" * 32)))
    answer = await world.say(MOD, "!aircheck record on", room_id=NEW)
    assert answer is not None
    assert "continues the podcast" in answer
    assert "members of this room only" in answer
    assert await line(world) == (ROOM, NEW)
    assert (await world.room(NEW)).recording_on
    assert not (await world.room()).recording_on
    assert (await world.room(NEW)).cover == BlobKey("ab" * 32)
    assert [job.payload["blobs"] for job in await world.take(orders.Forget.kind)] == [["cd" * 32]]


@pytest.mark.parametrize("who", [MEMBER, BANNED, ADMIN])
async def test_nobody_else_lets_the_podcast_in(world: World, who: UserId) -> None:
    """Neither a member, nor a former moderator of the old room, nor an administrator makes an heir."""
    await replaced(world)
    await world.member(BANNED, room_id=NEW)
    answer = await world.say(who, "!aircheck record on", room_id=NEW)
    assert "continues" not in (answer or "")
    assert await line(world) == (ROOM,)


async def test_until_then_the_new_room_has_nothing_of_the_old_one(world: World) -> None:
    """Before it is the heir, no command in the new room shows the old one's recordings or addresses."""
    recording = await world.recording()
    await replaced(world)
    assert recording.code not in (await world.say(MEMBER, "!aircheck list", room_id=NEW) or "")
    assert recording.code in (await world.say(MEMBER, "!aircheck list") or "")
    await world.say(MEMBER, "!aircheck feed", room_id=NEW)
    assert await listeners(world) == [None, listener(NEW, 1)]


async def test_an_opt_out_is_kept_where_a_claimed_one_holds_too(world: World) -> None:
    """An `optout` in a room that claims to replace another outlasts an `optin` in that one."""
    await replaced(world)
    await world.say(MEMBER, "!aircheck optout")
    assert "anyway" not in (await world.say(MEMBER, "!aircheck optout", room_id=NEW) or "")
    await world.say(MEMBER, "!aircheck optin")
    async with world.store.read() as db:
        allowed = [await consent.may_record(db, room_id, MEMBER) for room_id in (ROOM, NEW)]
    assert allowed == [True, False]


async def test_commands_of_the_heir_are_about_the_whole_podcast(world: World) -> None:
    """In the heir, `list`, `status` and names of recordings cover both rooms, newest first."""
    old = await world.recording()
    await inherited(world)
    world.clock.pass_by(60)
    new = await world.recording(room_id=NEW, number=0)
    listed = await world.say(MEMBER, "!aircheck list", room_id=NEW)
    assert listed is not None
    assert [one.split(" ")[0] for one in listed.splitlines()] == [new.code, old.code]
    running = await world.recording(state=RecordingState.LIVE, length_ms=None)
    assert running.code in (await world.say(MEMBER, "!aircheck status", room_id=NEW) or "")
    await world.say(MOD, "!aircheck publish public", room_id=NEW)
    told = await world.say(SPEAKER, f"!aircheck publish {old.code}", room_id=NEW)
    assert f"{BASE}/r/{(await world.room()).key}/{old.code}" in (told or "")
    assert (await world.look(old)).public
    await world.say(MOD, "!aircheck record off", room_id=NEW)
    assert (await world.look(running)).ended_by is EndedBy.SWITCHED_OFF


async def test_the_old_room_takes_commands_no_more(world: World) -> None:
    """Commands that change or tell something of the podcast do nothing there."""
    recording = await world.recording()
    await inherited(world)
    before = await world.room()
    code = recording.code
    for words in ("record on", "publish public", "list", "status", "feed", f"unpublish {code}", f"delete {code}"):
        assert await world.say(MOD, f"!aircheck {words}") == CONTINUES_ELSEWHERE
    assert "!aircheck publish" in (await world.say(MOD, "!aircheck help") or "")
    assert await world.room() == before
    assert await world.take(orders.Direct.kind) == ()


async def test_the_heir_names_who_decided_in_the_old_room(world: World) -> None:
    """`settings` and `record` tell the new room's decisions first, then the old one's, which it took over; never the
    upgrade itself."""
    await world.say(CREATOR, "!aircheck record off")
    await world.say(CREATOR, "!aircheck record on")
    for words in ("retention 30 days", "review on", "announce off"):
        await world.say(CREATOR, f"!aircheck {words}")
    await replaced(world)
    async with world.store.write() as db:
        new = await rooms.room(db, NEW)
        assert new is not None
        await rooms.save_room(db, replace(new, recording_on=True, inviter=MOD))
        await settle(db, NEW, world.clock(), publishes=lambda _: True)
    assert await line(world) == (ROOM, NEW)
    await world.say(MOD, "!aircheck announce on", room_id=NEW)
    told = (await world.say(MEMBER, "!aircheck settings", room_id=NEW) or "").splitlines()
    by = {one.split("`")[1]: one.split(" · ")[1].split(",")[0] for one in told if "`" in one}
    assert [by[what] for what in ("record", "retention", "review", "announce")] == [CREATOR, CREATOR, CREATOR, MOD]
    assert CREATOR in (await world.say(MEMBER, "!aircheck record", room_id=NEW) or "")


async def test_the_old_rooms_speakers_can_still_remove_what_is_theirs(world: World) -> None:
    """The line that the direct message of an `optout` names works for whoever is in the old room alone; so does `forget
    me`."""
    live = await world.recording(state=RecordingState.LIVE, length_ms=None)
    older = await world.recording()
    await open_chat(world, SPEAKER)
    await inherited(world)
    await world.member(SPEAKER, "leave", room_id=NEW)
    await world.say(SPEAKER, "!aircheck optout")
    (direct,) = await world.take(orders.Direct.kind)
    lines = str(orders.Direct.of(direct).body).splitlines()
    (said,) = [line.split("`")[1] for line in lines if live.code in line]
    assert "`!aircheck yes`" in (await world.say(SPEAKER, said, room_id=CHAT) or "")
    await world.handle(world.command(SPEAKER, "yes", room_id=CHAT))
    assert (await world.look(live)).state is RecordingState.DELETED
    await world.take(orders.Notice.kind)
    await world.say(SPEAKER, "!aircheck forget me")
    await world.handle(world.command(SPEAKER, "!aircheck yes"))
    assert (await world.look(older)).state is RecordingState.DELETED


@pytest.mark.parametrize("who", [MOD, ADMIN])
@pytest.mark.parametrize("named", [None, "!other:hs"], ids=["gone", "another room"])
async def test_record_on_ends_a_line_that_the_rooms_tombstone_does_not_name(
    world: World, who: UserId, named: str | None
) -> None:
    """`record on` in the old room separates the two podcasts once the tombstone no longer names the heir."""
    recording = await world.recording()
    names = (await world.room()).key, (await world.room()).podcast_guid
    await inherited(world)
    await entomb(world, named)
    assert await world.say(who, "!aircheck record off") == CONTINUES_ELSEWHERE
    assert "Recording is on" in (await world.say(who, "!aircheck record on") or "")
    assert await line(world) == (ROOM,)
    old, new = await world.room(), await world.room(NEW)
    assert ((old.key, old.podcast_guid), old.recording_on, old.visibility) == (names, True, Visibility.PRIVATE)
    assert new.recording_on
    assert recording.code in (await world.say(MEMBER, "!aircheck list") or "")
    assert recording.code not in (await world.say(MEMBER, "!aircheck list", room_id=NEW) or "")
    await world.say(MEMBER, "!aircheck feed")
    await world.say(MEMBER, "!aircheck feed", room_id=NEW)
    assert await listeners(world) == [listener(ROOM, 1), listener(NEW, 1)]


@pytest.mark.parametrize("who", [MEMBER, SPEAKER])
async def test_no_member_ends_a_line(world: World, who: UserId) -> None:
    """Only a moderator of the old room takes its podcast back."""
    await inherited(world)
    await entomb(world, None)
    assert await world.say(who, "!aircheck record on") == CONTINUES_ELSEWHERE
    assert await line(world) == (ROOM, NEW)


@pytest.mark.parametrize(("heirs_own", "expected"), [("public", Visibility.PUBLIC), ("private", Visibility.PRIVATE)])
async def test_a_podcast_that_is_taken_back_is_no_more_public_than_it_was(
    world: World, heirs_own: str, expected: Visibility
) -> None:
    """A podcast that is taken back stays private if the heir made it so, else is public for what begins from now on."""
    await world.say(MOD, "!aircheck publish public")
    await inherited(world)
    await world.say(MOD, f"!aircheck publish {heirs_own}", room_id=NEW)
    await entomb(world, None)
    await world.say(MOD, "!aircheck record on")
    assert (await world.room()).visibility is expected


async def test_record_on_before_the_tombstone_lets_the_podcast_in_too(world: World) -> None:
    """`record on` counts also when the old room's tombstone comes after it."""
    await replaced(world)
    await entomb(world, None)
    assert "continues" not in (await world.say(MOD, "!aircheck record on", room_id=NEW) or "")
    await entomb(world, NEW)
    async with world.store.write() as db:
        await settle(db, ROOM, world.clock(), publishes=lambda _: True)
    assert await line(world) == (ROOM, NEW)
    assert (await world.room(NEW)).recording_on


async def test_the_address_stays_what_it_was(world: World) -> None:
    """`feed` in the heir and in the direct chat gives the address that was given in the old room."""
    await world.recording()
    await world.say(MEMBER, "!aircheck feed")
    await world.take(orders.Direct.kind)
    await inherited(world)
    chat = RoomId("!chat:hs")
    await world.open(room_id=chat, members=(BOT, MEMBER), direct=True, recording_on=False)
    coming = {NEW: feed_replies.address_is_coming(renewed=False), chat: feed_replies.addresses_are_coming(1)}
    for where, answer in coming.items():
        assert await world.say(MEMBER, "!aircheck feed", room_id=where) == answer
        assert [job.payload["room_id"] for job in await world.take(orders.Direct.kind)] == [ROOM]
    assert await listeners(world) == [listener(ROOM, 1), None]


async def test_renewing_ends_every_address_of_the_podcast(world: World) -> None:
    """`feed renew` also ends the address that the new room had before it was the heir."""
    await world.say(MEMBER, "!aircheck feed")
    await replaced(world)
    await world.say(MEMBER, "!aircheck feed", room_id=NEW)
    await world.say(MOD, "!aircheck record on", room_id=NEW)
    assert await listeners(world) == [listener(ROOM, 1), listener(NEW, 1)]
    await world.say(MEMBER, "!aircheck feed renew", room_id=NEW)
    async with world.store.write() as db:  # the new one was said
        for room in (ROOM, NEW):
            await rooms.end_old_address(db, room, MEMBER, world.clock())
    assert await listeners(world) == [listener(ROOM, 2), listener(NEW, 2)]


async def test_a_public_podcast_is_told_of_under_its_old_address(world: World) -> None:
    """`feed` in the heir of a public podcast gives the address of the room that it began in."""
    await world.say(MOD, "!aircheck publish public")
    key = (await world.room()).key
    await replaced(world)
    answer = await world.say(MOD, "!aircheck record on", room_id=NEW)
    assert "it is public" in (answer or "")
    assert (await world.room(NEW)).visibility is Visibility.PUBLIC
    assert f"{BASE}/r/{key}/feed.xml" in (await world.say(MEMBER, "!aircheck feed", room_id=NEW) or "")
