"""Gaps in timelines: found by a sync, read page by page by one job for each room, given up after a week or 5,000 pages.

A gap that can't be read for ten minutes is overdue: no event waits for it any more, and events that it may hide are
looked for in the room's state and in the known broadcasts. The homeserver is still asked for it for a week, and events
that it returns then get their positions in the gap.

The events of a page are placed before everything that was heard after the gap. They count as history: they change no
state, and commands among them are not carried out. A walk ends at the token, or the event, that was heard before the
gap.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot import dialects, facts, orders
from bot.dialects.events import Event
from bot.dialects.members import change_of
from bot.dialects.redaction import judged
from bot.dialects.state import kept_state, stands_at
from bot.event_types import MEMBER
from bot.intake import catching_up, consent, floor_marks, missed, roomstate, studio_events
from bot.intake.isolation import isolated
from bot.matrix.batch import RoomBatch
from bot.recording.model import Redacted, Rejected
from storage import gaps, jobs, journal, replays, rooms
from storage.database import Connection
from storage.records import EventId, HeardEvent, Position, Room, RoomId, TimelineGap, UserId

log = logging.getLogger(__name__)

HOLD = timedelta(seconds=15)
"""The time for which events heard after a gap wait for it. Longer, and the bot would fall behind the room."""
GIVEN_UP_AFTER = timedelta(days=7)
MOST_PAGES = 5_000
MOST_AT_ONCE = 20  # gaps of one room that are read
MOST_UNCLAIMED = 2_000  # chunks of unknown broadcasts in one gap
MOST_CHARACTERS_UNCLAIMED = 8_192  # of the JSON of an event

Wanted = Callable[[Connection, HeardEvent, Event | Rejected | None, TimelineGap], Awaitable[bool]]
"""A function that decides whether to keep an event of a gap, given a dialect's reading of it."""


async def without_what_was_heard(db: Connection, batch: RoomBatch) -> RoomBatch:
    """Return the batch of a room that the sync shows as new, without the events up to the newest one heard, and without
    a gap, if that event is in the timeline."""
    if batch.limited is None or batch.limited.until_token is not None or not batch.timeline:
        return batch
    newest = await gaps.newest(db, batch.room_id)
    places = [index for index, heard in enumerate(batch.timeline) if heard.event_id == newest]
    return replace(batch, timeline=batch.timeline[places[-1] + 1 :], limited=None) if places else batch


async def see(db: Connection, room: Room, batch: RoomBatch, us: UserId, now: datetime) -> TimelineGap | None:
    """Store the batch's gap, before any event of the batch is handled. Return None where there is no gap to read."""
    if batch.limited is None:
        return None
    until_token, until_event = batch.limited.until_token, None
    if not room.joined:
        until_token, until_event = None, _own_join(batch, us)
        if until_event is None:
            return None  # the timeline reaches back to when the bot joined
    elif until_token is None:
        until_event = await gaps.newest(db, room.room_id)
    low = await journal.position(db)
    gap = await gaps.open_gap(
        db,
        room.room_id,
        cursor=batch.limited.cursor,
        until_token=until_token,
        until_event=until_event,
        low=low,
        hold_until=now + HOLD,
        now=now,
    )
    endless = until_token is None and until_event is None
    if endless or len(await gaps.walking(db, room.room_id)) > MOST_AT_ONCE:
        await close(db, gap, now, whole=False)
    else:
        await jobs.add(db, orders.Walk(room.room_id).job(), now)
    return gap


def _own_join(batch: RoomBatch, us: UserId) -> EventId | None:
    """Return the event by which the bot joined, if it comes before the timeline."""
    own = [event for event in batch.before if stands_at(event, MEMBER, us)]
    member = kept_state(batch.room_id, own[-1]) if own else None
    later = any(change_of(heard, us) for heard in batch.timeline)
    return member.event_id if member is not None and facts.is_joined(member) and not later else None


async def take_page(
    db: Connection,
    gap: TimelineGap,
    newest_first: Sequence[HeardEvent],
    next_cursor: str | None,
    now: datetime,
    wanted: Wanted,
    us: UserId,
) -> None:
    """Store the wanted events of a page, and the walk's progress. `next_cursor`: where the next page begins,
    None where there is none."""
    ids = [heard.event_id for heard in newest_first]
    met = gap.until_event in ids
    page = newest_first[: ids.index(gap.until_event)] if met and gap.until_event else newest_first
    first = Position(gap.next_position - len(page) + 1)
    if first <= gap.low:
        await close(db, gap, now, whole=False)
        return
    gap = replace(gap, next_position=Position(first - 1), pages=gap.pages + 1)
    originals = {heard.event_id for heard in await replays.originals(db, page[::-1], now)}
    for place, heard in enumerate(reversed(page), start=first):
        if heard.event_id in originals:
            async with isolated(db, heard.room_id, heard.event_id):
                await catching_up.own_message(db, us, heard, now)
                await studio_events.came_back(db, us, heard, now)
                if not heard.encrypted:
                    await floor_marks.note(db, us, heard.room_id, heard.event, Position(place), now)
                await _take_event(db, gap, heard, Position(place), now, wanted)
    gap = replace(gap, unclaimed=(await gaps.get(db, gap.id) or gap).unclaimed)
    if met or next_cursor is None:
        await close(db, gap, now, whole=met or gap.until_event is None)
    elif next_cursor in (gap.mark, gap.cursor):
        log.warning("the history of a room has a circle: room=%s", gap.room_id)
        await close(db, gap, now, whole=False)
    else:
        # Brent's algorithm finds a circle: one earlier cursor is kept, and replaced at each power of two.
        mark = gap.cursor if gap.pages & (gap.pages - 1) == 0 else gap.mark
        await gaps.save(db, replace(gap, cursor=next_cursor, mark=mark))


async def _take_event(
    db: Connection, gap: TimelineGap, heard: HeardEvent, place: Position, now: datetime, wanted: Wanted
) -> None:
    event = dialects.read(heard)
    keep = await wanted(db, heard, event, gap)
    if not keep and not await consent.may_be_gathered(db, heard, event):
        return
    # The power that a redaction's sender had then is not known: the gap may hide that too.
    raw = judged(heard.event, None) if isinstance(event, Redacted) else heard.event
    position = await journal.add(db, replace(heard, event=raw, history=True), now, keep=keep, position=place)
    if position is not None and isinstance(event, Redacted):
        await roomstate.redact(db, heard.room_id, event, position, now)


async def claim(db: Connection, gap: TimelineGap, heard: HeardEvent) -> bool:
    """Return whether to keep a chunk of an unknown broadcast, which may begin further back: at most 2,000 in a gap."""
    current = await gaps.get(db, gap.id)
    if current is None or current.unclaimed >= MOST_UNCLAIMED or len(str(heard.event)) > MOST_CHARACTERS_UNCLAIMED:
        return False
    await gaps.save(db, replace(current, unclaimed=current.unclaimed + 1))
    return True


async def close(db: Connection, gap: TimelineGap, now: datetime, *, whole: bool) -> None:
    """End a walk. Missing events are looked for in the room's state and, where the walk is not `whole`, among the
    events that refer to known broadcasts."""
    await gaps.save(db, replace(gap, walking=False))
    await jobs.add(db, orders.Refresh(gap.room_id).job(), now)
    if whole:
        log.info("timeline gap read: room=%s pages=%d", gap.room_id, gap.pages)
        return
    log.warning("timeline gap given up: room=%s pages=%d", gap.room_id, gap.pages)
    await catching_up.not_walked(db, gap.room_id)
    await missed.look_again(db, gap.room_id, now)


async def do_without(db: Connection, gap: TimelineGap, now: datetime) -> None:
    """Look elsewhere for events that an overdue gap may hide."""
    await jobs.add(db, orders.Refresh(gap.room_id).job(), now)
    await missed.look_again(db, gap.room_id, now)


def is_endless(gap: TimelineGap) -> bool:
    """Return whether the gap has more pages than any real one."""
    return gap.pages >= MOST_PAGES


def is_overdue(gap: TimelineGap, now: datetime) -> bool:
    """Return whether events no longer wait for the gap."""
    return now - gap.seen_at >= gaps.OVERDUE_AFTER


def is_hopeless(gap: TimelineGap, now: datetime) -> bool:
    """Return whether the gap could not be read for a week."""
    return now - gap.seen_at > GIVEN_UP_AFTER


async def holding(db: Connection, room_id: RoomId, now: datetime) -> TimelineGap | None:
    """Return a gap that all new events of the room wait for."""
    return next((gap for gap in await gaps.walking(db, room_id) if gap.hold_until > now), None)


async def ask_for_next_page(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Order the next page of this room, to be read when its turn comes."""
    if await gaps.walking(db, room_id):
        await jobs.add(db, orders.Walk(room_id).job(), now)


async def oldest(db: Connection, room_id: RoomId) -> TimelineGap | None:
    """Return the room's gap to read first; None without one, or where the bot is out of the room."""
    walking = await gaps.walking(db, room_id)
    room = await rooms.room(db, room_id) if walking else None
    return walking[0] if room is not None and room.joined else None
