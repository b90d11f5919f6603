"""Tests of gaps in timelines as they are stored, with either database."""

from datetime import UTC, datetime, timedelta

from storage import gaps, journal
from storage.records import EventId, HeardEvent, Position, RoomId
from storage.store import Store

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ROOM = RoomId("!room:hs")


async def _hear(store: Store, event_id: str) -> Position:
    async with store.write() as db:
        position = await journal.add(db, HeardEvent(ROOM, EventId(event_id), {}), NOW)
    assert position is not None
    return position


async def _gap(store: Store) -> tuple[Position, Position]:
    """Open a gap and return the positions between which its events lie."""
    async with store.write() as db:
        gap = await gaps.open_gap(
            db,
            ROOM,
            cursor="p",
            until_token="s",
            until_event=None,
            low=await journal.position(db),
            hold_until=NOW + timedelta(seconds=15),
            now=NOW,
        )
        return gap.low, gap.next_position


async def test_what_is_heard_after_a_gap_is_placed_behind_it(store: Store) -> None:
    """Each event that is heard after a gap has a position behind all those that the gap reserved, in the order in which
    they were heard; a second gap is behind them."""
    before = await _hear(store, "$before")
    first_low, first_high = await _gap(store)
    first, second = await _hear(store, "$first"), await _hear(store, "$second")
    second_low, second_high = await _gap(store)
    third = await _hear(store, "$third")
    assert before == first_low < first_high < first < second == second_low < second_high < third
