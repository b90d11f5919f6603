"""The process may die at each write between the end of a right to broadcast and the end of the studios that had it:
they end once, with what came by then, and take nothing more."""

import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.commands.handle import Commands
from bot.recording.model import Change
from bot.studio.writing import Problem, StudioRefusedError, new_studio
from bot.worker.looking_at_studios import LookingAtStudios
from storage import changes, jobs, journal, studios
from storage.place import Place
from storage.records import EventId, HeardEvent, Studio, StudioId, StudioSource, StudioState, UserId
from tests.booth import Booth
from tests.factories import always
from tests.worker.quick import every, without_ffmpeg
from tests.world import ALICE, BOT, DONE_HERE, INFO, PREFIX, ROOM, Killed, Mortal, World, heard, settings_for

MO = UserId("@mo:hs")
KINDS = (*DONE_HERE, orders.Command.kind, orders.LookAtStudios.kind)
SLICES = (b"one", b"two", b"late")


class Bot(World):
    """A bot that carries commands out, and looks at studios."""

    def _begin(self) -> None:
        super()._begin()
        secret = always(b"s" * 32)
        commands = Commands(self.store, self.settings, secret, self.clock, apply=self.recorder.apply)
        self.handlers[orders.Command.kind] = commands
        self.handlers[orders.LookAtStudios.kind] = LookingAtStudios(self.store, self.clock)

    async def work(self) -> None:
        await self.settle()
        while await self.work_one(KINDS):
            await self.settle()


@asynccontextmanager
async def bot(directory: Path) -> AsyncIterator[Bot]:
    store = await Mortal.own(Place(directory))
    assert isinstance(store, Mortal)
    try:
        yield Bot(store, settings_for(directory, storage={"directory": str(directory), "min_free_bytes": 0}))
    finally:
        await store.close()


def power(event_id: str, **users: int) -> HeardEvent:
    levels = {"users": {ALICE: 100, BOT: 100} | {f"@{name}:hs": level for name, level in users.items()}}
    return heard(event_id, "m.room.power_levels", levels | {"events": {INFO: 50}}, state_key="")


async def prepare(world: Bot) -> None:
    """Let Alice be live with two slices, and Mo, who moderates too, have a studio that waits and one that is paused."""
    await world.join()
    joins = heard("$mo", "m.room.member", {"membership": "join"}, state_key=MO, sender=MO)
    await world.hear(joins, power("$powers", mo=50))
    booth = await Booth.open(world)
    async with world.store.write() as db:
        waits = await studios.add(db, new_studio(ROOM, MO, StudioSource.CLIENT, world.clock()))
        pauses = await studios.add(db, new_studio(ROOM, MO, StudioSource.PAGE, world.clock()))
    assert (booth.studio.id, waits.id, pauses.id) == (1, 2, 3)
    paused = Booth(world, pauses)
    for each in (booth, paused):
        await each.start()
        for sound in SLICES[:2]:
            await each.send(sound + each.studio.key.encode())
    await paused.change(Change.PAUSED)
    await world.work()


async def story(world: Bot) -> None:
    """Mo loses the power to broadcast; then Alice closes the studio for all. Told again, it is what the homeserver
    tells again."""
    await world.hear(power("$demoted"))
    await world.work()
    said = {"msgtype": "m.text", "body": f"{PREFIX} studio off"}
    await world.hear(heard("$off", "m.room.message", said, origin_server_ts=round(world.clock().timestamp() * 1000)))
    await world.work()


async def outcome(world: Bot) -> dict[str, Any]:
    """All that lasts, but for what is random or a time."""
    world.clock.pass_by(61)
    await world.work()
    async with world.store.read() as db:
        every_one = [await studios.get(db, StudioId(number)) for number in (1, 2, 3)]
        log = [(change.by, change.what, change.before, change.after) for change in await changes.of_rooms(db, [ROOM])]
        ends = [await journal.position_of(db, _change_of(each, 2)) for each in every_one if each is not None]
        waits = [kind for kind in KINDS[-2:] if await jobs.unfinished(db, kind)]
    booths = [Booth(world, each) for each in every_one if each is not None and each.id != StudioId(2)]
    recordings = [await booth.recording() for booth in booths]
    return {
        "studios": [each and (each.state, each.changes, each.last) for each in every_one],
        "recordings": [(each.state, each.ended_by, each.announced_last) for each in recordings],
        "chunks": [len(await booth.chunks()) for booth in booths],
        "refused": [await late(world, each) for each in every_one if each is not None],
        "log": log,
        "ends": [position is not None for position in ends],
        "waits": waits,
        "files": len(world.files()),
    }


def _change_of(studio: Studio, number: int) -> EventId:
    return EventId(f"$studio.{studio.key}.change-{number}")


async def late(world: Bot, studio: Studio) -> Problem | None:
    booth = Booth(world, studio)
    try:
        await booth.send(SLICES[2] + hashlib.sha256(studio.key.encode()).digest(), 3)
    except StudioRefusedError as refused:
        return refused.problem
    return None


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_whatever_the_process_died_at_studios_end_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_commit: bool
) -> None:
    """Killed at one of so many writes, or after one of so many commits; with AIRCHECK_KILL_POINTS=all, at each."""
    without_ffmpeg(monkeypatch)
    begun = tmp_path / "begun"
    async with bot(begun) as world:
        await prepare(world)
    async with bot(shutil.copytree(begun, tmp_path / "undisturbed")) as world:
        world.store.die_at(-1, after_commit=False)
        await story(world)
        assert world.store.left is not None
        writes = -1 - world.store.left
        expected = await outcome(world)
    assert [each[0] for each in expected["studios"]] == [StudioState.OVER] * 3
    assert [each[1] for each in expected["studios"]] == [1, 0, 2]
    assert expected["refused"] == [Problem.OVER] * 3
    assert [what for _, what, *_ in expected["log"]] == ["studio"]
    assert expected["waits"] == []
    for number in range(1, writes + 1, every(3)):
        async with bot(shutil.copytree(begun, tmp_path / str(number))) as world:
            world.store.die_at(number, after_commit=after_commit)
            with pytest.raises(Killed):
                await story(world)
            await world.rise_again()
            await world.work()
            await story(world)
            assert await outcome(world) == expected, f"died at write {number}"
