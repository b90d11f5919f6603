"""Consent where several members speak in one recording: it goes on without one who objects."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot import orders
from bot.intake import consent
from bot.intake.consent import Refused
from bot.matrix.media import FetchedMedia
from bot.recording.model import SlicesKept
from storage import archive, journal, optouts, rooms
from storage.records import (
    EVERYWHERE,
    CallProtocol,
    Chunk,
    ChunkState,
    EndedBy,
    EventId,
    HeardEvent,
    MediaSource,
    MxcUri,
    OptOut,
    Position,
    Recording,
    RecordingState,
    Samples,
    UserId,
)
from tests.factories import NOW
from tests.recording.call.world import slice_of
from tests.world import ALICE, ROOM, World, heard, media_of, world_of

BOB, CAROL = UserId("@bob:hs"), UserId("@carol:hs")
NOT_WANTED = (ChunkState.REFUSED, "not_wanted")
KEPT = (ChunkState.STORED, None)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Provide a room in which voice messages are recorded."""
    async with world_of(tmp_path / "data") as world:
        await world.join()
        async with world.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, messages_since=Position(0)))
        yield world


def message(event_id: str, sender: UserId) -> HeardEvent:
    content = {"msgtype": "m.audio", "url": f"mxc://hs/{event_id[1:]}", "org.matrix.msc3245.voice": {}}
    return heard(event_id, "m.room.message", content, sender=sender, origin_server_ts=round(NOW.timestamp() * 1000))


async def opts(world: World, user: UserId, *, out: bool = True) -> tuple[Refused, ...]:
    """Let a member say `optout` or `optin` now, everywhere."""
    at = await _place(world)
    async with world.store.write() as db:
        await optouts.add(db, OptOut(user, EVERYWHERE, at, out, world.clock()))
        if not out:
            return ()
        objection = orders.CloseRefused(EventId(f"$out{at}"), at, user)
        return await consent.close_refused(db, world.recorder.apply, objection, world.clock())


async def _place(world: World) -> Position:
    async with world.store.write() as db:
        said = HeardEvent(ROOM, EventId(f"$word{await journal.position(db)}"), {})
        at = await journal.add(db, said, world.clock(), keep=False)
    assert at is not None
    return at


async def chooses(world: World, *users: UserId) -> tuple[Refused, ...]:
    """Let a moderator say `speakers` now."""
    at = await _place(world)
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, speakers=users))
        objection = orders.CloseRefused(EventId(f"$speakers{at}"), at, room_ids=(ROOM,))
        return await consent.close_refused(db, world.recorder.apply, objection, world.clock())


async def session(world: World) -> Recording:
    """Return the newest recording of the room."""
    async with world.store.read() as db:
        return (await archive.recordings(db, ROOM))[0]


async def chunks(world: World) -> dict[str, tuple[ChunkState, str | None]]:
    async with world.store.read() as db:
        found: tuple[Chunk, ...] = await archive.chunks(db, (await session(world)).id)
    return {str(chunk.event_id): (chunk.state, chunk.reason) for chunk in found}


async def test_a_session_goes_on_without_one_who_opts_out(world: World) -> None:
    """Their messages so far stay, what was not fetched is given up, and later ones are as if they had not been said."""
    await world.hear(message("$a1", ALICE), message("$b1", BOB))
    await world.work()
    await world.hear(message("$a2", ALICE), message("$b2", BOB))
    (refused,) = await opts(world, BOB)
    assert not refused.closed
    await world.hear(message("$b3", BOB), message("$a3", ALICE))
    await world.work()
    assert await chunks(world) == {"$a1": KEPT, "$b1": KEPT, "$a2": KEPT, "$b2": NOT_WANTED, "$a3": KEPT}
    assert (await session(world)).state is RecordingState.LIVE
    async with world.store.read() as db:
        assert await journal.position_of(db, EventId("$b3")) is None


async def test_a_session_of_one_who_opts_out_is_closed(world: World) -> None:
    """Nobody else takes part in it, not even somebody who opted out before."""
    await world.hear(message("$a1", ALICE), message("$b1", BOB))
    await opts(world, BOB)
    (refused,) = await opts(world, ALICE)
    assert refused.closed
    assert (await session(world)).ended_by is EndedBy.SWITCHED_OFF
    await world.hear(message("$c1", CAROL))
    assert (await session(world)).broadcaster == CAROL


async def test_what_was_said_behind_the_command_and_fetched_before_it_was_carried_out_is_removed(world: World) -> None:
    """The command counts from its place in the timeline, for its sender alone."""
    await world.hear(message("$a1", ALICE), message("$b1", BOB))
    at = await _place(world)
    await world.hear(message("$a2", ALICE), message("$b2", BOB))
    await world.work()
    async with world.store.write() as db:
        await optouts.add(db, OptOut(BOB, EVERYWHERE, at, True, world.clock()))
        objection = orders.CloseRefused(EventId("$out"), at, BOB)
        await consent.close_refused(db, world.recorder.apply, objection, world.clock())
    await world.work()
    assert await chunks(world) == {"$a1": KEPT, "$b1": KEPT, "$a2": KEPT, "$b2": NOT_WANTED}
    assert hashlib.sha256(media_of(MediaSource(MxcUri("mxc://hs/b2")))).hexdigest() not in world.files()


async def test_a_job_asks_for_the_sender_before_it_fetches(world: World) -> None:
    """A message of somebody who objected meanwhile is not fetched; those of the others are."""
    await world.hear(message("$a1", ALICE), message("$b1", BOB))
    at = await _place(world)
    async with world.store.write() as db:
        await optouts.add(db, OptOut(BOB, EVERYWHERE, at, True, world.clock()))
    fetched, normal = [], world.download

    async def watched(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        fetched.append(source.mxc)
        return await normal(source, part, max_bytes)

    world.download = watched
    await world.work_on()
    assert fetched == ["mxc://hs/a1"]
    assert await chunks(world) == {"$a1": KEPT, "$b1": NOT_WANTED}


async def test_who_opts_in_again_goes_on_in_the_same_session(world: World) -> None:
    """Each message counts by itself: one of after the `optin` is recorded, one of before is not."""
    await world.hear(message("$a1", ALICE), message("$b1", BOB))
    await opts(world, BOB)
    await world.hear(message("$b2", BOB))
    await opts(world, BOB, out=False)
    await world.hear(message("$b3", BOB))
    await world.work()
    assert await chunks(world) == {"$a1": KEPT, "$b1": NOT_WANTED, "$b3": KEPT}


async def test_members_whom_a_moderator_does_not_choose_are_left_out(world: World) -> None:
    """A session goes on with those who were chosen, and is closed where none was."""
    await world.hear(message("$a1", ALICE), message("$b1", BOB), message("$c1", CAROL))
    (refused,) = await chooses(world, ALICE)
    assert not refused.closed
    await world.hear(message("$b2", BOB), message("$a2", ALICE))
    await world.work()
    assert await chunks(world) == {"$a1": KEPT, "$b1": NOT_WANTED, "$c1": NOT_WANTED, "$a2": KEPT}
    (refused,) = await chooses(world, CAROL)
    assert refused.closed
    assert (await session(world)).ended_by is EndedBy.SWITCHED_OFF


async def test_a_session_that_has_ended_waits_no_more_for_one_who_opts_out(world: World) -> None:
    """The others' messages are still waited for; somebody who is not in it changes nothing."""
    await world.hear(message("$a1", ALICE), message("$b1", BOB))
    async with world.store.write() as db:
        ended = replace(await session(world), state=RecordingState.INCOMPLETE, ended_by=EndedBy.GAP)
        await archive.save_recording(db, ended)
    assert await opts(world, CAROL) == ()
    await opts(world, BOB)
    assert await chunks(world) == {"$a1": (ChunkState.WAITING_FOR_MEDIA, None), "$b1": NOT_WANTED}


# ---- calls


async def call_of(world: World, *users: UserId) -> Recording:
    """Record a call of these members; each has a stem with a slice."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, calls_on=True))
        begun = await world.recorder.calling.begin(
            db, ROOM, CallProtocol.MSC3401, "call", events=[EventId("$call")], broadcaster=ALICE
        )
        assert begun is not None
        for number, user in enumerate(users, start=1):
            await world.recorder.calling.open_stem(db, begun.id, user, "DEV", Samples(0))
            await world.recorder.apply(
                db, begun.id, SlicesKept((replace(slice_of(number, 0, user), recording_id=begun.id),))
            )
    return await session(world)


async def test_a_call_goes_on_without_its_only_member(world: World) -> None:
    """Others may come, and the bot leaves by itself when nobody does. Whoever began the call need not be in it."""
    await call_of(world, BOB)
    (refused,) = await opts(world, BOB)
    call = await session(world)
    assert (refused.closed, call.state) == (False, RecordingState.LIVE)
    assert [stem.cut_at is not None for stem in call.stems] == [True]
    assert await opts(world, ALICE) == ()


async def test_a_member_whose_first_slice_is_not_kept_yet_is_silenced(world: World) -> None:
    """Their stem counts from its beginning on."""
    call = await call_of(world, BOB)
    async with world.store.write() as db:
        await world.recorder.calling.open_stem(db, call.id, CAROL, "DEV", Samples(0))
    (refused,) = await opts(world, CAROL)
    assert refused.recording.id == call.id
    assert [stem.cut_at is not None for stem in (await session(world)).stems] == [False, True]


async def test_a_choice_of_speakers_silences_all_others_in_a_call(world: World) -> None:
    """The call goes on, though nobody in it is chosen."""
    await call_of(world, BOB, CAROL)
    await chooses(world, ALICE)
    call = await session(world)
    assert (call.state, [stem.cut_at is not None for stem in call.stems]) == (RecordingState.LIVE, [True, True])
