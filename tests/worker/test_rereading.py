"""Broadcasts are read again from the homeserver, and a crash or a refusal on the way loses and doubles nothing."""

from pathlib import Path

import pytest

from bot import orders
from bot.errors import GiveUp, TryLater
from storage import journal
from storage.records import (
    EventId,
    RecordingState,
)
from tests.intake.homeserver import BOB, WAITING, broadcast, changed, chunks, gap, is_followed, reread
from tests.world import START, Killed, World, chunk, heard, info, world_of


async def test_what_is_said_while_it_is_read_is_there_once(world: World) -> None:
    """A chunk that arrives while the broadcast is read is neither lost nor doubled."""
    memory = broadcast(1)

    async def meanwhile() -> None:
        await world.hear(chunk("$c1", 1), chunk("$c2", 2))

    memory.meanwhile = meanwhile
    await gap(world, before=(info(START, "started").event,))
    await reread(world, memory)
    assert await chunks(world) == {"$c1": WAITING, "$c2": WAITING}


async def test_what_others_refer_to_it_with_is_not_told(world: World) -> None:
    """Strangers' references, and the speaker's own that are no part of the broadcast, are ignored."""
    memory = broadcast(1)
    memory.has(changed(chunk("$m", 2), sender=BOB))
    relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": START}}
    memory.has(heard("$t", "m.room.message", {"msgtype": "m.text", "body": "!aircheck record off"} | relation))
    await gap(world, before=(info(START, "started").event,))
    await reread(world, memory)
    assert set(await chunks(world)) == {"$c1"}
    assert await world.waiting(orders.Command.kind) == []
    async with world.store.read() as db:
        assert await journal.position_of(db, EventId("$m")) is None


async def test_a_homeserver_that_is_away_is_waited_for_and_one_that_refuses_is_not(world: World) -> None:
    """A homeserver that is away is asked again, and one that refuses is not."""
    memory = broadcast(1)
    memory.error = TryLater("the homeserver can't be reached")
    await gap(world, before=(info(START, "started").event,))
    await reread(world, memory)
    assert not await is_followed(world)
    assert len(await world.waiting(orders.Reread.kind)) == 1
    memory.error = GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
    world.clock.pass_by(600)
    await reread(world, memory)
    assert await world.waiting(orders.Reread.kind) == []
    assert not await is_followed(world)


async def test_another_event_than_was_asked_for_is_not_believed(world: World) -> None:
    """An answer with another event is not taken, and the homeserver is asked again."""
    memory = broadcast(1)
    memory.events[START] = info("$other", "started")
    await gap(world, before=(info(START, "started").event,))
    await reread(world, memory)
    assert not await is_followed(world, EventId("$other"))
    assert len(await world.waiting(orders.Reread.kind)) == 1


@pytest.mark.parametrize("after_commit", [True, False])
async def test_reading_may_die_anywhere(tmp_path: Path, *, after_commit: bool) -> None:
    """A crash at any write leaves the whole broadcast, once, to the next process."""
    for death in range(1, 30):
        async with world_of(tmp_path / f"data{death}") as world:
            await world.join()
            await gap(world, before=(info(START, "started").event,))
            memory = broadcast(1, 2, 3, ends=True)
            world.store.die_at(death, after_commit=after_commit)
            died = False
            try:
                await reread(world, memory)
            except Killed:
                died = True
            await world.rise_again()
            await reread(world, memory)
            await world.settle()
            assert (await world.recording()).state is RecordingState.FINISHING
            assert await chunks(world) == dict.fromkeys(("$c1", "$c2", "$c3"), WAITING)
        if not died:
            assert death > 5
            return
    raise AssertionError("it never lived")
