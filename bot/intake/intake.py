"""Writes down what a sync brought, with its token, in one transaction; nothing is done about it here.

What is kept is what recordings need: info and chunk events, redactions, commands, departures. An event that can't
be read is kept as its wrapper, and only where it may belong to a broadcast. Room state goes into tables of our own
(`roomstate`); what the bot's own coming and going asks for stands in `arrival`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bot import dialects, rules, words
from bot.dialects import redaction
from bot.dialects.events import MembershipChanged, TextMessage
from bot.intake import arrival, gapwalk, greeting, missed, roomstate, succession
from bot.intake.claims import Claims
from bot.intake.mentions import name_in
from bot.intake.piecewise import Part, as_piece, as_whole
from bot.intake.shares import Share, Shares
from bot.intake.succession import Publishes
from bot.intake.unheard import Asking
from bot.matrix.batch import RoomBatch, SyncBatch
from bot.recording.model import BroadcastChanged, ChunkSealed, ChunkSent, Redacted, Rejected, VoiceMessage
from storage import archive, gaps, jobs, journal, orphans, replays, rooms, withheld_keys
from storage.database import Connection
from storage.errors import StoreError
from storage.records import EventId, HeardEvent, JobKind, Json, NewJob, Position, Room, RoomId, TimelineGap, UserId
from storage.store import Store

log = logging.getLogger(__name__)

TRIED_AT_ONCE = 50  # sealed events before others have their turn
HEARD_AT_ONCE = 50  # events of a timeline

Decrypt = Callable[[HeardEvent], HeardEvent | None]
IsCommand = Callable[[str, str | None], bool]


class Intake:
    """The session's sink. `decrypt` tries a kept wrapper again; `is_command` is asked of a
    message's body, with the bot's display name where the message mentions it; `publishes` who of a room's moderators
    may make it public."""

    def __init__(
        self,
        store: Store,
        user_id: UserId,
        *,
        decrypt: Decrypt,
        is_command: IsCommand,
        publishes: Publishes,
        prefix: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._user_id = user_id
        self._decrypt = decrypt
        self._is_command = is_command
        self._publishes = publishes
        self._prefix = prefix
        self._clock = clock
        self._claims = Claims(clock())
        self._shares = Shares()
        self._asking = Asking()

    async def since(self) -> str | None:
        async with self._store.read() as db:
            return await journal.get(db, journal.SYNC_TOKEN)

    async def encrypted_rooms(self) -> frozenset[RoomId]:
        async with self._store.read() as db:
            return await rooms.encrypted_rooms(db)

    async def take(self, batch: SyncBatch) -> None:
        """All of the batch and its token, or nothing of it. Raises StoreError.

        What a mistake of ours can't take is left out and named in the log: it must not silence the bot for ever.
        """
        try:
            await self._take(batch, as_whole)
        except StoreError:
            raise
        except Exception as error:
            log.error("what was heard is taken piece by piece: it can't be taken as a whole (%s)", type(error).__name__)
            await self._take(batch, as_piece)

    async def _take(self, batch: SyncBatch, part: Part) -> None:
        now = self._clock()
        self._claims = Claims(now)
        async with self._store.write() as db:
            for invite in batch.invites:
                async with part(db, invite.room_id, None):
                    await arrival.invited(db, invite, now)
            await jobs.cancel(db, JobKind.INVITE, list(batch.retracted))
            for room in batch.rooms:
                async with part(db, room.room_id, None):
                    await self._room(db, room, now, part)
                    if room.joined and _may_make_a_line(room):
                        await self._settle(db, room.room_id, now)
                if batch.without_members and room.joined:
                    await jobs.add(db, NewJob(JobKind.REFRESH, room.room_id, {}), now)
            if batch.anew:  # also of rooms that are not in it: the bot may be out of them
                await roomstate.ask_for_all(db, now)
            await withheld_keys.note(db, batch.withheld, now)
            if batch.new_keys:
                await self._open(db, await journal.sealed(db, batch.new_keys), part)
            await journal.put(db, journal.SYNC_TOKEN, batch.next_batch)
        self._claims.tell()

    async def open_all(self) -> None:
        """After a start: keys may have come that no event was tried with. Raises StoreError."""
        async with self._store.write() as db:
            await self._open(db, await journal.sealed(db), as_piece)

    async def _open(self, db: Connection, sealed: tuple[HeardEvent, ...], part: Part) -> None:
        for number, heard in enumerate(sealed):
            opened = self._decrypt(heard)
            if opened is not None:
                async with part(db, heard.room_id, heard.event_id):
                    original = await replays.originals(db, [opened], self._clock())
                    await journal.unseal(db, _without_words(opened, copy=not original))
                log.info("a key came: room=%s event=%s", heard.room_id, heard.event_id)
            elif number % TRIED_AT_ONCE == TRIED_AT_ONCE - 1:
                await asyncio.sleep(0)

    async def _room(self, db: Connection, batch: RoomBatch, now: datetime, part: Part) -> None:
        known = await rooms.room(db, batch.room_id)
        room = known or rooms.new_room(batch.room_id, now)
        if known is None:
            await rooms.save_room(db, room)
        batch = await gapwalk.without_what_was_heard(db, batch)
        before_us = await self._before_us(db, batch)
        gap = await gapwalk.see(db, room, batch, self._user_id, now) if batch.joined else None
        behind = await self._block(db, room, batch, gap, now, part)
        await self._timeline(db, batch.timeline, before_us, now, part)
        if batch.timeline:
            await gaps.note_newest(db, batch.room_id, batch.timeline[-1].event_id)
        if batch.joined and not room.joined:
            await arrival.joined(
                db, batch.room_id, now, us=self._user_id, prefix=self._prefix, publishes=self._publishes
            )
        elif not batch.joined and (room.joined or known is None):
            await arrival.removed(db, batch.room_id, now)
        elif not batch.joined:
            await rooms.forget_state(db, batch.room_id)  # removed before, and now banned, for example
        elif behind:
            await jobs.add(db, NewJob(JobKind.REFRESH, batch.room_id, {}), now)

    async def _block(
        self, db: Connection, room: Room, batch: RoomBatch, gap: TimelineGap | None, now: datetime, part: Part
    ) -> bool:
        """Takes the state block, which is older than the timeline and newer than the gap; whether it takes back what
        was heard later."""
        before = batch.before
        if gap is not None and room.joined:
            # What the state tells of broadcasts is looked at when the gap was read: it may hold them.
            before = tuple(event for event in before if event.get("type") not in dialects.INFOS)
        elif batch.joined:
            await missed.look(db, room, before, now, part)
        behind = False
        if room.joined:
            for event in before:
                behind = behind or await roomstate.is_behind(db, batch.room_id, event)
        at = await journal.position(db)
        await roomstate.apply_block(db, batch.room_id, before, at, now, part)
        return behind

    async def _before_us(self, db: Connection, batch: RoomBatch) -> frozenset[EventId]:
        """What the timeline of a room that is being joined holds from before: it was said to nobody who records,
        so only its state counts (a broadcast among it is found by a search of the history)."""
        known = await rooms.state(db, batch.room_id, "m.room.member", self._user_id)
        was_in = known is not None and rules.membership(known.content) == "join"
        for index in range(len(batch.timeline) - 1, -1, -1):
            heard = batch.timeline[index]
            if heard.event.get("type") != "m.room.member" or heard.event.get("state_key") != self._user_id:
                continue
            again = known is not None and known.event_id == heard.event_id  # a room just joined may come twice
            if rules.membership(heard.event.get("content")) == "join" and (again or not was_in):
                return frozenset(earlier.event_id for earlier in batch.timeline[:index])
        # Out before and out after it (a ban was lifted): what was said meanwhile is none of the bot's business.
        unheard = () if batch.joined or was_in else batch.timeline
        return frozenset(heard.event_id for heard in unheard)

    async def _timeline(
        self, db: Connection, events: Sequence[HeardEvent], before_us: frozenset[EventId], now: datetime, part: Part
    ) -> None:
        originals = await replays.originals(db, events, now)
        if len(originals) < len(events):
            said = "messages were sent again under other ids: room=%s events=%d"
            log.warning(said, events[0].room_id, len(events) - len(originals))
        for number, heard in enumerate(originals):
            async with part(db, heard.room_id, heard.event_id):
                await self._heard(db, heard, now, before_us=heard.event_id in before_us)
            if number % HEARD_AT_ONCE == HEARD_AT_ONCE - 1:
                await asyncio.sleep(0)  # what is left out waits for nothing else

    async def refresh(self, room_id: RoomId, events: Sequence[Json], asked_at: Position) -> None:
        """Takes the whole of a room's current state, as the homeserver had it when the journal stood at `asked_at`.
        Raises StoreError."""
        now = self._clock()
        async with self._store.write() as db:
            await roomstate.refresh(db, room_id, events, asked_at, now)
            if (room := await rooms.room(db, room_id)) is not None and room.joined:
                await arrival.leave_space(db, room_id, now)
            if any(event.get("type") == "m.room.create" for event in events):
                await succession.judge_pending(db, room_id, now)
            await self._settle(db, room_id, now)
            own = await rooms.state(db, room_id, "m.room.member", self._user_id)
            room = await rooms.room(db, room_id)
            if room is not None and room.joined and own is not None and rules.membership(own.content) != "join":
                await arrival.removed(db, room_id, now)  # no sync told of it

    async def _settle(self, db: Connection, room_id: RoomId, now: datetime) -> None:
        await succession.settle(db, room_id, now, publishes=self._publishes, prefix=self._prefix)

    async def ask_for_state(self) -> None:
        """After a start: every room's state is read anew, those with something live first. Raises StoreError."""
        now = self._clock()
        async with self._store.write() as db:
            await roomstate.ask_for_all(db, now)

    async def _heard(self, db: Connection, heard: HeardEvent, now: datetime, *, before_us: bool) -> None:
        kind = heard.event.get("type")
        is_state = isinstance(heard.event.get("state_key"), str) and not heard.encrypted
        if heard.event.get("sender") == self._user_id and kind in greeting.SAID_AS and not before_us:
            await greeting.heard(db, heard, now)
        if kind == redaction.REDACTION:
            heard = await self._judged(db, heard)
        keep = not before_us and await self._is_wanted(db, heard)
        held = is_state and kind in roomstate.KEPT_STATE
        if not keep and not held:
            return
        # What a broadcast of before the bot's time says gets no place: a search of the history gives it one in front.
        place = journal.position(db) if before_us and kind in dialects.INFOS else journal.add(db, heard, now, keep=keep)
        position = await place
        if held:
            # Also when it was heard before: a room that was just joined comes twice, its older state in front.
            position = position or await journal.position_of(db, heard.event_id)
            assert position is not None
            await roomstate.apply_state(db, heard.room_id, heard.event, position, now)
        match dialects.read(heard):
            case MembershipChanged(user=user, joined=True):
                await roomstate.hasten(db, heard.room_id, {user}, now)
            case Redacted() as redacted if position is not None:
                await roomstate.redact(db, heard.room_id, redacted, position, now)

    async def _judged(self, db: Connection, heard: HeardEvent) -> HeardEvent:
        """The redaction with its sender's power as it is now: state that is said after it does not count for it."""
        power = await rooms.power(db, heard.room_id)
        may = rules.may_redact_others(UserId(str(heard.event.get("sender"))), power)
        return replace(heard, event=redaction.judged(heard.event, may))

    async def _is_wanted(self, db: Connection, heard: HeardEvent, gap: TimelineGap | None = None) -> bool:
        """`gap`: it stands in that one, and what it is about may too."""
        read = dialects.read(heard)

        async def unknown(broadcast: EventId, sender: UserId) -> bool:
            now = self._clock()
            around = gap or await gapwalk.holding(db, heard.room_id, now)
            if around is not None and not isinstance(read, BroadcastChanged) and await gapwalk.claim(db, around, heard):
                return True
            await self._asking.ask(db, heard.room_id, broadcast, sender, now, soon=gap is None)
            return False

        if isinstance(read, ChunkSent | ChunkSealed):
            return await self._claims.holds(db, heard.room_id, read, unknown)
        if isinstance(read, BroadcastChanged) and not await _is_known(db, read.broadcast):
            await unknown(read.broadcast, read.sender)
        if isinstance(read, Rejected):
            said = "rejected: dialect=%s rule=%s room=%s event=%s"
            log.info(said, read.dialect, read.rule, heard.room_id, heard.event_id)
            return False
        if isinstance(read, VoiceMessage):
            return await orphans.wanted(db, heard.room_id, read.sender, dialects.INFOS)
        if isinstance(read, MembershipChanged):
            return not read.joined
        if isinstance(read, TextMessage):
            return await self._asks(db, heard, read) and await self._has_share(db, heard, read)
        return read is not None

    async def _asks(self, db: Connection, heard: HeardEvent, message: TextMessage) -> bool:
        """Whether it is a command."""
        named = self._user_id in message.mentions
        name = await name_in(db, heard.room_id, self._user_id) if named else None
        return self._is_command(message.body, name)

    async def _has_share(self, db: Connection, heard: HeardEvent, message: TextMessage) -> bool:
        """Whether a command is within its sender's share of answers; who exceeds it is told so once."""
        now = self._clock()
        said = self._shares.take(message.sender, heard.event_id, now)
        if said is Share.EXCEEDED:
            payload = {
                "room_id": heard.room_id,
                "body": words.ASKED_TOO_MUCH,
                "reply_to": heard.event_id,
                "thread": message.thread,
            }
            notice = NewJob(JobKind.NOTICE, f"share:{heard.event_id}", payload, once=True)
            await jobs.add(db, notice, now)
        return said is Share.LEFT

    # ---- gaps

    async def take_page(self, gap: TimelineGap, newest_first: Sequence[HeardEvent], following: str | None) -> None:
        """Writes down what is wanted of a page of a gap, and how far its walk has come. Raises StoreError."""
        now = self._clock()
        self._claims = Claims(now)

        async with self._store.write() as db:
            current = await gaps.get(db, gap.id)
            if current == gap and gap.walking:
                await gapwalk.take_page(db, gap, newest_first, following, now, self._is_wanted)
                await gapwalk.go_on(db, gap.room_id, now)
        self._claims.tell()

    async def do_without(self, gap: TimelineGap) -> None:
        """What a gap hides that is overdue is looked for elsewhere. Raises StoreError."""
        now = self._clock()
        async with self._store.write() as db:
            if await gaps.get(db, gap.id) is not None:
                await gapwalk.do_without(db, gap, now)

    async def give_up(self, gap: TimelineGap) -> None:
        """The rest of a gap can't be read. Raises StoreError."""
        now = self._clock()
        async with self._store.write() as db:
            if await gaps.get(db, gap.id) is not None:
                await gapwalk.close(db, gap, now, whole=False)
                await gapwalk.go_on(db, gap.room_id, now)


async def _is_known(db: Connection, broadcast: EventId) -> bool:
    """Whether its started event was heard."""
    if await archive.recording_by_event(db, broadcast) is not None:
        return True
    return await journal.position_of(db, broadcast) is not None


def _may_make_a_line(batch: RoomBatch) -> bool:
    """Whether it brings state that an heir depends on."""
    events = [*batch.before, *(heard.event for heard in batch.timeline if not heard.encrypted)]
    return any(str(event.get("type")) in succession.MADE_OF for event in events)


def _without_words(opened: HeardEvent, *, copy: bool) -> HeardEvent:
    """Empty an opened event that is a copy, or not about a broadcast after all: its words are nobody's business, least
    of all a command's, which would be carried out long after it was said."""
    if not copy and not isinstance(dialects.read(opened), TextMessage | None):
        return opened
    return replace(opened, event={"type": opened.event.get("type"), "content": {}}, clear_relation=None)
