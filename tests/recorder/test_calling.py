"""The row of a call that the bot decides to join, and the stems that begin in it."""

from dataclasses import replace
from itertools import product

import pytest

from bot import orders
from bot.recording.model import Ended, SlicesKept, StemClosed, WentAway
from storage import archive, calls, jobs, optouts, rooms
from storage.records import (
    BlobKey,
    CallProtocol,
    ChunkId,
    EndedBy,
    EventId,
    HistoryVisibility,
    LeftBy,
    OptOut,
    Position,
    Recording,
    RecordingKind,
    RecordingState,
    Room,
    Samples,
    Stem,
    UserId,
    Visibility,
)
from tests.recorder.voices import BEN, joined
from tests.recording.call.world import closed, slice_of
from tests.world import ALICE, ROOM, Killed, World, heard

CALL, MEMBER, OWN = EventId("$call"), EventId("$member"), EventId("$own")


async def switch_on(world: World, **changes: object) -> None:
    """Switch the recording of calls on, and change other policies of the room."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, **({"calls_on": True} | changes)))  # type: ignore[arg-type]


async def begin(world: World, *events: EventId) -> Recording | None:
    async with world.store.write() as db:
        return await world.recorder.calling.begin(
            db, ROOM, CallProtocol.MSC3401, "a-call", events=events or (CALL, MEMBER, OWN), broadcaster=ALICE
        )


async def open_stem(world: World, user: UserId = BEN, device: str = "DEV") -> Stem | None:
    async with world.store.write() as db:
        (call,) = await calls.running(db, ROOM)
        return await world.recorder.calling.open_stem(db, call.id, user, device, Samples(480))


async def end(world: World, recording: Recording | None) -> None:
    assert recording is not None
    async with world.store.write() as db:
        await world.recorder.apply(db, recording.id, Ended(EndedBy.STOPPED))


async def of_room(world: World) -> Room:
    async with world.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    return room


async def test_a_call_is_recorded_from_now_on(world: World) -> None:
    """A recorded call is live under the id of its state event, and is looked at again after its longest time."""
    await switch_on(world)
    shared = heard("$vis", "m.room.history_visibility", {"history_visibility": "shared"}, state_key="")
    await world.hear(joined(ALICE, "Alice"), shared)
    call = await begin(world)
    assert call is not None
    async with world.store.read() as db:
        stored = await archive.recording(db, call.id)
        tick = await jobs.find(db, orders.Tick.about(call.id))
    assert stored == call
    assert (call.kind, call.state, call.event_id, call.protocol, call.call_id, call.chosen) == (
        RecordingKind.CALL, RecordingState.LIVE, CALL, CallProtocol.MSC3401, "a-call", False,
    )  # fmt: skip
    assert (call.broadcaster, call.broadcaster_name, call.started_at) == (ALICE, "Alice", world.clock())
    assert (call.history_visibility, call.public) == (HistoryVisibility.SHARED, False)
    assert tick is not None


async def test_a_call_that_is_recorded_is_not_begun_twice(world: World) -> None:
    """The same recording goes on, as after a crash."""
    await switch_on(world)
    first, second = await begin(world), await begin(world)
    assert first is not None
    assert second is not None
    assert first.id == second.id


async def test_a_later_recording_of_the_same_call_has_another_id(world: World) -> None:
    """A recording has the first id that no other has, deleted ones too; without one no call is recorded."""
    await switch_on(world)
    events: list[EventId | None] = []
    for _ in range(4):
        call = await begin(world)
        events.append(call.event_id if call else None)
        if call is not None:
            await end(world, call)
    assert events == [CALL, MEMBER, OWN, None]


@pytest.mark.parametrize("changes", [{"calls_on": False}, {"joined": False}], ids=str)
async def test_a_room_that_does_not_want_it_is_not_recorded(world: World, changes: dict[str, object]) -> None:
    """Nor is one that the bot is not in."""
    await switch_on(world, **changes)
    assert await begin(world) is None


async def test_record_call_is_for_one_call(world: World) -> None:
    """The wish is fulfilled when the recording begins."""
    await switch_on(world, calls_on=False, call_wanted=True)
    call = await begin(world)
    assert call is not None
    assert (call.chosen, (await of_room(world)).call_wanted) == (True, False)


async def test_what_begins_after_publish_is_public(world: World) -> None:
    """The place of a recording is that at which the bot decided to join, behind all that was heard before."""
    await switch_on(world)
    await world.hear(joined(BEN, "Ben"))
    await switch_on(world, visibility=Visibility.PUBLIC, public_since=Position(1))
    call = await begin(world)
    assert call is not None
    assert (call.public, call.position > 1) == (True, True)


async def test_a_room_with_review_is_reviewed(world: World) -> None:
    """The episode of the call waits for approval."""
    await switch_on(world, review=True)
    call = await begin(world)
    assert call is not None
    assert call.unreviewed


async def test_a_stem_has_the_name_of_its_speaker(world: World) -> None:
    """Its number, place and serial are its own; a device has one at a time."""
    await switch_on(world)
    await world.hear(joined(BEN, "Ben"))
    await begin(world)
    first, again, other = await open_stem(world), await open_stem(world), await open_stem(world, device="OTHER")
    assert first is not None
    assert other is not None
    assert again is None
    assert (first.number, first.name, first.joined, first.left) == (1, "Ben", 480, None)
    assert (other.number, other.serial != first.serial) == (2, True)
    async with world.store.read() as db:
        (call,) = await calls.running(db, ROOM)
    assert call.stems == (first, other)


async def test_who_opted_out_has_no_stem(world: World) -> None:
    """Opting in again allows one, in a call that began before too."""
    await switch_on(world)
    call = await begin(world)
    for out in (True, False):
        async with world.store.write() as db:
            await optouts.add(db, OptOut(BEN, ROOM, Position(5 if out else 6), out, world.clock()))
        assert (await open_stem(world) is None) is out
    await end(world, call)


async def test_no_stem_begins_in_a_recording_that_has_ended(world: World) -> None:
    """A leg that was being made when the call ended is closed."""
    await switch_on(world)
    call = await begin(world)
    assert call is not None
    await end(world, call)
    async with world.store.write() as db:
        assert await world.recorder.calling.open_stem(db, call.id, BEN, "DEV", Samples(0)) is None


async def test_a_stem_that_is_closed_is_stored(world: World) -> None:
    """Its row tells its end."""
    await switch_on(world)
    call = await begin(world)
    stem = await open_stem(world)
    assert call is not None
    assert stem is not None
    end = StemClosed(1, Samples(960), LeftBy.LOST, Samples(400), Samples(80), BlobKey("ab" * 32), 700)
    async with world.store.write() as db:
        await world.recorder.apply(db, call.id, end)
    async with world.store.read() as db:
        stored = await archive.recording(db, call.id)
    assert stored is not None
    assert stored.stems == (
        replace(stem, left=Samples(960), left_by=LeftBy.LOST, received=Samples(400), lost=Samples(80),
                blob=BlobKey("ab" * 32), bytes=700),
    )  # fmt: skip


# ---- death


async def tell(world: World, name: str) -> None:
    """Do all that is written about a call, as those who do it again after a death."""
    async with world.store.write() as db:
        call = await world.recorder.calling.begin(
            db, ROOM, CallProtocol.MSC3401, name, events=(EventId(f"${name}"),), broadcaster=ALICE
        )
    assert call is not None
    if not call.stems:
        await open_stem(world)
    kept = replace(slice_of(1, 0, BEN), id=ChunkId(name), recording_id=call.id, at=Samples(480))
    events = (SlicesKept((kept,)), WentAway(Samples(480_000)), replace(closed(1, 10), slices=1))
    for event in (*events, Ended(EndedBy.STOPPED)):
        async with world.store.write() as db:
            await world.recorder.apply(db, call.id, event)


async def left_of(world: World, name: str) -> tuple[object, ...]:
    """Return what is left of a call, but for what names it: its recording, its slice and its jobs."""
    async with world.store.read() as db:
        call = await archive.recording_by_event(db, EventId(f"${name}"))
        assert call is not None
        chunks = await archive.chunks(db, call.id)
        waiting = [job.subject for job in await jobs.unfinished(db, orders.Finish.kind)]
    (stem,) = call.stems
    here = (call.state, call.ended_by, call.aways, replace(stem, serial=0), [(each.state, each.at) for each in chunks])
    return (*here, waiting.count(str(call.id)))


async def test_a_death_at_any_write_changes_nothing(world: World) -> None:
    """Wherever the process dies, doing all again leads to the same rows."""
    await switch_on(world)
    await tell(world, "undisturbed")
    undisturbed = await left_of(world, "undisturbed")
    for number, after_commit in product(range(1, 7), (False, True)):
        name = f"call-{number}-{after_commit}"
        world.store.die_at(number, after_commit=after_commit)
        with pytest.raises(Killed):
            await tell(world, name)
        await world.rise_again()
        if (number, after_commit) != (6, True):  # then nothing is left to do
            await tell(world, name)
        assert await left_of(world, name) == undisturbed
