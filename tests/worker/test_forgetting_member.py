"""A member with many recordings is forgotten some recordings at a time, and told at the end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import orders
from bot.intake import forgotten
from bot.worker.forgetting_member import ForgettingMember
from storage import archive, jobs
from storage.records import EventId, RecordingState
from tests.factories import ALICE, a_recording
from tests.world import ROOM, Killed, World, world_of

COMMAND = EventId("$forget")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Provide five recordings of Alice, of which she wants four forgotten; two go at a time."""
    monkeypatch.setattr(forgotten, "AT_ONCE", 2)
    async with world_of(tmp_path / "data") as world:
        work_on(world)
        async with world.store.write() as db:
            fresh = [a_recording(room_id=ROOM, event_id=EventId(f"${number}")) for number in range(5)]
            ids = [(await archive.add_recording(db, recording)).id for recording in fresh]
            order = orders.ForgetMember(COMMAND, ALICE, ROOM, "4 are gone.", alone=tuple(ids[:4]))
            await jobs.add(db, order.job(), world.clock())
        yield world


def work_on(world: World) -> None:
    handler = ForgettingMember(world.store, apply=world.recorder.apply, clock=world.clock)
    world.handlers[orders.ForgetMember.kind] = handler


async def states(world: World) -> list[bool]:
    """Return which recordings are deleted, the oldest first."""
    async with world.store.read() as db:
        found = await archive.recordings(db)
    return [each.state is RecordingState.DELETED for each in sorted(found, key=lambda each: each.id)]


async def reports(world: World) -> list[str]:
    return [notice.body for notice in await world.ordered(orders.Notice) if notice.reply_to == COMMAND]


async def test_all_of_them_go_and_no_other(world: World) -> None:
    """The report follows when they are gone."""
    await world.work_one([orders.ForgetMember.kind])
    assert await states(world) == [True] * 4 + [False]
    assert await reports(world) == ["4 are gone."]


@pytest.mark.parametrize("number", range(2, 6))
async def test_a_death_between_loses_none_and_reports_once(world: World, number: int) -> None:
    """Killed at each write in turn, the next start goes on with what is left."""
    world.store.die_at(number, after_commit=False)
    with pytest.raises(Killed):
        await world.work_one([orders.ForgetMember.kind])
    assert await reports(world) == [] or number == 5
    await world.rise_again()
    work_on(world)
    await world.work_one([orders.ForgetMember.kind])
    assert await states(world) == [True] * 4 + [False]
    assert await reports(world) == ["4 are gone."]
