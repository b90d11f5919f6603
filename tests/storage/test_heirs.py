"""The rooms of one podcast, one the heir of the other."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy.exc import IntegrityError

from storage import heirs, rooms
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
    """Two lines that grew apart are one when the end of one gets the beginning of the other for its heir."""
    await know(store, A, B, C, D)
    assert await lines(store, A) == [(A,)]
    assert await inherit(store, (A, B), (C, D), (B, C)) == [True] * 3
    assert await lines(store, A, B, C, D) == [(A, B, C, D)] * 4
    async with store.read() as db:
        assert await heirs.present(db, A) == D


async def test_an_heir_is_for_good(store: Store) -> None:
    """A second claimant gets nothing, nor does a room that is an heir already, nor the same pair again."""
    await know(store, A, B, C)
    assert await inherit(store, (A, B)) == [True]
    assert await inherit(store, (A, C), (C, B), (A, B)) == [False] * 3
    assert await lines(store, A, C) == [(A, B), (C,)]


async def test_a_line_is_no_ring(store: Store) -> None:
    """Neither a room that names itself nor the first of a line that names the last of it."""
    await know(store, A, B, C)
    assert await inherit(store, (A, A)) == [False]
    assert await inherit(store, (A, B), (B, C), (C, A)) == [True, True, False]
    assert await lines(store, A) == [(A, B, C)]


async def test_a_line_has_an_end(store: Store) -> None:
    """However often a room is upgraded, a look at its podcast takes a bounded number of steps."""
    many = [RoomId(f"!{number}:hs") for number in range(heirs.MOST_ROOMS + 1)]
    await know(store, *many)
    given = await inherit(store, *pairwise(many))
    assert given == [True] * (heirs.MOST_ROOMS - 1) + [False]


async def test_what_is_not_known_inherits_nothing(store: Store) -> None:
    """Both rooms of a pair have their rows: a line leads nowhere else."""
    await know(store, A)
    with pytest.raises(IntegrityError):
        await inherit(store, (A, B))


async def test_a_podcast_is_its_present_room_under_its_first_names(store: Store) -> None:
    """Key and GUID of the first, rights of the last, and a revision that rises with each of them."""
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
