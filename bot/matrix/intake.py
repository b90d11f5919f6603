"""Writes down what a sync brought, with its token, in one transaction; nothing is done about it here.

What is kept is what recordings need: info and chunk events, redactions, commands, departures. An event that can't
be read is kept as its wrapper, and only where it may belong to a broadcast. Room state goes into tables of our own.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from bot import rules, words
from bot.matrix import dialects
from bot.matrix.batch import Invite, RoomBatch, SyncBatch
from bot.matrix.times import sent_at
from bot.recording.model import ChunkSealed
from storage import archive, jobs, journal, rooms
from storage.database import Connection, apart, is_trouble
from storage.errors import StoreError
from storage.records import (
    EventId,
    HeardEvent,
    JobKind,
    Json,
    NewJob,
    Position,
    RoomId,
    StateEvent,
    UserId,
)
from storage.store import Store

log = logging.getLogger(__name__)

KEPT_STATE = frozenset(
    {
        "m.room.create",
        "m.room.power_levels",
        "m.room.member",
        "m.room.name",
        "m.room.avatar",
        "m.room.encryption",
        "m.room.history_visibility",
    }
)
SHOWN_STATE = frozenset({"m.room.name", "m.room.avatar"})  # a feed or page changes with them
KEYS_MAY_COME_FOR = timedelta(days=1)
MEMBER = "m.room.member"
MEMBERS_AT_ONCE = 200
TRIED_AT_ONCE = 50  # sealed events before others have their turn

Decrypt = Callable[[HeardEvent], HeardEvent | None]
IsCommand = Callable[[Json], bool]
Part = Callable[[Connection, RoomId, EventId | None], AbstractAsyncContextManager[None]]


class Intake:
    """The session's sink. `decrypt` tries a kept wrapper again; `is_command` knows the prefix."""

    def __init__(
        self,
        store: Store,
        user_id: UserId,
        *,
        decrypt: Decrypt,
        is_command: IsCommand,
        prefix: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._user_id = user_id
        self._decrypt = decrypt
        self._is_command = is_command
        self._prefix = prefix
        self._clock = clock

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
            await self._take(batch, _whole)
        except StoreError:
            raise
        except Exception as error:
            log.error("what was heard is taken piece by piece: it can't be taken as a whole (%s)", type(error).__name__)
            await self._take(batch, _apart)

    async def _take(self, batch: SyncBatch, part: Part) -> None:
        now = self._clock()
        async with self._store.write() as db:
            for invite in batch.invites:
                async with part(db, invite.room_id, None):
                    await self._invited(db, invite, now)
            await jobs.cancel(db, JobKind.INVITE, list(batch.retracted))
            for room in batch.rooms:
                async with part(db, room.room_id, None):
                    await self._room(db, room, now, part)
            if batch.new_keys:
                await self._open(db, await journal.sealed(db, batch.new_keys), part)
            await journal.put(db, journal.SYNC_TOKEN, batch.next_batch)

    async def open_all(self) -> None:
        """After a start: keys may have come that no event was tried with. Raises StoreError."""
        async with self._store.write() as db:
            await self._open(db, await journal.sealed(db), _apart)

    async def _open(self, db: Connection, sealed: tuple[HeardEvent, ...], part: Part) -> None:
        for number, heard in enumerate(sealed):
            opened = self._decrypt(heard)
            if opened is not None:
                async with part(db, heard.room_id, heard.event_id):
                    await journal.unseal(db, _without_words(opened))
                log.info("a key came: room=%s event=%s", heard.room_id, heard.event_id)
            elif number % TRIED_AT_ONCE == TRIED_AT_ONCE - 1:
                await asyncio.sleep(0)

    async def _invited(self, db: Connection, invite: Invite, now: datetime) -> None:
        known = await rooms.room(db, invite.room_id)
        room = known or rooms.new_room(invite.room_id, now)
        await rooms.save_room(
            db, replace(room, inviter=invite.inviter, direct=invite.direct, encrypted=invite.encrypted)
        )
        payload = {"room_id": invite.room_id, "inviter": invite.inviter}
        await jobs.add(db, NewJob(JobKind.INVITE, invite.room_id, payload), now)

    async def _room(self, db: Connection, batch: RoomBatch, now: datetime, part: Part) -> None:
        known = await rooms.room(db, batch.room_id)
        room = known or rooms.new_room(batch.room_id, now)
        if known is None:
            await rooms.save_room(db, room)
        before_us = await self._before_us(db, batch)
        # What a gap walk brought is older than the state block, the block older than the rest.
        await self._timeline(db, [heard for heard in batch.timeline if heard.history], before_us, now, part)
        at = await journal.position(db)
        behind = False
        if room.joined:
            for event in batch.before:
                behind = behind or await self._is_behind(db, batch.room_id, event)
        await self._apply_block(db, batch.room_id, batch.before, at, now, part)
        await self._timeline(db, [heard for heard in batch.timeline if not heard.history], before_us, now, part)
        if batch.joined and not room.joined:
            await self._joined(db, batch.room_id, now)
        elif not batch.joined and (room.joined or known is None):
            await self._removed(db, batch.room_id, now)
        elif not batch.joined:
            await rooms.forget_state(db, batch.room_id)  # removed before, and now banned, for example
        elif behind:
            await jobs.add(db, NewJob(JobKind.REFRESH, batch.room_id, {}), now)

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
        return frozenset()

    async def _timeline(
        self, db: Connection, events: Sequence[HeardEvent], before_us: frozenset[EventId], now: datetime, part: Part
    ) -> None:
        for heard in events:
            async with part(db, heard.room_id, heard.event_id):
                await self._heard(db, heard, now, before_us=heard.event_id in before_us)

    async def _is_behind(self, db: Connection, room_id: RoomId, event: Json) -> bool:
        """Whether a state block takes back what was heard later: homeservers do so around a join, and when
        state is resolved anew. Which of the two it is only a look at the room's state can tell."""
        kind, key, event_id = (event.get(name) for name in ("type", "state_key", "event_id"))
        if not (isinstance(kind, str) and isinstance(key, str) and isinstance(event_id, str)):
            return False
        current = await rooms.state(db, room_id, kind, key)
        if current is None or current.event_id is None or current.event_id == event_id:
            return False
        heard_at = await journal.position_of(db, EventId(event_id))
        return heard_at is not None and heard_at < current.position

    async def refresh(self, room_id: RoomId, events: Sequence[Json], asked_at: Position) -> None:
        """Takes the whole of a room's current state, as the homeserver had it when the journal stood at `asked_at`:
        what was heard since is newer. Raises StoreError."""
        now = self._clock()
        async with self._store.write() as db:
            room = await rooms.room(db, room_id)
            if room is None or not room.joined:
                return
            await self._apply_block(db, room_id, events, asked_at, now, _apart, newest=asked_at)

    async def ask_for_state(self) -> None:
        """After a start: every room's state is read anew, those with something live first."""
        now = self._clock()
        async with self._store.write() as db:
            live = {recording.room_id for recording in await archive.open_recordings(db)}
            joined = [room.room_id for room in await rooms.all_rooms(db) if room.joined]
            for room_id in sorted(joined, key=lambda room_id: (room_id not in live, room_id)):
                await jobs.add(db, NewJob(JobKind.REFRESH, room_id, {}), now)

    async def _heard(self, db: Connection, heard: HeardEvent, now: datetime, *, before_us: bool) -> None:
        kind = heard.event.get("type")
        is_state = isinstance(heard.event.get("state_key"), str) and not heard.encrypted
        departs = kind == "m.room.member" and is_state and rules.membership(heard.event.get("content")) != "join"
        keep = not before_us and (departs or await self._is_wanted(db, heard, now))
        held = is_state and kind in KEPT_STATE
        if not keep and not held:
            return
        position = await journal.add(db, heard, now, keep=keep)
        if held:
            # Also when it was heard before: a room that was just joined comes twice, its older state in front.
            position = position or await journal.position_of(db, heard.event_id)
            assert position is not None
            await self._apply_state(db, heard.room_id, heard.event, position, now)
            if rules.membership(heard.event.get("content")) == "join":
                await self._hasten(db, heard.room_id, {str(heard.event["state_key"])}, now)

    async def _is_wanted(self, db: Connection, heard: HeardEvent, now: datetime) -> bool:
        read = dialects.read(heard)
        if isinstance(read, ChunkSealed):
            expected = await archive.expects_keys(
                db, heard.room_id, read.sender, read.broadcast, now - KEYS_MAY_COME_FOR
            )
            return expected or await journal.pending(db, read.broadcast)
        return read is not None or (heard.session_id is None and self._is_command(heard.event))

    async def _apply_block(
        self,
        db: Connection,
        room_id: RoomId,
        events: Sequence[Json],
        at: Position,
        now: datetime,
        part: Part,
        *,
        newest: Position | None = None,
    ) -> None:
        """Many events into the room's current state; members, who may be thousands, together. With `newest`, what
        was heard after it stays as it is."""
        members = [event for event in events if event.get("type") == MEMBER]
        for event in events:
            if event.get("type") != MEMBER:
                async with part(db, room_id, None):
                    await self._apply_state(db, room_id, event, at, now, newest=newest)
        joined = set()
        for start in range(0, len(members), MEMBERS_AT_ONCE):
            some = members[start : start + MEMBERS_AT_ONCE]
            async with part(db, room_id, None):
                joined |= await self._apply_members(db, room_id, some, at, newest)
        await self._hasten(db, room_id, joined, now)

    async def _apply_members(
        self, db: Connection, room_id: RoomId, events: Sequence[Json], at: Position, newest: Position | None
    ) -> set[str]:
        """Members into the current state, by three statements; who is joined. A member keeps the position of the
        last change of membership."""
        read = [one for one in (_state_of(room_id, event, at) for event in events) if one is not None]
        known = await rooms.member_states(db, room_id, {one.state_key for one in read})
        heard = await journal.positions_of(db, [one.event_id for one in read if one.event_id])
        changed: dict[str, StateEvent] = {}
        for one in read:
            old = changed.get(one.state_key) or known.get(one.state_key)
            if old is not None and newest is not None and old.position > newest:
                continue
            if old is not None and rules.membership(old.content) == rules.membership(one.content):
                position = old.position
            else:
                position = heard.get(one.event_id, at) if one.event_id else at
            content = {name: one.content[name] for name in ("membership", "displayname") if name in one.content}
            new = replace(one, position=position, content=content)
            if new != old:
                changed[new.state_key] = new
        await rooms.save_states(db, changed.values())
        return {one.state_key for one in read if rules.membership(one.content) == "join"}

    async def _apply_state(
        self,
        db: Connection,
        room_id: RoomId,
        event: Json,
        at: Position,
        now: datetime,
        *,
        newest: Position | None = None,
    ) -> None:
        """One event into the room's current state."""
        kind = event.get("type")
        if kind == MEMBER:
            await self._apply_members(db, room_id, [event], at, newest)
            return
        state = _state_of(room_id, event, at)
        if state is None:
            return
        if newest is not None:
            old = await rooms.state(db, room_id, state.type, state.state_key)
            if old is not None and (old.position > newest or old == replace(state, position=old.position)):
                return
        await rooms.save_state(db, state)
        if kind == "m.room.encryption":
            room = await rooms.room(db, room_id)
            if room is not None and not room.encrypted:
                await rooms.save_room(db, replace(room, encrypted=True))  # for good: encryption is never taken back
        if kind in SHOWN_STATE:
            await rooms.touch(db, room_id, now)
            await jobs.add(db, NewJob(JobKind.COVER, room_id, {}), now)

    async def _hasten(self, db: Connection, room_id: RoomId, joined: set[str], now: datetime) -> None:
        """Whoever is in their direct chat now is told what waits for them."""
        user = await rooms.direct_user(db, room_id) if joined else None
        if user in joined:
            await jobs.hasten(db, JobKind.DIRECT, f"{user}|", now)

    async def _joined(self, db: Connection, room_id: RoomId, now: datetime) -> None:
        """The bot is in: it records at once if a moderator asked it to come, and says so."""
        room = await rooms.room(db, room_id)
        assert room is not None
        create = await rooms.state(db, room_id, "m.room.create")
        # The bot makes rooms for direct chats only, and may hear of one before it knows that it was made.
        ours = await rooms.direct_user(db, room_id) is not None or (create and create.sender == self._user_id)
        direct = room.direct or bool(ours)
        power = await rooms.power(db, room_id)
        records = not direct and room.inviter is not None and rules.is_mod(room.inviter, power)
        await rooms.save_room(db, replace(room, joined=True, direct=direct, recording_on=records, changed_at=now))
        log.info("joined: room=%s recording=%s", room_id, "on" if records else "off")
        if not direct:
            await jobs.add(db, NewJob(JobKind.COVER, room_id, {}), now)
        if not ours:
            member = await rooms.state(db, room_id, MEMBER, self._user_id)
            subject = f"welcome:{room_id}:{member.position if member else 0}"
            payload = {"room_id": room_id, "body": words.welcome(records=records, direct=direct, prefix=self._prefix)}
            await jobs.add(db, NewJob(JobKind.NOTICE, subject, payload, once=True), now)

    async def _removed(self, db: Connection, room_id: RoomId, now: datetime) -> None:
        """The bot is out: what runs ends, and nothing that it knows of the room's state is current."""
        room = await rooms.room(db, room_id)
        assert room is not None
        await rooms.save_room(db, replace(room, joined=False, changed_at=now, revision=room.revision + 1))
        await rooms.forget_state(db, room_id)
        for recording in await archive.open_recordings(db, room_id):
            await jobs.add(db, NewJob(JobKind.END, str(recording.id), {"by": "removed"}), now)
        log.info("no longer in a room: room=%s", room_id)


def _state_of(room_id: RoomId, event: Json, at: Position) -> StateEvent | None:
    """A state event that is kept; None for any other, and for one that makes no sense."""
    kind, key, sender, content = (event.get(name) for name in ("type", "state_key", "sender", "content"))
    if kind not in KEPT_STATE or not isinstance(key, str) or not isinstance(sender, str):
        return None
    if not isinstance(content, dict) or len(key) > 255 or len(sender) > 255:
        return None
    event_id = event.get("event_id")
    return StateEvent(
        room_id=room_id,
        type=kind,
        state_key=key,
        sender=UserId(sender),
        content=content,
        position=at,
        event_id=EventId(event_id) if isinstance(event_id, str) else None,
        sent_at=sent_at(event),
    )


def _without_words(opened: HeardEvent) -> HeardEvent:
    """What was sealed and is not about a broadcast after all: its words are nobody's business, least of all a
    command's, which would be carried out long after it was said."""
    if dialects.read(opened) is not None:
        return opened
    return replace(opened, event={"type": opened.event.get("type"), "content": {}}, clear_relation=None)


@asynccontextmanager
async def _whole(_: Connection, __: RoomId, ___: EventId | None) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _apart(db: Connection, room_id: RoomId, event_id: EventId | None) -> AsyncIterator[None]:
    """A part that is left out, and named in the log, when it can't be taken. Raises StoreError."""
    try:
        async with apart(db):
            yield
    except Exception as error:
        if is_trouble(error):
            raise
        # The error's text may hold words.
        log.error("left out, for it can't be taken: room=%s event=%s (%s)", room_id, event_id, type(error).__name__)
