"""The intake: it stores the events of a sync, with its token, in one transaction. Other modules act on them.

`selection` decides which events are kept. Room state goes into tables of our own (`roomstate`); `arrival` handles the
bot's own membership.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from bot import dialects, facts, orders
from bot.dialects.fields import type_of
from bot.event_types import CREATE, MEMBER
from bot.intake import arrival, floor_marks, gapwalk, missed, roomstate, succession
from bot.intake.isolation import Guard, isolated, unguarded
from bot.intake.opening import Decrypt, open_sealed
from bot.intake.selection import Grammar, Selection
from bot.intake.sticky import StickyEvents
from bot.intake.succession import Publishes
from bot.intake.timeline import TimelineReader, before_us
from bot.matrix.batch import RoomBatch, SyncBatch
from storage import gaps, jobs, journal, rooms, withheld_keys
from storage.database import Connection
from storage.errors import StoreError
from storage.records import EventId, HeardEvent, Json, Position, Room, RoomId, TimelineGap, UserId
from storage.store import Store

log = logging.getLogger(__name__)


class Intake:
    """The session's sink. `decrypt` tries a kept wrapper again; `publishes` tells which of a room's moderators may make
    its podcast public."""

    def __init__(
        self,
        store: Store,
        user_id: UserId,
        *,
        decrypt: Decrypt,
        grammar: Grammar,
        publishes: Publishes,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._user_id = user_id
        self._decrypt = decrypt
        self._publishes = publishes
        self._clock = clock
        self._selection = Selection(user_id, grammar, clock)
        self._timelines = TimelineReader(user_id, self._selection)
        self._sticky = StickyEvents(decrypt)

    async def since(self) -> str | None:
        """Return the token of the last sync that was stored."""
        async with self._store.read() as db:
            return await journal.get(db, journal.SYNC_TOKEN)

    async def encrypted_rooms(self) -> frozenset[RoomId]:
        async with self._store.read() as db:
            return await rooms.encrypted_rooms(db)

    async def take(self, batch: SyncBatch) -> None:
        """Store all of the batch and its token, or nothing. Raises StoreError.

        An event that fails because of a bug of ours is left out and named in the log: it must not stop the bot
        permanently.
        """
        try:
            await self._take(batch, unguarded)
        except StoreError:
            raise
        except Exception as error:
            log.error("batch can't be handled as a whole, handling its parts one by one (%s)", type(error).__name__)
            await self._take(batch, isolated)

    async def _take(self, batch: SyncBatch, guard: Guard) -> None:
        now = self._clock()
        self._selection.begin()
        async with self._store.write() as db:
            for invite in batch.invites:
                async with guard(db, invite.room_id, None):
                    await arrival.invited(db, invite, now)
            await jobs.cancel(db, map(orders.Invite.about, batch.retracted))
            for room in batch.rooms:
                async with guard(db, room.room_id, None):
                    await self._take_room(db, room, now, guard)
                    if room.joined and _may_make_a_line(room):
                        await self._settle(db, room.room_id, now)
                if batch.without_members and room.joined:
                    await jobs.add(db, orders.Refresh(room.room_id).job(), now)
            if batch.anew:  # covers rooms that the answer lacks too: the bot may be out of them
                await roomstate.ask_for_all(db, now)
            await withheld_keys.note(db, batch.withheld, now)
            if batch.new_keys:
                sealed = await journal.sealed(db, batch.new_keys)
                await open_sealed(db, sealed, self._decrypt, now, guard)
                await self._sticky.open(db, now, guard, batch.new_keys)
            await journal.put(db, journal.SYNC_TOKEN, batch.next_batch)
        self._selection.end()

    async def _take_room(self, db: Connection, batch: RoomBatch, now: datetime, guard: Guard) -> None:
        known = await rooms.room(db, batch.room_id)
        room = known or rooms.new_room(batch.room_id, now)
        if known is None:
            await rooms.save_room(db, room)
        batch = await gapwalk.without_what_was_heard(db, batch)
        before = await before_us(db, batch, self._user_id)
        gap = await gapwalk.see(db, room, batch, self._user_id, now) if batch.joined else None
        behind = await self._take_block(db, room, batch, gap, now, guard)
        await self._timelines.read(db, batch.timeline, before, now, guard)
        if batch.timeline:
            await gaps.note_newest(db, batch.room_id, batch.timeline[-1].event_id)
        if batch.joined and not room.joined:
            await arrival.joined(db, batch.room_id, now, us=self._user_id, publishes=self._publishes)
        elif not batch.joined and (room.joined or known is None):
            await arrival.removed(db, batch.room_id, now)
        elif not batch.joined:
            await rooms.forget_state(db, batch.room_id)  # removed earlier and banned now, for example
        elif behind:
            await jobs.add(db, orders.Refresh(batch.room_id).job(now + roomstate.SIDE_BY_SIDE), now)
        if batch.joined:
            await self._sticky.take(db, batch.room_id, batch.sticky, now)

    async def _take_block(
        self, db: Connection, room: Room, batch: RoomBatch, gap: TimelineGap | None, now: datetime, guard: Guard
    ) -> bool:
        """Apply the state block, which is older than the timeline and newer than the gap. Return whether it may
        take back state that was heard later.

        What may take back waits for the present state: two events that are sent at once stand side by side in a room,
        and a sync that ends with the one shows the state without the other.
        """
        before = batch.before
        if gap is not None and room.joined:
            # Broadcasts that the state names are read once the gap was read, which may hold them.
            before = tuple(event for event in before if type_of(event) not in dialects.INFOS)
        elif batch.joined:
            await missed.look(db, room, before, now, guard)
        at, beside = await journal.position(db), batch.limited is None and bool(batch.timeline)
        comes = {heard.event_id for heard in batch.timeline} if beside else frozenset[EventId]()
        ahead, is_behind = [], False
        for event in before:
            if not room.joined:
                ahead.append(event)
            elif str(event.get("event_id")) in comes:
                continue  # some homeservers show new state in both places
            elif await roomstate.is_behind(db, batch.room_id, event, beside=beside):
                is_behind = True
            else:
                ahead.append(event)
                await floor_marks.note(db, self._user_id, batch.room_id, event, at, now)
        await roomstate.apply_block(db, batch.room_id, ahead, at, now, guard)
        return is_behind

    async def _settle(self, db: Connection, room_id: RoomId, now: datetime) -> None:
        await succession.settle(db, room_id, now, publishes=self._publishes)

    # ---- after a start, and in between

    async def open_all(self) -> None:
        """Decrypt stored events where possible: keys may have come since they were last tried. Raises StoreError."""
        async with self._store.write() as db:
            await open_sealed(db, await journal.sealed(db), self._decrypt, self._clock(), isolated)
            await self._sticky.open(db, self._clock(), isolated)

    async def ask_for_state(self) -> None:
        """Order a fresh reading of every room's state, rooms with a live broadcast first. Raises StoreError."""
        now = self._clock()
        async with self._store.write() as db:
            await roomstate.ask_for_all(db, now)

    async def refresh(self, room_id: RoomId, events: Sequence[Json], asked_at: Position) -> None:
        """Apply a room's whole current state, as the homeserver had it when the journal stood at `asked_at`. Raises
        StoreError."""
        now = self._clock()
        async with self._store.write() as db:
            await roomstate.refresh(db, room_id, events, asked_at, now, us=self._user_id)
            if (room := await rooms.room(db, room_id)) is not None and room.joined:
                await arrival.leave_space(db, room_id, now)
            if any(type_of(event) == CREATE for event in events):
                await succession.judge_pending(db, room_id, now)
            await self._settle(db, room_id, now)
            own = await rooms.state(db, room_id, MEMBER, self._user_id)
            room = await rooms.room(db, room_id)
            if room is not None and room.joined and own is not None and not facts.is_joined(own):
                await arrival.removed(db, room_id, now)  # no sync showed it

    # ---- gaps

    async def take_page(self, gap: TimelineGap, newest_first: Sequence[HeardEvent], next_cursor: str | None) -> None:
        """Store the wanted events of a page of a gap, and the walk's progress. Raises StoreError."""
        now = self._clock()
        self._selection.begin()
        async with self._store.write() as db:
            current = await gaps.get(db, gap.id)
            if current == gap and gap.walking:
                await gapwalk.take_page(db, gap, newest_first, next_cursor, now, self._selection.wants, self._user_id)
                await gapwalk.ask_for_next_page(db, gap.room_id, now)
        self._selection.end()

    async def do_without(self, gap: TimelineGap) -> None:
        """Look elsewhere for events that an overdue gap hides. Raises StoreError."""
        now = self._clock()
        async with self._store.write() as db:
            if await gaps.get(db, gap.id) is not None:
                await gapwalk.do_without(db, gap, now)

    async def give_up(self, gap: TimelineGap) -> None:
        """Close a gap whose rest can't be read. Raises StoreError."""
        now = self._clock()
        async with self._store.write() as db:
            if await gaps.get(db, gap.id) is not None:
                await gapwalk.close(db, gap, now, whole=False)
                await gapwalk.ask_for_next_page(db, gap.room_id, now)


def _may_make_a_line(batch: RoomBatch) -> bool:
    """Return whether the batch holds state that an heir depends on."""
    events = [*batch.before, *(heard.event for heard in batch.timeline if not heard.encrypted)]
    return any(type_of(event) in succession.MADE_OF for event in events)
