"""Tracks: the places of their frames, their editions and levels."""

from dataclasses import replace

import pytest

from storage import archive, rooms, tracks
from storage.records import BlobKey, Container, Cut, Extent, Position, RecordingId, Samples, Track
from storage.store import Store
from tests.storage.test_archive import NOW, ROOM, recording

BLOB = BlobKey("b" * 64)


@pytest.fixture
async def track(store: Store) -> RecordingId:
    """Add an empty track."""
    async with store.write() as db:
        await rooms.save_room(db, rooms.new_room(ROOM, NOW))
        made = await archive.add_recording(db, recording("$e"))
        await tracks.save(db, Track(made.id, 1, 64, None, None, 0))
    return made.id


@pytest.mark.parametrize(
    ("places", "reach"),
    [
        ([], 0),
        ([(0, 10)], 10),
        ([(0, 10), (10, 5), (15, 1)], 16),
        ([(0, 10), (12, 5)], 10),
        ([(0, 10), (10, 5), (20, 5), (25, 5)], 15),
        ([(3, 10)], 0),
    ],
)
async def test_how_far_the_frames_reach(
    store: Store, track: RecordingId, places: list[tuple[int, int]], reach: int
) -> None:
    """Frames count from the beginning up to the first hole."""
    async with store.write() as db:
        for first, frames in places:
            await tracks.add_extent(db, track, Extent(first, frames, BLOB, 0))
        assert await tracks.reach(db, track) == reach


async def test_extents_of_some_frames(store: Store, track: RecordingId) -> None:
    """Only the extents that hold one of the frames are returned, in their order."""
    extents = [Extent(first, 10, BLOB, first) for first in (0, 10, 20, 30)]
    async with store.write() as db:
        for extent in reversed(extents):
            await tracks.add_extent(db, track, extent)
        assert await tracks.extents_of(db, track, 10, 21) == tuple(extents[1:3])
        assert await tracks.extents_of(db, track, 40, 50) == ()


async def test_a_track_holds_while_all_of_its_sound_is_stored(store: Store, track: RecordingId) -> None:
    """A track may be heard while each of its sounds is in a chunk of this recording; silence always may."""
    silence = Cut(0, "0" * 64, Samples(48_000), None, Container.UNKNOWN, continues=False)
    sound = Cut(1, "1" * 64, Samples(48_000), BLOB, Container.WAV, continues=False)
    async with store.write() as db:
        await tracks.add_cuts(db, track, [silence])
        assert await tracks.holds(db, track)
        await tracks.add_cuts(db, track, [sound])
        assert not await tracks.holds(db, track)


async def test_every_writer_gives_a_track_another_edition(store: Store, track: RecordingId) -> None:
    """Every write to a track changes its edition; a track that does not exist has none."""
    cut = Cut(0, "0" * 64, Samples(48_000), None, Container.UNKNOWN, continues=False)
    extent = Extent(0, 10, BLOB, 0)
    async with store.write() as db:
        stored = await tracks.track(db, track)
        assert stored is not None
        editions = [await tracks.edition(db, track)]
        for written in (
            tracks.save(db, stored),
            tracks.add_cuts(db, track, [cut]),
            tracks.decide(db, track, [(cut, b"")]),
            tracks.replace_cuts(db, track, [cut], {0: 0}),
            tracks.add_extent(db, track, extent),
            tracks.replace_extents(db, track, [extent]),
        ):
            await written
            editions.append(await tracks.edition(db, track))
        assert len(set(editions)) == 7
        assert await tracks.track(db, track) == stored
        await tracks.empty(db, track)
        assert await tracks.edition(db, track) not in {None, *editions}
        await tracks.forget(db, track)
        assert await tracks.edition(db, track) is None


async def test_a_level_goes_on_from_an_earlier_recording_of_the_room(store: Store, track: RecordingId) -> None:
    """A recording begins at the level of the newest one before it, never of a later one, so that a rebuilt episode
    begins as it began."""
    async with store.write() as db:
        mine = await archive.recording(db, track)
        assert mine is not None
        for name, places in (("$before", -2), ("$older", -5), ("$after", 3)):
            other = replace(recording(name), position=Position(mine.position + places))
            made = await archive.add_recording(db, other)
            await tracks.save(db, Track(made.id, 1, 64, -16.0, None, 0))
            cut = Cut(0, name, Samples(1), None, Container.UNKNOWN, continues=False, gains=b"", level=name)
            await tracks.add_cuts(db, made.id, [cut])
        assert await tracks.last_level(db, mine, -16.0) == "$before"
        assert await tracks.last_level(db, mine, -18.0) is None
        assert await tracks.last_level(db, mine, None) is None
