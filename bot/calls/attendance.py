"""The calls that the bot is in: it joins them, hands on what the sync brings about them, and leaves them.

A call ends in the rows after all of its stems are closed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from bot import facts
from bot.calls import telling
from bot.calls.beginning import Beginning
from bot.calls.live import LiveCall
from bot.calls.model import Call, Device, Seen, Why
from bot.calls.parts import Key, Means, Parts
from bot.calls.session import machine
from bot.calls.session.state import Setup
from bot.calls.standing import Standing
from bot.calls.stem_rows import StemRows
from bot.errors import GiveUp
from bot.matrix.batch import Signal
from bot.recording.model import CameBack, Ended, WentAway
from storage import archive, calls, rooms
from storage.records import CallEvent, CallProtocol, EndedBy, LeftBy, Recording, UserId

log = logging.getLogger(__name__)

STOP_S = 1.0
"""The longest time for which a stop of the program waits for the homeserver."""
MOST_EARLY = 500
"""Messages that are kept while the bot joins a call."""


class Attendance:
    """The calls that the bot is in. `alone` is called when the bot is to leave one by itself, `unseen` when the members
    of one see it no more."""

    def __init__(
        self,
        parts: Parts,
        beginning: Beginning,
        *,
        alone: Callable[[Key, Recording, Why], None],
        unseen: Callable[[Key, Recording, bool], None],
    ) -> None:
        self.live: dict[Key, LiveCall] = {}
        self.is_stopped = False
        self._early: dict[Key, list[Signal]] = {}  # messages that came while the bot joins a call
        self._parts = parts
        self._store, self._clock, self._apply, self._presence = parts.store, parts.clock, parts.apply, parts.presence
        self._prefix = parts.settings.commands.prefix
        self._beginning = beginning
        self._alone, self._unseen = alone, unseen

    async def go_on(self, standing: Standing, key: Key, recording: Recording, call: Call) -> None:
        """Join a call, or tell its machine who is in it now; and tell members who came later."""
        live = self.live.get(key) or await self._join(standing, key, recording, call)
        if live is None:
            return
        if recording.aways and recording.aways[-1].ends is None:
            async with self._store.write() as db:
                await self._apply(db, recording.id, CameBack(live.now()))
        if standing.room.encrypted and not live.setup.encrypted:
            live.seal()
        live.take(Seen(call.members, standing.declined, standing.gone))
        live.company = standing.company(call)
        new = call.users - live.told
        if new:
            async with self._store.write() as db:
                await telling.present(db, recording.id, new, self._clock(), prefix=self._prefix)
            live.told |= new

    async def _join(self, standing: Standing, key: Key, recording: Recording, call: Call) -> LiveCall | None:
        """Show the bot in a call, then begin its session, with what members said to it meanwhile: they call as soon as
        they see it. None where the homeserver refuses: the recording ends."""
        early = self._early[key] = []
        try:
            live = await self._show_and_make(standing, key, recording, call)
        finally:
            del self._early[key]
        if live is not None:
            for signal in early:
                self._hand(key, live, signal)
        return live

    async def _show_and_make(self, standing: Standing, key: Key, recording: Recording, call: Call) -> LiveCall | None:
        ours = self._parts.device(call.protocol)
        async with self._store.read() as db:
            past = await calls.events(db, recording.id)
        try:
            await self._parts.media.ready()
            await self._presence.show(standing.room.room_id, call, ours, partial(self._unseen, key, recording))
        except GiveUp as refused:
            log.warning("not shown in a call: room=%s reason=%s", standing.room.room_id, refused.reason)
            self._beginning.note_left(key, call.call_id, standing.company(call))
            await self.leave(key, recording, ended=EndedBy.REMOVED)
            return None
        if self.is_stopped:
            await self.hide(key, shown=True)
            return None
        live = self._make(standing, ours, recording, call, past)  # at once: a stop must find it
        self.live[key] = live
        log.info("in a call: recording=%s room=%s", recording.code, recording.room_id)
        return live

    async def leave(self, key: Key, recording: Recording | None = None, *, ended: EndedBy | None) -> None:
        """Leave a call, and end its recording once all of its sound is kept. None: it has ended."""
        live = self.live.pop(key, None)
        hiding = asyncio.create_task(self.hide(key, shown=live is not None))
        if live is not None:
            await live.end(LeftBy.ENDED)
        if recording is not None and ended is not None:
            async with self._store.write() as db:
                await self._apply(db, recording.id, Ended(ended))
            log.info("call over: recording=%s room=%s by=%s", recording.code, key[0], ended)
        await hiding

    async def hide(self, key: Key, *, shown: bool) -> None:
        """Remove the bot's entry. Where it may not, as after it was removed from the room, nobody can see it."""
        try:
            await self._presence.hide(key, shown=shown)
        except GiveUp as refused:
            log.info("entry in a call not removed: room=%s reason=%s", key[0], refused.reason)

    def _make(
        self, standing: Standing, ours: Device, recording: Recording, call: Call, past: Sequence[CallEvent]
    ) -> LiveCall:
        """Make what runs in memory of a call."""
        key = standing.room.room_id, call.protocol
        parts, settings = self._parts, self._parts.settings
        setup = Setup(
            protocol=key[1],
            call_id=call.call_id,
            ours=ours,
            began=recording.started_at,
            encrypted=standing.room.encrypted,
            push_to_talk=call.push_to_talk,
            empty=timedelta(seconds=settings.calls.empty_s),
            silent=timedelta(seconds=settings.calls.silent_s),
            longest=timedelta(seconds=settings.recording.max_broadcast_s),
            beep=settings.calls.beep,
        )
        means = Means(
            media=parts.media,
            servers=parts.servers,
            post=partial(parts.post, key, setup),
            left=partial(self._alone, key, recording),
            silent=partial(self._tell_silent, recording),
            in_touch=parts.in_touch,
            clock=self._clock,
            ticks=parts.ticks,
        )
        session = machine.begin(setup, self._clock(), past, stems=[stem.user_id for stem in recording.stems])
        rows = StemRows(self._store, parts.calling.open_stem, parts.stems.of(recording.id), recording)
        return LiveCall(recording, session, rows, means)

    async def _tell_silent(self, recording: Recording) -> None:
        async with self._store.write() as db:
            now = await archive.recording(db, recording.id)
            if now is not None:
                await telling.silent(db, now, self._clock(), seconds=round(self._parts.settings.calls.silent_s))

    async def pause(self, key: Key) -> None:
        """Leave a call while its recording goes on."""
        live = self.live.pop(key)
        hiding = asyncio.create_task(self.hide(key, shown=True))
        asyncio.get_running_loop().call_later(STOP_S, hiding.cancel)
        try:
            async with self._store.write() as db:  # while the stems of who is in the call are open
                await self._apply(db, live.recording.id, WentAway(live.now()))
        finally:
            await live.end(LeftBy.LOST, within_s=STOP_S)
        await asyncio.gather(hiding, return_exceptions=True)

    # ---- what the sync brings

    def take(self, signals: Sequence[Signal]) -> None:
        """Hand messages about calls to the calls that they are about."""
        for signal in signals:
            for key, live in self.live.items():
                self._hand(key, live, signal)
            for early in self._early.values():
                if len(early) < MOST_EARLY:
                    early.append(signal)

    async def heeds(self, user_id: UserId) -> bool:
        """Return whether messages of a user may be about a call that the bot is in: they are in its room. Their device
        may not be listed in it yet. Raises StoreError."""
        where = {room_id for room_id, protocol in (*self.live, *self._early) if protocol is CallProtocol.MSC3401}
        async with self._store.read() as db:
            members = [(await rooms.member_states(db, room_id, {user_id})).get(user_id) for room_id in where]
        return any(map(facts.is_joined, members))

    def _hand(self, key: Key, live: LiveCall, signal: Signal) -> None:
        received = self._parts.read(key, live.setup, signal)
        if received is not None:
            live.take(received)
