"""Recordings that had ended before an objection are closed some at a time, and once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import orders
from bot.intake import consent
from bot.worker.closing_refused import ClosingRefused
from storage import archive, journal, optouts
from storage.records import EVERYWHERE, ChunkState, EventId, HeardEvent, OptOut, Position
from tests.factories import ALICE, a_chunk, a_recording
from tests.world import ROOM, Killed, World, world_of

KINDS = [orders.CloseRefused.kind]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Provide five recordings of Alice's that wait for a key, and one that went beyond the limit; two are closed at a
    time. Alice opts out."""
    monkeypatch.setattr(consent, "AT_ONCE", 2)
    async with world_of(tmp_path / "data") as world:
        work_on(world)
        async with world.store.write() as db:
            for number in range(6):
                fresh = a_recording(room_id=ROOM, event_id=EventId(f"${number}"), position=Position(number))
                recording = await archive.add_recording(db, fresh)
                state = ChunkState.WAITING_FOR_KEY if number else ChunkState.REFUSED
                waits = a_chunk(
                    recording_id=recording.id,
                    event_id=EventId(f"$chunk{number}"),
                    state=state,
                    reason=None if number else "beyond_limit",
                )
                await archive.save_chunks(db, [waits])
        await opts_out(world, "$out")
        yield world


def work_on(world: World) -> None:
    world.handlers[orders.CloseRefused.kind] = ClosingRefused(
        world.store, apply=world.recorder.apply, clock=world.clock
    )


async def opts_out(world: World, command: str) -> None:
    async with world.store.write() as db:
        said = HeardEvent(ROOM, EventId(command), {})
        at = await journal.add(db, said, world.clock(), keep=False)
        assert at is not None
        await optouts.add(db, OptOut(ALICE, EVERYWHERE, at, True, world.clock()))
        objection = orders.CloseRefused(EventId(command), at, ALICE)
        await consent.close_refused(db, world.recorder.apply, objection, world.clock())


async def closed(world: World) -> list[bool]:
    """Return which recordings wait for nothing any more, the oldest first."""
    async with world.store.read() as db:
        found = sorted(await archive.recordings(db), key=lambda each: each.id)
        chunks = [await archive.chunks(db, recording.id) for recording in found]
    return [chunk.state is ChunkState.REFUSED for (chunk,) in chunks]


async def test_the_command_closes_a_few_and_a_job_the_rest(world: World) -> None:
    """A chunk that is given up for another reason takes no part."""
    assert await closed(world) == [True] * 3 + [False] * 3
    await world.work_one(KINDS)
    assert await closed(world) == [True] * 6


async def test_a_closed_recording_is_not_closed_again(world: World) -> None:
    """The next objection has nothing to do."""
    await world.work_one(KINDS)
    await opts_out(world, "$again")
    assert await world.ordered(orders.CloseRefused) == []
    async with world.store.read() as db:
        left = await optouts.half_kept(
            db,
            Position(99),
            user_id=ALICE,
            room_ids=None,
            given_up=["not_wanted", "beyond_limit"],
            after=None,
            limit=9,
        )
    assert left == ()


@pytest.mark.parametrize("number", range(2, 5))
async def test_a_death_between_leaves_none_open(world: World, number: int) -> None:
    """Killed at each write in turn, the next start goes on with what is left."""
    world.store.die_at(number, after_commit=False)
    with pytest.raises(Killed):
        await world.work_one(KINDS)
    await world.rise_again()
    work_on(world)
    await world.work_one(KINDS)
    assert await closed(world) == [True] * 6
