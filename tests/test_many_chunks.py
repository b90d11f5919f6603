"""Broadcasts of very many chunks: the list is never cut, the length is exact, and the work does not run away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.recording.kinds import lay_out
from storage import archive
from storage.records import EventId, RecordingState
from tests.worker.quick import without_ffmpeg
from tests.world import World, chunk, info, world_of

MANY = 520
AT_ONCE = 40


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    without_ffmpeg(monkeypatch)
    async with world_of(tmp_path / "data") as made:
        await made.join()
        yield made


async def test_more_than_five_hundred_chunks_are_all_in_the_episode(world: World) -> None:
    """All of 520 chunks, told forty at once and fetched between, are stored in order, and the length is exact."""
    await world.begin()
    for first in range(1, MANY + 1, AT_ONCE):
        await world.hear(*(chunk(name(number), number) for number in range(first, min(first + AT_ONCE, MANY + 1))))
        await world.work()
    await world.hear(info("$stop", "stopped", last_chunk_sequence=MANY))
    await world.work()
    recording = await world.recording()
    async with world.store.read() as db:
        chunks = await archive.chunks(db, recording.id)
        episode = await archive.episode(db, recording.id)
    assert recording.state is RecordingState.COMPLETE
    entries = lay_out(recording, chunks).entries
    assert [str(entry.chunk_id) for entry in entries] == [name(n) for n in range(1, MANY + 1)]
    assert episode is not None
    assert episode.samples == MANY * 48_000


def name(number: int) -> EventId:
    return EventId(f"$c{number:04}")
