"""Writes down what a sync brought, with its token, in one transaction; nothing is done about it here.

What is kept is what recordings need: info and chunk events, redactions, commands, departures. An event that can't
be read is kept as its wrapper, and only where it may belong to a broadcast. Room state goes into tables of our own.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from bot import rules, words
from bot.matrix import dialects
from bot.matrix.batch import Invite, RoomBatch, SyncBatch
from bot.matrix.times import sent_at
from bot.recording.model import ChunkSealed
from storage import archive, jobs, journal, rooms
from storage.database import Connection
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

Decrypt = Callable[[HeardEvent], HeardEvent | None]
IsCommand = Callable[[Json], bool]


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
        """All of the batch and its token, or nothing of it."""
        now = self._clock()
        async with self._store.write() as db:
            for invite in batch.invites:
                await self._invited(db, invite, now)
            await jobs.cancel(db, JobKind.INVITE, list(batch.retracted))
            for room in batch.rooms:
                await self._room(db, room, now)
            if batch.new_keys:
                await self._open(db, await journal.sealed(db, batch.new_keys))
            await journal.put(db, journal.SYNC_TOKEN, batch.next_batch)

    async def open_all(self) -> None:
        """After a start: keys may have come that no event was tried with."""
        async with self._store.write() as db:
            await self._open(db, await journal.sealed(db))

    async def _open(self, db: Connection, sealed: tuple[HeardEvent, ...]) -> None:
        for heard in sealed:
            opened = self._decrypt(heard)
            if opened is not None:
                await journal.unseal(db, opened)
                log.info("a key came: room=%s event=%s", heard.room_id, heard.event_id)

    async def _invited(self, db: Connection, invite: Invite, now: datetime) -> None:
        known = await rooms.room(db, invite.room_id)
        room = known or rooms.new_room(invite.room_id, now)
        await rooms.save_room(
            db, replace(room, inviter=invite.inviter, direct=invite.direct, encrypted=invite.encrypted)
        )
        payload = {"room_id": invite.room_id, "inviter": invite.inviter}
        await jobs.add(db, NewJob(JobKind.INVITE, invite.room_id, payload), now)

    async def _room(self, db: Connection, batch: RoomBatch, now: datetime) -> None:
        known = await rooms.room(db, batch.room_id)
        room = known or rooms.new_room(batch.room_id, now)
        if known is None:
            await rooms.save_room(db, room)
        # What a gap walk brought is older than the state block, the block older than the rest.
        for heard in batch.timeline:
            if heard.history:
                await self._heard(db, heard, now)
        at = await journal.position(db)
        behind = False
        for event in batch.before:
            behind = behind or (room.joined and await self._is_behind(db, batch.room_id, event))
            await self._apply_state(db, batch.room_id, event, at, now)
        for heard in batch.timeline:
            if not heard.history:
                await self._heard(db, heard, now)
        if batch.joined and not room.joined:
            await self._joined(db, batch.room_id, now)
        elif not batch.joined and (room.joined or known is None):
            await self._removed(db, batch.room_id, now)
        elif behind:
            await jobs.add(db, NewJob(JobKind.REFRESH, batch.room_id, {}), now)

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

    async def refresh(self, room_id: RoomId, events: Iterable[Json]) -> None:
        """Takes the whole of a room's current state, as the homeserver has it now."""
        now = self._clock()
        async with self._store.write() as db:
            room = await rooms.room(db, room_id)
            if room is None or not room.joined:
                return
            at = await journal.position(db)
            for event in events:
                await self._apply_state(db, room_id, event, at, now)

    async def ask_for_state(self) -> None:
        """After a start: every room's state is read anew, those with something live first."""
        now = self._clock()
        async with self._store.write() as db:
            live = {recording.room_id for recording in await archive.open_recordings(db)}
            joined = [room.room_id for room in await rooms.all_rooms(db) if room.joined]
            for room_id in sorted(joined, key=lambda room_id: (room_id not in live, room_id)):
                await jobs.add(db, NewJob(JobKind.REFRESH, room_id, {}), now)

    async def _heard(self, db: Connection, heard: HeardEvent, now: datetime) -> None:
        kind = heard.event.get("type")
        is_state = isinstance(heard.event.get("state_key"), str) and not heard.encrypted
        departs = kind == "m.room.member" and is_state and rules.membership(heard.event.get("content")) != "join"
        keep = departs or await self._is_wanted(db, heard, now)
        held = is_state and kind in KEPT_STATE
        if not keep and not held:
            return
        position = await journal.add(db, heard, now, keep=keep)
        if held:
            # Also when it was heard before: a room that was just joined comes twice, its older state in front.
            position = position or await journal.position_of(db, heard.event_id)
            assert position is not None
            await self._apply_state(db, heard.room_id, heard.event, position, now)

    async def _is_wanted(self, db: Connection, heard: HeardEvent, now: datetime) -> bool:
        read = dialects.read(heard)
        if isinstance(read, ChunkSealed):
            expected = await archive.expects_keys(
                db, heard.room_id, read.sender, read.broadcast, now - KEYS_MAY_COME_FOR
            )
            return expected or await journal.pending(db, read.broadcast)
        return read is not None or (heard.session_id is None and self._is_command(heard.event))

    async def _apply_state(self, db: Connection, room_id: RoomId, event: Json, at: Position, now: datetime) -> None:
        """One event into the room's current state; a member keeps the position of the last change of membership."""
        kind, key, sender, content = (event.get(name) for name in ("type", "state_key", "sender", "content"))
        if kind not in KEPT_STATE or not isinstance(key, str) or not isinstance(sender, str):
            return
        if not isinstance(content, dict) or len(key) > 255 or len(sender) > 255:
            return
        event_id = event.get("event_id")
        if kind == "m.room.member":
            old = await rooms.state(db, room_id, kind, key)
            if old is not None and rules.membership(old.content) == rules.membership(content):
                at = old.position
            elif isinstance(event_id, str):
                at = await journal.position_of(db, EventId(event_id)) or at
            content = {name: content[name] for name in ("membership", "displayname") if name in content}
        await rooms.save_state(
            db,
            StateEvent(
                room_id=room_id,
                type=kind,
                state_key=key,
                sender=UserId(sender),
                content=content,
                position=at,
                event_id=EventId(event_id) if isinstance(event_id, str) else None,
                sent_at=sent_at(event),
            ),
        )
        if kind == "m.room.encryption":
            room = await rooms.room(db, room_id)
            if room is not None and not room.encrypted:
                await rooms.save_room(db, replace(room, encrypted=True))  # for good: encryption is never taken back
        if kind in SHOWN_STATE:
            await rooms.touch(db, room_id, now)
            await jobs.add(db, NewJob(JobKind.COVER, room_id, {}), now)
        if kind == "m.room.member" and rules.membership(content) == "join":
            await jobs.hasten(db, JobKind.DIRECT, f"{key}|", now)

    async def _joined(self, db: Connection, room_id: RoomId, now: datetime) -> None:
        """The bot is in: it records at once if a moderator asked it to come, and says so."""
        room = await rooms.room(db, room_id)
        assert room is not None
        direct = room.direct or await rooms.direct_user(db, room_id) is not None
        power = await rooms.power(db, room_id)
        records = not direct and room.inviter is not None and rules.is_mod(room.inviter, power)
        await rooms.save_room(db, replace(room, joined=True, direct=direct, recording_on=records, changed_at=now))
        log.info("joined: room=%s recording=%s", room_id, "on" if records else "off")
        if not direct:
            await jobs.add(db, NewJob(JobKind.COVER, room_id, {}), now)
        if await rooms.direct_user(db, room_id) is None:
            member = await rooms.state(db, room_id, "m.room.member", self._user_id)
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
