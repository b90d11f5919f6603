"""The rooms of one podcast, each the heir of the one before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy.exc import IntegrityError

from storage import heirs, rooms, tables
from storage.records import RoomId, Visibility
from storage.store import Store

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
A, B, C, D = (RoomId(f"!{name}:hs") for name in "abcd")


async def know(store: Store, *room_ids: RoomId) -> None:
    async with store.write() as db:
        for room_id in room_ids:
            await rooms.save_room(db, rooms.new_room(room_id, NOW))


async def inherit(store: Store, *pairs: tuple[RoomId, RoomId]) -> list[bool]:
    async with store.write() as db:
        return [await heirs.inherit(db, old, new) for old, new in pairs]


async def lines(store: Store, *room_ids: RoomId) -> list[tuple[RoomId, ...]]:
    async with store.read() as db:
        return [await heirs.line(db, room_id) for room_id in room_ids]


async def test_a_line_is_the_same_from_each_of_its_rooms(store: Store) -> None:
    """Two lines become one when the first room of one becomes the heir of the last of the other."""
    await know(store, A, B, C, D)
    assert await lines(store, A) == [(A,)]
    assert await inherit(store, (A, B), (C, D), (B, C)) == [True] * 3
    assert await lines(store, A, B, C, D) == [(A, B, C, D)] * 4
    async with store.read() as db:
        assert await heirs.present(db, A) == D


async def test_an_heir_is_for_good(store: Store) -> None:
    """A room inherits nothing when the old room has an heir, when it is one already, or when it is the heir of that
    room."""
    await know(store, A, B, C)
    assert await inherit(store, (A, B)) == [True]
    assert await inherit(store, (A, C), (C, B), (A, B)) == [False] * 3
    assert await lines(store, A, C) == [(A, B), (C,)]


async def test_a_line_is_no_ring(store: Store) -> None:
    """Neither a room that names itself nor the first room of a line that names its last inherits."""
    await know(store, A, B, C)
    assert await inherit(store, (A, A)) == [False]
    assert await inherit(store, (A, B), (B, C), (C, A)) == [True, True, False]
    assert await lines(store, A) == [(A, B, C)]


async def test_a_line_has_an_end(store: Store) -> None:
    """However often a room is upgraded, a look at its podcast takes a limited number of steps."""
    many = [RoomId(f"!{number}:hs") for number in range(heirs.MOST_ROOMS + 1)]
    await know(store, *many)
    given = await inherit(store, *pairwise(many))
    assert given == [True] * (heirs.MOST_ROOMS - 1) + [False]


async def test_what_is_not_known_inherits_nothing(store: Store) -> None:
    """Both rooms of a link must have rows, so that a line leads nowhere else."""
    await know(store, A)
    with pytest.raises(IntegrityError):
        await inherit(store, (A, B))


async def test_a_podcast_is_its_present_room_under_its_first_names(store: Store) -> None:
    """A podcast has key and GUID of the first room, the rights of the last, and a revision that rises with each of
    them."""
    await know(store, A, B)
    await inherit(store, (A, B))
    later = NOW + timedelta(hours=1)
    async with store.write() as db:
        first, last = await rooms.room(db, A), await rooms.room(db, B)
        assert first is not None
        assert last is not None
        last = replace(last, visibility=Visibility.PUBLIC, joined=True)
        await rooms.save_room(db, last)
        await rooms.touch(db, A, later)
        await rooms.touch(db, B, NOW)
        podcast = await heirs.podcast(db, (A, B))
        assert podcast == replace(last, key=first.key, podcast_guid=first.podcast_guid, revision=2, changed_at=later)
        assert (await heirs.podcast(db, (A, B), last)).key == last.key


async def test_all_public_podcasts_are_read_at_once(store: Store) -> None:
    """The public podcasts are those that are read one by one, each once; one with a pending heir is private."""
    await know(store, A, B, C)
    async with store.write() as db:
        for room_id in (A, B, C):
            room = await rooms.room(db, room_id)
            assert room is not None
            await rooms.save_room(db, replace(room, visibility=Visibility.PUBLIC))
        assert await heirs.inherit(db, C, B)
        await db.execute(tables.heirs.insert().values(room_id=A, heir=C, confirmed=False))
        found = await heirs.public_podcasts(db)
        assert found == [((room, *more), await heirs.podcast(db, (room, *more))) for room, *more in ((A,), (C, B))]
        assert [podcast.visibility for _, podcast in found] == [Visibility.PRIVATE, Visibility.PUBLIC]
