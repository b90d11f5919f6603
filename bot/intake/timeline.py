"""Timelines of rooms, event by event: selected events go into the journal, state into tables of our own."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from bot import dialects, facts, orders, rules
from bot.dialects.events import MembershipChanged
from bot.dialects.fields import sender_of, type_of
from bot.dialects.members import change_of
from bot.dialects.redaction import judged
from bot.dialects.state import is_kept
from bot.event_types import MEMBER
from bot.intake import catching_up, consent, floor_marks, greeting, panels, questions, roomstate, studio_events
from bot.intake.isolation import Guard
from bot.intake.selection import Selection
from bot.matrix.batch import RoomBatch
from bot.recording.model import Redacted
from storage import jobs, journal, replays, rooms
from storage.database import Connection
from storage.records import EventId, HeardEvent, UserId

log = logging.getLogger(__name__)

HEARD_AT_ONCE = 50  # events handled before the event loop gets a turn


async def before_us(db: Connection, batch: RoomBatch, us: UserId) -> frozenset[EventId]:
    """Return the events from before the join in the timeline of a room that the bot is joining.

    They were sent before the bot could record, so only their state counts (a search of the history finds broadcasts
    among them).
    """
    known = await rooms.state(db, batch.room_id, MEMBER, us)
    was_in = facts.is_joined(known)
    for index in range(len(batch.timeline) - 1, -1, -1):
        change = change_of(batch.timeline[index], us)
        if change is None or not change.joined:
            continue
        again = known is not None and known.event_id == batch.timeline[index].event_id  # a new room can come twice
        if again or not was_in:
            return frozenset(earlier.event_id for earlier in batch.timeline[:index])
    # Out of the room before and after (a ban was lifted): events in between do not concern the bot.
    unheard = () if batch.joined or was_in else batch.timeline
    return frozenset(heard.event_id for heard in unheard)


class TimelineReader:
    """The reader of all rooms' timelines."""

    def __init__(self, us: UserId, selection: Selection) -> None:
        self._us = us
        self._selection = selection

    async def read(
        self, db: Connection, events: Sequence[HeardEvent], before: Collection[EventId], now: datetime, guard: Guard
    ) -> None:
        """Handle the events of one timeline, in order. Of the events in `before` only state is used."""
        originals = await replays.originals(db, events, now)
        if len(originals) < len(events):
            said = "messages ignored, sent again under other ids: room=%s events=%d"
            log.warning(said, events[0].room_id, len(events) - len(originals))
        for number, heard in enumerate(originals):
            async with guard(db, heard.room_id, heard.event_id):
                await self._hear(db, heard, now, before_us=heard.event_id in before)
            if number % HEARD_AT_ONCE == HEARD_AT_ONCE - 1:
                await asyncio.sleep(0)  # thousands of events may be ignored without any other await

    async def _hear(self, db: Connection, heard: HeardEvent, now: datetime, *, before_us: bool) -> None:
        kind, ours = type_of(heard.event), sender_of(heard.event) == self._us
        if ours:
            await catching_up.own_message(db, self._us, heard, now)
            await studio_events.came_back(db, self._us, heard, now)
        if ours and kind in greeting.SAID_AS and not before_us:
            await greeting.heard(db, heard, now)
            await questions.heard(db, heard, now)
            await panels.heard(db, heard, now)
        event = dialects.read(heard)
        if isinstance(event, Redacted):
            heard, event = await _judge(db, heard, event)
        keep = not before_us and await self._selection.wants(db, heard, event)
        is_state = is_kept(heard)
        gathered = not (before_us or ours) and await consent.may_be_gathered(db, heard, event)
        if not (keep or is_state or gathered):
            return
        # A broadcast from before the bot joined gets no position here: a search of the history gives it one.
        place = journal.position(db) if before_us and kind in dialects.INFOS else journal.add(db, heard, now, keep=keep)
        position = await place
        if is_state:
            # Also for an event that was heard before: a new room can come twice, with older state first.
            position = position or await journal.position_of(db, heard.event_id)
            assert position is not None
            if (again := await roomstate.doubted_at(db, heard.room_id, heard.event, now)) is not None:
                await jobs.add(db, orders.Refresh(heard.room_id).job(again), now)
            await roomstate.apply_state(db, heard.room_id, heard.event, position, now)
            await floor_marks.note(db, self._us, heard.room_id, heard.event, position, now)
        match event:
            case MembershipChanged(user=user, joined=True):
                await roomstate.hasten(db, heard.room_id, {user}, now)
            case Redacted() if position is not None:
                await roomstate.redact(db, heard.room_id, event, position, now)


async def _judge(db: Connection, heard: HeardEvent, redaction: Redacted) -> tuple[HeardEvent, Redacted]:
    """Return the redaction with its sender's present power: state that is sent after it does not count for it."""
    may = rules.may_redact_others(redaction.sender, await rooms.power(db, heard.room_id))
    return replace(heard, event=judged(heard.event, may)), replace(redaction, may=may)
