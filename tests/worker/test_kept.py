"""Chunks and tracks in memory are the stored ones, whatever becomes of a recording."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.grid import Form
from bot.audio.layout import layout
from bot.audio.plan import Piece, Silence, Sound
from bot.audio.render import Rendered, Rendering, Warm
from bot.errors import TryLater
from bot.worker import tracks as of_worker
from bot.worker.stored_track import StoredTrack, appended_cuts
from bot.worker.tracks import Tracks
from storage import archive, tracks
from storage.chunks import Chunks
from storage.database import Connection
from storage.records import BlobKey, Chunk, Container, EventId, RecordingId, RecordingState, Samples, Track
from tests.worker.quick import without_ffmpeg
from tests.world import START, World, chunk, heard, info, world_of

FORM = Form(1, 64, None)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever is asked for is compared with what is stored; the list says what was there without reading."""
    without_ffmpeg(monkeypatch)
    monkeypatch.setattr(of_worker, "LONG", 0)
    known: list[str] = []
    chunks_of, read, read_anew = Chunks.of, Tracks.read, Tracks._read_anew

    async def compare_chunks(self: Chunks, db: Connection, recording_id: RecordingId) -> tuple[Chunk, ...]:
        edition = await archive.edition(db, recording_id)
        if self._cache.get(recording_id, edition) is not None:
            known.append("chunks")
        found = await chunks_of(self, db, recording_id)
        assert found == await archive.chunks(db, recording_id)
        return found

    async def compare_track(self: Tracks, db: Connection, recording_id: RecordingId) -> StoredTrack | None:
        edition = await tracks.edition(db, recording_id)
        if edition is not None and self._cache.get(recording_id, edition) is not None:
            known.append("track")
        found = await read(self, db, recording_id)
        assert found == (edition if edition is None else await read_anew(self, db, recording_id, edition))
        return found

    monkeypatch.setattr(Chunks, "of", compare_chunks)
    monkeypatch.setattr(Tracks, "read", compare_track)
    return known


@pytest.fixture
async def world(tmp_path: Path, compared: list[str]) -> AsyncIterator[World]:
    async with world_of(tmp_path / "data") as made:
        await made.join()
        yield made


async def test_through_a_whole_life(world: World, compared: list[str]) -> None:
    """Chunks come, one of them late, one is redacted on the air, one after the end, and it is made again."""
    await world.begin()
    for number in (1, 2, 3, 5, 6):
        await world.hear(chunk(f"$c{number}", number))
        await world.work()
        world.clock.pass_by(11)
        await world.work()
    live = len(compared)
    assert set(compared) == {"chunks", "track"}
    await world.hear(heard("$r2", "m.room.redaction", {}, redacts=EventId("$c2")))
    await world.work()
    await world.hear(chunk("$c7", 7))
    await world.work()
    assert len(compared) > live
    await world.hear(chunk("$c4", 4), info("$stop", "stopped", last_chunk_sequence=8))
    await world.work()
    world.clock.pass_by(61)
    await world.work()
    await world.hear(chunk("$c8", 8))
    await world.work()
    await world.hear(heard("$r8", "m.room.redaction", {}, redacts=EventId("$c8")))
    await world.work()
    assert (await world.recording()).state is RecordingState.INCOMPLETE
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=START))
    await world.work()
    assert (await world.recording()).state is RecordingState.DELETED


async def test_an_ended_recording_is_not_kept(world: World, compared: list[str]) -> None:
    """Memory is for what runs."""
    await world.begin(chunk("$c1", 1))
    await world.work()
    recording = await world.recording()
    compared.clear()
    async with world.store.read() as db:
        await world.store.chunks.of(db, recording.id)
    assert compared == ["chunks"]
    await world.hear(info("$stop", "stopped", last_chunk_sequence=1))
    await world.work()
    world.clock.pass_by(61)
    await world.work()
    compared.clear()
    async with world.store.read() as db:
        await world.store.chunks.of(db, recording.id)
    assert compared == []


async def test_frames_of_a_track_that_was_changed_meanwhile_are_not_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they are made the broadcast is redacted: its track is gone, and stays gone."""
    make = Rendering.make_to_end

    async def redacted_meanwhile(
        self: Rendering, first: int, frames: int, out: Path, warm: Warm | None = None
    ) -> tuple[Rendered, bytes]:
        await world.hear(heard("$r", "m.room.redaction", {}, redacts=START))
        return await make(self, first, frames, out, warm)

    monkeypatch.setattr(Rendering, "make_to_end", redacted_meanwhile)
    await world.begin(chunk("$c1", 1))
    with pytest.raises(TryLater, match="changed"):
        await world.work()
    recording = await world.recording()
    assert recording.state is RecordingState.DELETED
    async with world.store.read() as db:
        assert await tracks.track(db, recording.id) is None
    assert not list(world.store.blobs.scratch.iterdir())


# ---- growing


def sounds(draws: list[tuple[int, bool, bool]]) -> list[Piece]:
    """Chunks of so many packets each; silence, or a continuation of the one before."""
    return [
        Silence(Samples(960 * packets))
        if silent
        else Sound(BlobKey(f"{number:064}"), Container.OGG_OPUS, continues, Samples(960 * packets))
        for number, (packets, silent, continues) in enumerate(draws)
    ]


PIECES = st.lists(
    st.tuples(st.integers(1, 30), st.sampled_from([False, False, False, True]), st.booleans()), max_size=30
)


@given(PIECES, st.lists(st.integers(0, 30), max_size=4))
def test_a_track_that_grows_is_laid_out_as_one_that_was_there_at_once(
    draws: list[tuple[int, bool, bool]], stops: list[int]
) -> None:
    """However many pieces come at a time, and however short they are."""
    pieces = sounds(draws)
    whole = StoredTrack(Track(RecordingId(1), 1, 64, None, None, 0))
    for _, end in pairwise(sorted([0, *(min(stop, len(pieces)) for stop in stops), len(pieces)])):
        added = appended_cuts(whole, pieces[:end])
        assert added is not None
        whole = replace(whole, cuts=(*whole.cuts, *added), pieces=tuple(pieces[:end]))
    assert list(whole.cuts) == layout(pieces, FORM)


@given(PIECES, st.data())
def test_a_track_with_other_pieces_has_not_grown(draws: list[tuple[int, bool, bool]], data: st.DataObject) -> None:
    """A chunk that was there is shorter, or gone."""
    pieces = sounds([(1, False, False), *draws])
    whole = StoredTrack(Track(RecordingId(1), 1, 64, None, None, 0), tuple(layout(pieces, FORM)), tuple(pieces))
    index = data.draw(st.integers(0, len(pieces) - 1))
    piece = pieces[index]
    other = replace(piece, samples=Samples(piece.samples + 960))
    assert appended_cuts(whole, [*pieces[:index], other, *pieces[index + 1 :]]) is None
    assert appended_cuts(whole, pieces[:-1]) is None
