"""Consent is asked for before anything is fetched, wherever sound could come from."""

import hashlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot import orders
from bot.intake import consent
from bot.matrix.media import FetchedMedia
from bot.worker.backfilling import Backfilling
from bot.worker.room_history import HistoryPage, RoomHistory
from storage import archive, jobs, journal, optouts, rooms
from storage.database import Connection
from storage.records import (
    EVERYWHERE,
    Chunk,
    ChunkState,
    EndedBy,
    EventId,
    HeardEvent,
    MediaSource,
    MxcUri,
    OptOut,
    Position,
    RoomId,
    UserId,
)
from tests.intake.homeserver import broadcast, is_followed, reread
from tests.test_recorder import kept, opened
from tests.world import ALICE, ROOM, START, World, chunk, heard, info, media_of, sealed

C1, C2 = EventId("$c1"), EventId("$c2")


_numbers = itertools.count()


async def command(db: Connection, world: World) -> Position:
    """Give a command its place in the timeline."""
    said = HeardEvent(ROOM, EventId(f"$word{next(_numbers)}"), {})
    at = await journal.add(db, said, world.clock(), keep=False)
    assert at is not None
    return at


async def opts(world: World, *, out: bool, room_id: RoomId = ROOM) -> None:
    """Let Alice say `optout` or `optin` now."""
    async with world.store.write() as db:
        at = await command(db, world)
        await optouts.add(db, OptOut(ALICE, room_id, at, out, world.clock()))
        if out:
            objection = orders.CloseRefused(EventId(f"$out{at}"), at, ALICE)
            await consent.close_refused(db, world.recorder.apply, objection, world.clock())


async def speakers(world: World, *users: UserId) -> None:
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, speakers=users))


async def chunks(world: World) -> dict[EventId | None, tuple[ChunkState, str | None]]:
    recording = await world.recording()
    async with world.store.read() as db:
        found: Sequence[Chunk] = await archive.chunks(db, recording.id)
    return {one.event_id: (one.state, one.reason) for one in found}


async def position_of(world: World, event: EventId) -> Position | None:
    async with world.store.read() as db:
        return await journal.position_of(db, event)


async def never(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
    pytest.fail("fetched without consent")


@pytest.mark.parametrize("room_id", [ROOM, EVERYWHERE])
async def test_a_broadcast_of_a_member_who_opted_out_is_not_followed(world: World, room_id: RoomId) -> None:
    """Neither its start nor its chunks are written down; the start keeps its place."""
    await opts(world, out=True, room_id=room_id)
    await world.begin(chunk(C1, 1), sealed(C2))
    assert not await is_followed(world)
    assert [await kept(world, event) for event in (START, C1, C2)] == [[], [], []]
    assert await position_of(world, START) is not None
    assert await position_of(world, C1) is None
    assert await world.ordered(orders.Reread) == []


async def test_who_opts_in_again_is_recorded_from_then_on(world: World) -> None:
    """A broadcast that began while its speaker was out stays unrecorded, also its later chunks."""
    await opts(world, out=True)
    await world.begin(chunk(C1, 1))
    await opts(world, out=False)
    await world.hear(chunk(C2, 2))
    assert not await is_followed(world)
    later = EventId("$later")
    await world.hear(info(later, "started"))
    assert await is_followed(world, later)


async def test_a_live_broadcast_goes_on_when_its_speaker_opts_in_once_more(world: World) -> None:
    """A second `optin` closes nothing that the first one allowed."""
    await opts(world, out=True)
    await opts(world, out=False)
    await world.begin()
    await opts(world, out=False, room_id=EVERYWHERE)
    await world.hear(chunk(C1, 1))
    assert list(await chunks(world)) == [C1]


async def test_chunks_of_after_an_opt_out_are_not_even_written_down(world: World) -> None:
    """Clear, encrypted or a plain voice message: the journal keeps nothing of it."""
    await world.begin(chunk(C1, 1))
    await world.work()
    await opts(world, out=True)
    voice = {"msgtype": "m.audio", "url": "mxc://hs/v", "org.matrix.msc3245.voice": {}}
    await world.hear(chunk(C2, 2), sealed("$c3"), heard("$v", "m.room.message", voice))
    assert await chunks(world) == {C1: (ChunkState.STORED, None)}
    assert [await position_of(world, EventId(event)) for event in (C2, "$c3", "$v")] == [None] * 3
    assert (await world.recording()).ended_by is EndedBy.SWITCHED_OFF


async def test_a_key_that_comes_after_an_opt_out_opens_nothing(world: World) -> None:
    """The wrapper of a chunk that waited for its key is forgotten."""
    await world.begin(sealed(C1))
    await opts(world, out=True)
    world.opens = opened
    world.download = never
    await world.intake.open_all()
    await world.work_on()
    assert await chunks(world) == {C1: (ChunkState.REFUSED, "not_wanted")}
    assert await kept(world, C1) == []


async def test_media_are_not_fetched_after_an_opt_out(world: World) -> None:
    """A chunk that was to be fetched is given up, and stays so when its speaker opts in."""
    await world.begin(chunk(C1, 1))
    await opts(world, out=True)
    world.download = never
    await world.work_on()
    await opts(world, out=False)
    await world.work_on()
    assert await chunks(world) == {C1: (ChunkState.REFUSED, "not_wanted")}


async def test_a_job_asks_again_before_it_fetches(world: World) -> None:
    """A chunk of a speaker whom moderators no longer choose is given up when its turn comes."""
    await world.begin(chunk(C1, 1))
    await speakers(world, UserId("@bob:hs"))
    world.download = never
    await world.work_on()
    assert await chunks(world) == {C1: (ChunkState.REFUSED, "not_wanted")}


async def test_an_opt_out_during_a_download_wins(world: World) -> None:
    """Media that come after the command leave no file."""

    async def meanwhile(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await opts(world, out=True)
        return await normal(source, part, max_bytes)

    normal, world.download = world.download, meanwhile
    await world.begin(chunk(C1, 1))
    await world.work_on()
    assert await chunks(world) == {C1: (ChunkState.REFUSED, "not_wanted")}
    assert hashlib.sha256(media_of(MediaSource(MxcUri("mxc://hs/c1")))).hexdigest() not in world.files()


async def test_only_chosen_speakers_are_followed(world: World) -> None:
    """`speakers` counts when a broadcast begins."""
    await speakers(world, UserId("@bob:hs"))
    await world.begin(chunk(C1, 1))
    assert not await is_followed(world)
    await speakers(world, ALICE)
    await world.hear(info("$later", "started"))
    assert await is_followed(world, EventId("$later"))


@pytest.mark.parametrize("out", [True, False], ids=["out", "in again"])
async def test_a_broadcast_of_the_past_is_not_read_from_the_homeserver(world: World, *, out: bool) -> None:
    """Neither by a reference to it, nor after an `optin`: the past stays unrecorded."""
    await opts(world, out=True)
    world.clock.pass_by(60)
    if not out:
        await opts(world, out=False)
    async with world.store.write() as db:
        await jobs.add(db, orders.Reread(START, ROOM, ALICE, unknown=True).job(), world.clock())
    await reread(world, broadcast(1))
    assert not await is_followed(world)


async def test_reading_a_closed_broadcast_again_brings_no_chunk(world: World) -> None:
    """The rest that the homeserver has of it is passed on without its sound."""
    await world.begin(chunk(C1, 1))
    await world.work()
    await opts(world, out=True)
    async with world.store.write() as db:
        await jobs.add(db, orders.Reread.known(await world.recording()).job(), world.clock())
    await reread(world, broadcast(1, 2))
    assert await chunks(world) == {C1: (ChunkState.STORED, None)}
    assert await position_of(world, C2) is None


class Past(RoomHistory):
    """A history that has one broadcast of Alice's and counts how often its parts are read."""

    def __init__(self, began_ms: int) -> None:
        self.began_ms = began_ms
        self.read = 0

    async def pages(self, room_id: RoomId, cursor: str | None) -> AsyncIterator[HistoryPage]:
        started = info(START, "started")
        event = {**started.event, "origin_server_ts": self.began_ms}
        yield HistoryPage((replace(started, event=event, history=True),), None)

    async def related(self, _: RoomId, __: EventId, ___: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        self.read += 1
        yield (replace(chunk(C1, 1), history=True),)


@pytest.mark.parametrize("case", ["out", "in again", "never out"])
async def test_a_search_of_the_history_asks_before_it_reads(world: World, case: str) -> None:
    """The search reads no part of a broadcast whose speaker has opted out, or did once and has opted in since."""
    began = round((world.clock() - timedelta(days=1)).timestamp() * 1000)
    if case != "never out":
        await opts(world, out=True)
    if case == "in again":
        await opts(world, out=False)
    past = Past(began)
    search = Backfilling(world.store, past, adopt=world.recorder.adopt, clock=world.clock)
    async with world.store.write() as db:
        await jobs.add(db, orders.Backfill(ROOM).job(), world.clock())
        (job,) = await jobs.claim(db, [orders.Backfill.kind], world.clock(), 1)
    world.handlers[orders.Backfill.kind] = search
    if case == "never out":
        with pytest.raises(Exception, match="still being fetched"):
            await search(job)
    else:
        await search(job)
    assert past.read == (case == "never out")
    assert await is_followed(world) == (case == "never out")


async def test_a_broadcast_that_begins_with_the_opt_in_is_not_lost(world: World) -> None:
    """A start that was heard before the command was carried out, and came after it in the timeline, is read again."""
    await opts(world, out=True)
    async with world.store.write() as db:
        said_at = await command(db, world)
    await world.hear(info(START, "started"))
    async with world.store.write() as db:
        await optouts.add(db, OptOut(ALICE, ROOM, said_at, False, world.clock() - timedelta(seconds=1)))
        await consent.look_again(db, ALICE, said_at, world.clock())
    assert [order.event_id for order in await world.ordered(orders.Reread)] == [START]
