"""Steps of a studio's client, objections, deaths of the process, housekeeping and time in any order: what was
acknowledged is in the archive, unless somebody may not be recorded; and then it is on no disk."""

import asyncio
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bot import orders
from bot.intake import consent
from bot.recording.model import Change, Deleted
from bot.studio.writing import StudioRefusedError
from storage import archive, journal, optouts, studios
from storage.records import BlobKey, ChunkState, EventId, OptOut, Position, Recording, RecordingState
from storage.tables import jobs as job_table
from tests.booth import Booth
from tests.interleaving.begun import begin, new_loop
from tests.worker.quick import without_ffmpeg
from tests.world import ALICE, ROOM, Killed, World, heard, world_of

MOST = 6
SLICES = {number: f"slice {number}".encode() for number in range(1, MOST + 1)}
KEYS = {number: BlobKey(hashlib.sha256(data).hexdigest()) for number, data in SLICES.items()}
CHANGES = {"pause": Change.PAUSED, "resume": Change.RESUMED, "stop": Change.STOPPED}
OBJECTIONS = ("optout", "leave", "delete")

sends = st.integers(1, MOST).map(lambda number: f"send {number}")
others = st.sampled_from([*CHANGES, "work", "work", "wait 61", "wait 2000", "wait 90000", "tidy", "start"])
steps = st.lists(st.one_of(sends, sends, others), min_size=3, max_size=14)
deaths = st.lists(st.none() | st.tuples(st.integers(1, 6), st.booleans()), max_size=14)


@dataclass
class Story:
    """A studio, and what its client knows of it."""

    booth: Booth
    acknowledged: set[int] = field(default_factory=set)

    @property
    def world(self) -> World:
        return self.booth.world

    async def take(self, step: str, death: tuple[int, bool] | None) -> None:
        """Do a step; where the process dies in it, a new one begins, and the client does it again."""
        if death is not None:
            self.world.store.die_at(death[0], after_commit=death[1])
        try:
            await self._do(step)
        except Killed:
            await self.world.rise_again()
            await self._do(step)
        self.world.store.left = None

    async def _do(self, step: str) -> None:
        what, _, number = step.partition(" ")
        try:
            match what:
                case "start":
                    await self.booth.start()
                case "send":
                    await self.booth.send(SLICES[int(number)], int(number))
                    self.acknowledged.add(int(number))
                case "work":
                    await self.world.work()
                case "wait":
                    self.world.clock.pass_by(int(number))
                case "tidy":
                    await self.world.keeper.tidy()
                    await self.world.keeper.sweep()
                case "optout":
                    await self._opt_out()
                case "leave":
                    await self.world.hear(heard("$left", "m.room.member", {"membership": "leave"}, state_key=ALICE))
                case "delete":
                    await self._delete()
                case _:
                    await self.booth.change(CHANGES[what], MOST if what == "stop" else None)
        except StudioRefusedError:
            pass  # its client knows now

    async def _opt_out(self) -> None:
        async with self.world.store.write() as db:
            since = Position(await journal.position(db))
            await optouts.add(db, OptOut(ALICE, ROOM, since, out=True, at=self.world.clock()))
            objection = orders.CloseRefused(EventId("$optout"), since, ALICE, (ROOM,))
            await consent.close_refused(db, self.world.recorder.apply, objection, self.world.clock())

    async def _delete(self) -> None:
        async with self.world.store.write() as db:
            found = await archive.recording_by_event(db, self.booth.studio.event_id)
            if found is not None:
                await self.world.recorder.apply(db, found.id, Deleted())

    async def settle(self) -> Recording:
        """Do all that is left, until nothing is waited for."""
        for seconds in (0, 61, 2000):
            self.world.clock.pass_by(seconds)
            await self.world.work()
        await self.world.keeper.sweep()
        await self.world.work()
        return await self.booth.recording()

    async def check(self, said: str | None, stored: set[int]) -> None:
        """Compare the archive with what was acknowledged. `stored`: the slices that were fetched when somebody
        objected."""
        recording, chunks = await self.settle(), await self.booth.chunks()
        sound = {chunk.sequence: chunk.blob for chunk in chunks if chunk.state is ChunkState.STORED}
        numbers = [chunk.sequence for chunk in chunks]
        assert len(numbers) == len(set(numbers)), "a slice is there twice"
        match said:
            case "delete":
                assert recording.state is RecordingState.DELETED
                expected = set()
            case "optout":
                expected = stored
            case _:
                expected = self.acknowledged
        assert sound == {number: KEYS[number] for number in expected}
        on_disk = {number for number, key in KEYS.items() if key in self.world.files()}
        assert on_disk == expected, "a file is lost, or one that nobody may hear is left"
        async with self.world.store.read() as db:
            slices = await studios.slices_of(db, self.booth.studio.id)
            asked = select(job_table.c.subject).where(job_table.c.kind.in_([orders.Reread.kind, orders.React.kind]))
            assert (await db.execute(asked)).scalars().all() == [], "the homeserver was asked"
        assert {piece.blob for piece in slices if piece.blob} <= set(sound.values())
        if said is not None:
            assert await self.is_refused()

    async def is_refused(self) -> bool:
        try:
            await self.booth.send(b"another slice", MOST + 1)
        except StudioRefusedError:
            return True
        return False

    async def stored(self) -> set[int]:
        return {chunk.sequence or 0 for chunk in await self.booth.chunks() if chunk.state is ChunkState.STORED}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    yield from new_loop()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, loop: asyncio.AbstractEventLoop) -> Path:
    return begin(tmp_path_factory.mktemp("begun") / "data", loop)


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        without_ffmpeg(patch)
        yield


async def tell(
    directory: Path, before: list[str], said: str | None, after: list[str], dies: list[tuple[int, bool] | None]
) -> None:
    async with world_of(directory) as world:
        story = Story(await Booth.open(world))
        await story.booth.start()
        told = iter(dies)
        for step in before:
            await story.take(step, next(told, None))
        stored = await story.stored()
        if said is not None:
            await story.take(said, next(told, None))
        for step in after:
            await story.take(step, next(told, None))
        await story.check(said, stored)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.uuids(), before=steps, said=st.sampled_from([None, None, *OBJECTIONS]), after=steps, dies=deaths)
def test_what_is_acknowledged_is_archived_or_nowhere(
    begun: Path,
    loop: asyncio.AbstractEventLoop,
    tmp_path: Path,
    name: object,
    before: list[str],
    said: str | None,
    after: list[str],
    dies: list[tuple[int, bool] | None],
) -> None:
    """Each slice that a client was told is on the disk becomes a chunk, once, wherever the process died; after an
    objection nothing more does, and no file of it is left. The homeserver is asked for nothing."""
    directory = tmp_path / str(name)
    shutil.copytree(begun, directory)
    try:
        loop.run_until_complete(tell(directory, before, said, after, dies))
    finally:
        shutil.rmtree(directory)
