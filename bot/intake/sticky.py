"""Sticky events (MSC4354): kept among a room's state for as long as they are sticky.

The homeserver sends those that a timeline leaves out beside it, so that no gap hides one. Of each sender and key the
newest one counts, by its own time and id, as for every client; older ones may come after it. One that can't be
decrypted is kept until its key comes.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from bot import facts
from bot.dialects import rtc
from bot.event_types import SEALED_STICKY, STICKY
from bot.intake import calls
from bot.intake.isolation import Guard
from bot.intake.opening import Decrypt
from storage import rooms
from storage.database import Connection
from storage.records import HeardEvent, RoomId, SessionId, StateEvent, UserId

log = logging.getLogger(__name__)

MOST_OF_A_SENDER = 64
"""Events of one sender that are kept in a room, the newest."""

_Key = tuple[str, str]


class StickyEvents:
    """The sticky events of all rooms. `decrypt` tries a kept one again."""

    def __init__(self, decrypt: Decrypt) -> None:
        self._decrypt = decrypt
        self._sealed_in: set[RoomId] | None = None  # rooms with events that were sealed; None: not read yet

    async def take(self, db: Connection, room_id: RoomId, events: Sequence[HeardEvent], now: datetime) -> None:
        """Keep the events that a sync brings of a room."""
        until = [(heard, rtc.sticky_until(heard, now)) for heard in events]
        kept = (rtc.kept_sticky(heard, end) for heard, end in until if end is not None)
        await self._keep(db, room_id, [each for each in kept if each is not None], now)

    async def open(
        self, db: Connection, now: datetime, guard: Guard, sessions: Collection[SessionId] | None = None
    ) -> None:
        """Decrypt the events whose keys have come: those of these sessions, or all."""
        if self._sealed_in is None:
            self._sealed_in = {sealed.room_id for sealed in await rooms.states_anywhere(db, {SEALED_STICKY})}
        for room_id in tuple(self._sealed_in):
            async with guard(db, room_id, None):
                await self._open(db, room_id, now, sessions)

    async def _open(
        self, db: Connection, room_id: RoomId, now: datetime, sessions: Collection[SessionId] | None
    ) -> None:
        sealed = await rooms.states_in(db, room_id, {SEALED_STICKY})
        opened, over = list[StateEvent](), list[StateEvent]()
        for each in sealed:
            heard = rtc.sealed_sticky(each)
            clear = self._decrypt(heard) if heard and (sessions is None or heard.session_id in sessions) else None
            if clear is not None:
                over.append(each)
                kept = rtc.kept_sticky(clear, rtc.expiry(each))
                opened += [kept] if kept is not None else []
        await rooms.delete_states(db, over)
        await self._keep(db, room_id, opened, now)

    async def _keep(self, db: Connection, room_id: RoomId, found: Sequence[StateEvent], now: datetime) -> None:
        """Keep those of the events that count, and delete those that do no more."""
        if not found:
            return
        known = {_key(each): each for each in await rooms.states_in(db, room_id, STICKY)}
        newest = dict(known)
        for each in found:
            old = newest.get(_key(each))
            if old is None or _age(old) < _age(each):
                newest[_key(each)] = each
        present = _bounded(each for each in newest.values() if rtc.expiry(each) > now)
        await rooms.delete_states(db, (each for key, each in known.items() if key not in present))
        new = [each for key, each in present.items() if known.get(key) is not each]
        await rooms.save_states(db, new)
        if new:
            await calls.look(db, room_id, now)
        if self._sealed_in is not None and any(each.type == SEALED_STICKY for each in new):
            self._sealed_in.add(room_id)


def _key(event: StateEvent) -> _Key:
    return event.type, event.state_key


def _age(event: StateEvent) -> tuple[datetime, str]:
    return event.sent_at or facts.EPOCH, event.event_id or ""


def _bounded(events: Iterable[StateEvent]) -> dict[_Key, StateEvent]:
    """Return the newest events of each sender, by their keys."""
    by_sender: defaultdict[UserId, list[StateEvent]] = defaultdict(list)
    for event in events:
        by_sender[event.sender].append(event)
    most = (sorted(theirs, key=_age)[-MOST_OF_A_SENDER:] for theirs in by_sender.values())
    return {_key(event): event for theirs in most for event in theirs}
