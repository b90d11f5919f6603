"""`forget me`: recordings of a member alone are deleted, their part of others is taken out, and it is said how many."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest

from bot import orders
from bot.commands.replies import forget as replies
from bot.feeds.titles import episode_title
from bot.intake import forgotten
from storage import archive, changes, heirs, listener_uses, rooms, sealed_messages, withheld_keys
from storage.records import (
    BlobKey,
    Chunk,
    ChunkFacts,
    ChunkState,
    Container,
    EventId,
    HeardEvent,
    ListenerUse,
    Position,
    Recording,
    RecordingKind,
    RecordingState,
    RoomId,
    Samples,
    SessionId,
    Timing,
    UserId,
    Withheld,
)
from tests.commands.world import BOT, MEMBER, MOD, ROOM, SPEAKER, World
from tests.factories import a_room

CHAT, OTHER = RoomId("!chat:hs"), RoomId("!other:hs")
FORGET = "!aircheck forget me"


async def with_chat(world: World) -> None:
    async with world.store.write() as db:
        await rooms.save_room(db, a_room(CHAT, at=world.clock(), recording_on=False, direct=True))
    for user in (BOT, SPEAKER):
        await world.member(user, room_id=CHAT)


async def states(world: World, *recordings: Recording) -> list[bool]:
    """Return which of the recordings are deleted."""
    return [(await world.look(recording)).state is RecordingState.DELETED for recording in recordings]


async def test_in_a_room_what_is_theirs_there_is_deleted(world: World) -> None:
    """Also of the room that it replaced; nothing of other members, and nothing in other rooms."""
    old = RoomId("!old:hs")
    await world.open(room_id=old)
    await world.open(room_id=OTHER)
    async with world.store.write() as db:
        assert await heirs.inherit(db, old, ROOM)
    theirs = [await world.recording(), await world.recording(room_id=old), await world.recording(length_ms=None)]
    others = [await world.recording(room_id=OTHER), await world.recording(broadcaster=MEMBER)]
    question = await world.say(SPEAKER, FORGET) or ""
    assert "3 recordings in which you alone speak" in question
    assert await states(world, *theirs) == [False] * 3
    answer = await world.say(SPEAKER, "!aircheck yes") or ""
    assert "3 recordings of you are deleted." in answer
    assert "`!aircheck optout`" in answer
    assert await states(world, *theirs, *others) == [True] * 3 + [False] * 2
    assert await world.say(SPEAKER, FORGET) == replies.nothing(everywhere=False)


async def test_in_a_direct_chat_it_is_deleted_everywhere(world: World) -> None:
    """The rooms are told how many, without a name."""
    await with_chat(world)
    await world.open(room_id=OTHER)
    theirs = [await world.recording(), await world.recording(room_id=OTHER), await world.recording(room_id=OTHER)]
    assert "in all rooms" in (await world.say(SPEAKER, FORGET, room_id=CHAT) or "")
    await world.handle(world.command(SPEAKER, "!aircheck yes", room_id=CHAT))
    said = {notice.room_id: notice.body for notice in map(orders.Notice.of, await world.take(orders.Notice.kind))}
    assert "3 recordings of you are deleted." in said[CHAT]
    assert "1 recording of this room" in said[ROOM]
    assert "2 recordings of this room" in said[OTHER]
    assert not any(word in said[ROOM] for word in ("Mira", SPEAKER))
    assert await states(world, *theirs) == [True] * 3


async def test_their_part_of_a_recording_with_others_is_taken_out(world: World) -> None:
    """Its chunks are redacted, without sound, source or name; those of the others stay."""
    shared = await world.recording()
    blobs = {SPEAKER: BlobKey("a" * 64), MEMBER: BlobKey("b" * 64)}
    other = BlobKey("c" * 64)
    for user in (SPEAKER, MEMBER, SPEAKER):
        await world.chunk(shared, ChunkState.STORED, sender=user, blob=blobs[user], bytes=9)
    await world.chunk(shared, ChunkState.STORED, sender=SPEAKER, blob=other, bytes=9)
    await world.chunk(shared, ChunkState.WAITING_FOR_KEY, sender=SPEAKER, session_id=SessionId("s"))
    answer = await world.confirmed(SPEAKER, FORGET)
    assert "0 recordings of you are deleted. Your part of 1 recording with other speakers is taken out." in answer
    async with world.store.read() as db:
        chunks = await archive.chunks(db, shared.id)
    assert {chunk.state for chunk in of(chunks, SPEAKER)} == {ChunkState.REDACTED}
    assert not any(chunk.blob or chunk.source or chunk.session_id for chunk in of(chunks, SPEAKER))
    assert [(chunk.state, chunk.blob) for chunk in of(chunks, MEMBER)] == [(ChunkState.STORED, blobs[MEMBER])]
    assert (await world.look(shared)).broadcaster_name is None
    removed = [set(orders.Forget.of(job).blobs) for job in await world.take(orders.Forget.kind)]
    assert {blobs[SPEAKER], other} in removed
    assert not any(blobs[MEMBER] in these for these in removed)
    assert await world.say(SPEAKER, FORGET) == replies.nothing(everywhere=False)


async def test_a_session_goes_on_under_the_next_speakers_name(world: World) -> None:
    """The first speaker's name leaves the session, its title and what was refused of them; the next one is its
    broadcaster."""
    shared = await world.recording(kind=RecordingKind.VOICE_MESSAGES, state=RecordingState.LIVE, length_ms=None)
    await world.chunk(shared, ChunkState.STORED, sender=SPEAKER, sender_name="Mira", facts=one_second())
    await world.chunk(shared, ChunkState.REFUSED, sender=SPEAKER, sender_name="Mira", reason="out_of_turn")
    await world.chunk(shared, ChunkState.STORED, sender=MEMBER, sender_name="Mem", facts=one_second())
    await world.confirmed(SPEAKER, FORGET)
    after = await world.look(shared)
    assert (after.broadcaster, after.broadcaster_name) == (MEMBER, "Mem")
    assert [credit.name for credit in after.speakers] == ["Mem"]
    assert episode_title(after, ZoneInfo("UTC")).startswith("Mem, ")
    async with world.store.read() as db:
        assert not any(chunk.sender_name for chunk in of(await archive.chunks(db, shared.id), SPEAKER))
    assert await world.say(SPEAKER, FORGET) == replies.nothing(everywhere=False)


async def test_a_session_that_holds_nothing_of_others_any_more_is_deleted(world: World) -> None:
    """Members whose messages were taken out, or never recorded, are no other speakers."""
    alone = await world.recording(kind=RecordingKind.VOICE_MESSAGES)
    await world.chunk(alone, ChunkState.STORED, sender=SPEAKER)
    await world.chunk(alone, ChunkState.REDACTED, sender=MEMBER)
    await world.chunk(alone, ChunkState.REFUSED, sender=MEMBER, reason="not_wanted")
    await world.confirmed(SPEAKER, FORGET)
    assert await states(world, alone) == [True]


def one_second() -> ChunkFacts:
    return ChunkFacts(Container.WAV, Timing.EXACT, Samples(48_000), 48_000, 1)


def of(chunks: Sequence[Chunk], user: UserId) -> list[Chunk]:
    return [chunk for chunk in chunks if chunk.sender == user]


async def test_what_is_kept_of_a_member_beside_recordings_goes_too(world: World) -> None:
    """When and by which app they listened, and what their client said of its keys."""
    await with_chat(world)
    now = world.clock()
    async with world.store.write() as db:
        await listener_uses.save(db, [ListenerUse(room, SPEAKER, now, "app") for room in (ROOM, OTHER)])
        await withheld_keys.note(db, [Withheld(SessionId("s"), SPEAKER, "m.unverified")], now)
    await world.recording()
    await world.confirmed(SPEAKER, FORGET)
    assert await uses(world) == [None, OTHER]
    await world.recording()
    await world.say(SPEAKER, FORGET, room_id=CHAT)
    await world.handle(world.command(SPEAKER, "!aircheck yes", room_id=CHAT))
    assert await uses(world) == [None, None]


async def test_messages_that_wait_for_their_key_go_also_where_nothing_is_recorded(world: World) -> None:
    """No recording begins with them later; those of others stay."""
    now = world.clock()
    async with world.store.write() as db:
        for name, sender in (("$1", SPEAKER), ("$2", MEMBER)):
            waiting = HeardEvent(ROOM, EventId(name), {}, position=Position(1))
            await sealed_messages.note(db, waiting, sender, now)
    assert await world.say(SPEAKER, FORGET) == replies.nothing(everywhere=False)
    async with world.store.read() as db:
        senders = [await sealed_messages.sender_of(db, ROOM, EventId(name)) for name in ("$1", "$2")]
    assert senders == [None, MEMBER]


async def uses(world: World) -> list[RoomId | None]:
    async with world.store.read() as db:
        found = [await listener_uses.used(db, room, SPEAKER) for room in (ROOM, OTHER)]
    return [use.room_id if use else None for use in found]


async def test_the_log_of_changes_knows_how_many(world: World) -> None:
    """No names of recordings."""
    await world.recording(title="Soup")
    await world.confirmed(SPEAKER, FORGET)
    async with world.store.read() as db:
        (change,) = await changes.of_rooms(db, [ROOM])
    assert (change.by, change.what, change.subject, change.before, change.after) == (SPEAKER, "forget", None, None, "1")


async def test_forget_alone_is_not_understood(world: World) -> None:
    """Nobody deletes others by it."""
    await world.recording()
    for words in ("forget", "forget @speaker:hs", "forget me please"):
        assert "forget me" in (await world.say(MOD, f"!aircheck {words}") or "")
    assert await world.question(MOD) is None


async def test_many_recordings_go_some_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report comes when all are gone; none that began later is among them."""
    monkeypatch.setattr(forgotten, "AT_ONCE", 1)
    theirs = [await world.recording() for _ in range(3)]
    assert await world.confirmed(SPEAKER, FORGET) == "I am deleting 3 recordings, and report when they are gone."
    later = await world.recording()
    (job,) = await world.take(orders.ForgetMember.kind)
    rest = orders.ForgetMember.of(job)
    assert set(rest.alone) == {recording.id for recording in theirs[1:]}
    assert rest.report.startswith("3 recordings of you are deleted.")
    assert await states(world, *theirs, later) == [True, False, False, False]


async def test_of_recordings_with_others_fewer_are_changed_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may have thousands of messages to change, in one transaction."""
    monkeypatch.setattr(forgotten, "SHARED_AT_ONCE", 1)
    shared = [await world.recording(kind=RecordingKind.VOICE_MESSAGES, state=RecordingState.LIVE) for _ in range(2)]
    for each in shared:
        for user in (SPEAKER, MEMBER):
            await world.chunk(each, ChunkState.STORED, sender=user, facts=one_second())
    await world.confirmed(SPEAKER, FORGET)
    (job,) = await world.take(orders.ForgetMember.kind)
    assert orders.ForgetMember.of(job).shared == (shared[1].id,)


async def test_in_a_direct_chat_with_others_nothing_of_other_rooms_is_deleted(world: World) -> None:
    """Once somebody else is there, `forget me` is about that room, and counts no recordings of others."""
    await with_chat(world)
    await world.member(MEMBER, room_id=CHAT)
    recording = await world.recording()
    assert await world.say(SPEAKER, FORGET, room_id=CHAT) == replies.nothing(everywhere=False)
    assert await states(world, recording) == [False]
