"""Chunks of strangers cost one look-up of the broadcast, and nothing else."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from bot import orders
from storage import archive, journal
from storage.database import Connection
from storage.records import Chunk, EventId, HeardEvent, Recording, RecordingId
from tests.world import ALICE, START, World, batch, chunk, heard, info, sealed

MANY = 2_000
Chunks = Callable[[str, int], HeardEvent]


def of_mallory(event: HeardEvent) -> HeardEvent:
    return replace(event, event={**event.event, "sender": "@mallory:hs"})


def clear(event_id: str, number: int) -> HeardEvent:
    return chunk(event_id, number)


def unreadable(event_id: str, number: int) -> HeardEvent:
    return sealed(event_id, f"session{number % 7}")


def malformed(event_id: str, number: int) -> HeardEvent:
    event = chunk(event_id, number)
    return replace(event, event={**event.event, "content": {**event.event["content"], "url": "nonsense"}})


@pytest.mark.parametrize("kind", [clear, unreadable])
async def test_a_flood_of_a_strangers_chunks_leaves_no_trace(
    world: World, kind: Chunks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger's thousands of chunks cost one look-up and one log line, and the speaker's own chunk among them is
    taken."""
    await world.begin(chunk("$1", 1))
    caplog.set_level(logging.INFO, "bot")
    caplog.clear()
    looks, read = [], archive.recording_of_broadcast

    async def counted(db: Connection, event_id: EventId) -> Recording | None:
        looks.append(event_id)
        return await read(db, event_id)

    flood = [of_mallory(kind(f"$f{number}", number + 1)) for number in range(MANY)]
    async with world.store.read() as db:
        before = await journal.position(db)
    with monkeypatch.context() as patched:
        patched.setattr(archive, "recording_of_broadcast", counted)
        await world.intake.take(batch(*flood[: MANY // 2], chunk("$2", 2), *flood[MANY // 2 :]))
    assert looks == [START]
    assert len([line for line in caplog.messages if "events ignored" in line]) == 1
    assert len(caplog.messages) == 1
    async with world.store.read() as db:
        assert await journal.position(db) == before + 1
    await world.settle()
    assert len(await world.waiting(orders.Fetch.kind)) == 2


async def test_what_is_not_valid_is_named_and_not_written_down(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each invalid chunk gets one log line with its rule, and no row."""
    caplog.set_level(logging.INFO, "bot")
    await world.begin()
    await world.intake.take(batch(malformed("$1", 1), of_mallory(malformed("$2", 2))))
    assert len([line for line in caplog.messages if "rule=url" in line]) == 2
    async with world.store.read() as db:
        assert await journal.unhandled(db, 10) == ()


async def test_a_strangers_chunk_loads_none_of_the_recordings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's chunk or info event never loads the recording's chunks, not even from the journal."""
    await world.begin(chunk("$1", 1))
    foreign = of_mallory(chunk("$f", 2))
    paused = heard("$p", "io.element.voice_broadcast_info", info("$p", "paused").event["content"], state_key="@m:hs")
    paused = replace(paused, event={**paused.event, "sender": "@m:hs"})
    async with world.store.write() as db:
        for event in (foreign, paused):
            await journal.add(db, event, world.clock())

    async def loaded(_: Connection, __: RecordingId) -> tuple[Chunk, ...]:
        raise AssertionError("the chunks were loaded")

    with monkeypatch.context() as patched:
        patched.setattr(archive, "chunks", loaded)
        await world.settle()
    async with world.store.write() as db:
        assert await journal.try_again(db) == 0
    assert not (await world.recording()).paused


@pytest.mark.parametrize("kind", [clear, unreadable])
async def test_a_chunk_beside_its_start_is_the_speakers_only(world: World, kind: Chunks) -> None:
    """A stranger's chunk is left out also while the started event still waits in the journal."""
    await world.intake.take(batch(info(START, "started"), of_mallory(kind("$f", 1)), kind("$1", 1)))
    async with world.store.read() as db:
        assert [one.event_id for one in await journal.unhandled(db, 10)] == [START, "$1"]


async def test_a_chunk_of_a_broadcast_that_is_deleted_or_nobodys_is_left_out(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Chunks of deleted and of unknown broadcasts are left out, and the log tells which."""
    caplog.set_level(logging.INFO, "bot")
    await world.begin(heard("$r", "m.room.redaction", {}, redacts=START))
    nobodys = {"rel_type": "m.reference", "event_id": "$unknown"}
    other = chunk("$2", 1)
    other = replace(other, event={**other.event, "content": {**other.event["content"], "m.relates_to": nobodys}})
    await world.intake.take(batch(chunk("$1", 1), other))
    assert [line.split()[2] for line in caplog.messages if "events ignored" in line] == [
        "rule=deleted",
        "rule=not_recorded",
    ]
    async with world.store.read() as db:
        assert await journal.unhandled(db, 10) == ()
    assert (await world.recording()).broadcaster == ALICE
