"""The process may die at each write after a restore: what was wished is carried out once, and each room opens."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.event_types import DISCLOSURE
from bot.intake.sealed_wishes import Forgotten, Objection, Wishes
from storage import archive, changes, jobs, optouts, rooms
from storage.records import EventId, Position, Visibility
from tests.factories import ALICE, NOW, ROOM, a_recording, a_room
from tests.worker.kept_world import BOB, Homeserver, Keeping
from tests.worker.quick import every
from tests.world import BOT, Killed, World, room_state, state, world_of

WISHED = Wishes(
    out=(Objection(BOB, NOW, NOW + timedelta(hours=1)),),
    forgotten=(Forgotten(BOB, NOW + timedelta(hours=2)),),
    deleted=(EventId("$gone"), EventId("$found")),
    private=(EventId("$private"),),
    kept=(EventId("$kept"),),
    records=("messages",),
    visibility="public",
    review=True,
)
EVERYWHERE_WISHED = Wishes(out=(Objection(ALICE, NOW),))
OURS = (orders.KeepWishes.kind, orders.CatchUp.kind)


def homeserver_of(keeping: Keeping) -> Homeserver:
    said = state(DISCLOSURE, {"records": ["messages"], "visibility": "public", "retention": "forever"}, sender=BOT)
    me = state("m.room.member", {"membership": "join"}, BOT, sender=BOT, event_id="$me")
    keeping.homeserver.state = [dict(event) for event in (*room_state(), me, said)]
    return keeping.homeserver


async def begin(world: World) -> None:
    """Restore a store, and find a recording again that was deleted after the backup."""
    keeping = Keeping(world)
    await keeping.begin().begin()
    async with world.store.write() as db:
        room = a_room(visibility=Visibility.PUBLIC, public_since=Position(1), messages_since=Position(1))
        await rooms.save_room(db, replace(room, told_at=Position(0)))
        for place, event in enumerate(("$gone", "$private", "$kept"), 1):
            await archive.add_recording(db, a_recording(event_id=EventId(event), public=True, position=Position(place)))
    await keeping.restored()
    async with world.store.write() as db:
        for event, user_id in (("$found", ALICE), ("$bobs", BOB), ("$off", ALICE)):
            at = NOW + timedelta(hours=1)
            found = a_recording(event_id=EventId(event), broadcaster=user_id, position=Position(100), at=at)
            await archive.add_recording(db, found)


async def beginning(world: World) -> Keeping:
    """Make a process of it: what is kept is there, and is read first."""
    keeping = Keeping(world)
    homeserver_of(keeping)
    await keeping.keep(WISHED)
    await keeping.keep(EVERYWHERE_WISHED, None)
    return keeping


async def do(keeping: Keeping) -> None:
    await keeping.begin().read_first()
    for _ in range(20):
        while await keeping.world.work_one(OURS):
            pass
        async with keeping.world.store.read() as db:
            if not await jobs.unfinished_of(db, OURS):
                return
        keeping.world.clock.pass_by(60)
    raise AssertionError("the room does not open")


async def outcome(keeping: Keeping) -> dict[str, Any]:
    async with keeping.world.store.read() as db:
        room = await rooms.room(db, ROOM)
        recordings = await archive.recordings(db, ROOM)
        words = await optouts.every(db)
        log = await changes.every(db)
    assert room is not None
    assert room.behind is None
    kept = await keeping.kept()
    assert kept is not None
    return {
        "room": (room.visibility, room.switched_on, room.review),
        "recordings": {each.event_id: (each.state, each.public, each.kept, each.unreviewed) for each in recordings},
        "words": sorted((word.user_id, word.room_id, word.at, word.out) for word in words),
        "log": sorted((str(change.by), change.what, str(change.subject), str(change.after)) for change in log),
        "notices": len(await keeping.world.waiting(orders.Notice.kind)),
        "kept": (kept.out, kept.deleted, kept.private, kept.kept, kept.review),
    }


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_whatever_it_died_at_each_wish_holds_once(tmp_path: Path, *, after_commit: bool) -> None:
    """Killed at each write, or after each commit, while wishes are read and the room catches up: the same rows, same
    log, one notice."""
    async with world_of(tmp_path / "begun") as world:
        await begin(world)
    async with world_of(shutil.copytree(tmp_path / "begun", tmp_path / "undisturbed")) as world:
        keeping = await beginning(world)
        world.store.die_at(-1, after_commit=False)
        await do(keeping)
        assert world.store.left is not None
        writes, expected = -1 - world.store.left, await outcome(keeping)
    assert expected["room"][2]
    for number in range(1, writes + 1, every(1)):
        async with world_of(shutil.copytree(tmp_path / "begun", tmp_path / str(number))) as world:
            keeping = await beginning(world)
            world.store.die_at(number, after_commit=after_commit)
            with pytest.raises(Killed):
                await do(keeping)
            await world.rise_again()
            await do(keeping)
            assert await outcome(keeping) == expected, f"died at write {number} of {writes}"
