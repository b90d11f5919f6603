"""The calls that the bot is in: it joins them, hands on what the sync brings about them, and leaves them.

A call ends in the rows after all of its stems are closed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from bot import facts
from bot.calls import telling
from bot.calls.beginning import Beginning
from bot.calls.live import LiveCall
from bot.calls.model import Call, Device, KeyTold, Member, Seen, Why
from bot.calls.parts import Key, Means, Parts, SfuMeans
from bot.calls.session import machine
from bot.calls.session.state import Setup
from bot.calls.standing import Standing
from bot.calls.stem_rows import StemRows
from bot.calls.wire import matrixrtc_own
from bot.errors import GiveUp
from bot.matrix.batch import Signal
from bot.recording.model import CameBack, Ended, WentAway
from storage import archive, calls, rooms
from storage.records import CallEvent, CallEventKind, CallProtocol, EndedBy, LeftBy, Recording, RoomId, UserId

log = logging.getLogger(__name__)

STOP_S = 1.0
"""The longest time for which a stop of the program waits for the homeserver."""
MOST_EARLY = 500
"""Messages that are kept while the bot joins a call."""


class Attendance:
    """The calls that the bot is in. `alone` is called when the bot is to leave one by itself, `unseen` when the members
    of one see it no more, `look` when a room is to be looked at."""

    def __init__(
        self,
        parts: Parts,
        beginning: Beginning,
        *,
        alone: Callable[[Key, Recording, Why], None],
        unseen: Callable[[Key, Recording, bool], None],
        look: Callable[[RoomId], None],
    ) -> None:
        self.live: dict[Key, LiveCall] = {}
        self.is_stopped = False
        self._early: dict[Key, list[Signal]] = {}  # messages that came while the bot joins a call
        self._parts = parts
        self._store, self._clock, self._apply, self._presence = parts.store, parts.clock, parts.apply, parts.presence
        self._prefix = parts.settings.commands.prefix
        self._beginning = beginning
        self._alone, self._unseen, self._look = alone, unseen, look

    async def go_on(self, standing: Standing, key: Key, recording: Recording, call: Call) -> None:
        """Join a call, or tell its machine who is in it now; and tell members who came later."""
        live = self.live.get(key)
        if live is not None and _is_hidden(live, call) and self._beginning.may_show(standing, key[1], sticky=False):
            live, recording = None, await self._step_aside(key, recording)
        live = live or await self._join(standing, key, recording, call)
        if live is None:
            return
        if recording.aways and recording.aways[-1].ends is None:
            async with self._store.write() as db:
                await self._apply(db, recording.id, CameBack(live.now()))
        if standing.room.encrypted and not live.setup.encrypted:
            live.seal()
        await self._presence.look(key)
        heard = _heard(live, call)
        live.unseeing = frozenset(before.device.user_id for before in call.members if before not in heard)
        live.take(Seen(heard, standing.declined, standing.gone, call.left_out))
        live.company = standing.company(call)
        moved = live.follow(call)
        if moved is not None:
            await self._presence.move(key, moved, partial(self._unseen, key, recording))
        new = call.users - live.told
        if new:
            async with self._store.write() as db:
                await telling.present(db, recording.id, new, self._clock(), prefix=self._prefix)
            live.told |= new

    async def _step_aside(self, key: Key, recording: Recording) -> Recording:
        """Leave a call to join it again at once by another entry, and return its recording as it is then."""
        log.info("joining a call again, to be seen by all in it: recording=%s", recording.code)
        await self.pause(key)
        async with self._store.read() as db:
            return await archive.recording(db, recording.id) or recording

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
        us = await self._beginning.own(call, ours)
        async with self._store.read() as db:
            past = await calls.events(db, recording.id)
        try:
            await self._parts.media.ready()
            await self._presence.show(standing.room.room_id, call, us, partial(self._unseen, key, recording))
        except GiveUp as refused:
            log.warning("not shown in a call: room=%s reason=%s", standing.room.room_id, refused.reason)
            self._beginning.note_left(key, call.call_id, standing.company(call))
            await self.leave(key, recording, ended=EndedBy.REMOVED)
            return None
        if self.is_stopped:
            await self.hide(key, shown=True)
            return None
        live = self._make(standing, ours, us, recording, call, past)  # at once: a stop must find it
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
        self,
        standing: Standing,
        ours: Device,
        us: Member,
        recording: Recording,
        call: Call,
        past: Sequence[CallEvent],
    ) -> LiveCall:
        """Make what runs in memory of a call. `us`: the bot as its entry shows it there."""
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
            unheard=partial(self._tell_unheard, key, recording),
            in_touch=parts.in_touch,
            clock=self._clock,
            ticks=parts.ticks,
            sfus=self._sfus(key, us),
        )
        session = machine.begin(setup, self._clock(), past, stems=[stem.user_id for stem in recording.stems])
        rows = StemRows(self._store, parts.calling.open_stem, parts.stems.of(recording.id), recording, self._apply)
        return LiveCall(recording, session, rows, means)

    def _sfus(self, key: Key, us: Member) -> SfuMeans | None:
        """Return how a MatrixRTC call reaches its SFUs and the devices in it."""
        if key[1] is not CallProtocol.MATRIXRTC:
            return None
        grant, share = self._parts.grant, self._parts.share
        return SfuMeans(us, partial(grant, key[0], us), partial(share, key[0], us), partial(self._look, key[0]))

    async def _tell_unheard(self, key: Key, recording: Recording, user: UserId, why: CallEventKind) -> None:
        live = self.live.get(key)
        unseen = live is not None and user in live.unseeing
        async with self._store.write() as db:
            now = await archive.recording(db, recording.id)
            if now is not None:
                await telling.unheard(db, now, user, why, self._clock(), unseen=unseen)

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
        where = {room_id for room_id, protocol in (*self.live, *self._early) if protocol is not CallProtocol.MXVC}
        async with self._store.read() as db:
            members = [(await rooms.member_states(db, room_id, {user_id})).get(user_id) for room_id in where]
        return any(map(facts.is_joined, members))

    def _hand(self, key: Key, live: LiveCall, signal: Signal) -> None:
        received = self._parts.read(key, live.setup, signal)
        if isinstance(received, KeyTold):
            live.take_key(received)
        elif received is not None:
            live.take(received)


def _is_hidden(live: LiveCall, call: Call) -> bool:
    """Return whether somebody in a call may not see the bot: it is there by a sticky event, and their client may read
    state alone."""
    return live.is_sticky and matrixrtc_own.uses_state(call)


def _heard(live: LiveCall, call: Call) -> tuple[Member, ...]:
    """Return the members of a call as the bot hears them: those who may not see it are at no SFU for it."""
    if not live.is_sticky:
        return call.members
    members = call.members
    return tuple(each if matrixrtc_own.is_sticky(each) else replace(each, transport=None) for each in members)
