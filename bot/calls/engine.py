"""The engine of calls: it begins recordings, joins calls, leaves them, and hands on what the sync brings about them.

One function decides (`look`): whatever changes in a room orders a look, and a look reads everything anew. So a look
that fails, or is killed, is made again, and one too many does no harm.

- A recording begins with its row and the notice to the room. The bot shows itself in the call once the notice stands
  in the room, and receives no sound before.
- A call ends in the rows after all of its stems are closed.
- What runs in memory ends with the process. At the next start the stems are put right before anything else is done, and
  the call is joined again, if it goes on, once the first sync has told how it stands.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from bot import facts, orders, rules
from bot.calls import standing as standings
from bot.calls import telling
from bot.calls.live import LiveCall
from bot.calls.media.door import IceServer, Media
from bot.calls.model import Call, Device, Received, Seen, Send, Why
from bot.calls.parts import Means
from bot.calls.session import machine
from bot.calls.session.state import Setup
from bot.calls.standing import Standing
from bot.calls.stem_rows import OpenStem, StemRows
from bot.calls.stems.stems import Stems
from bot.errors import AircheckError, GiveUp, TryLater
from bot.event_types import SHOWN_IN_CALL
from bot.intake.calls import order
from bot.matrix.batch import Signal
from bot.recording.model import CameBack, Ended, RecordingEvent, WentAway
from bot.settings import Settings
from storage import archive, calls, jobs, rooms
from storage.database import Connection
from storage.errors import StoreError
from storage.records import (
    SAMPLE_RATE,
    CallEvent,
    CallProtocol,
    EndedBy,
    EventId,
    Job,
    LeftBy,
    Recording,
    RecordingId,
    RecordingState,
    RoomId,
    Samples,
    UserId,
)
from storage.store import Store

log = logging.getLogger(__name__)

STOP_S = 1.0
"""The longest time for which a stop of the program waits for the homeserver."""
MOST_EARLY = 500
"""Messages that are kept while the bot joins a call."""
AGAIN_S = 1.0
"""The pause before a call that could not be left is looked at again."""

Key = tuple[RoomId, CallProtocol]


class Calling(Protocol):
    """The recorder's beginning of calls, and of their stems."""

    async def begin(
        self,
        db: Connection,
        room_id: RoomId,
        protocol: CallProtocol,
        call_id: str,
        *,
        events: Sequence[EventId],
        broadcaster: UserId,
    ) -> Recording | None: ...

    @property
    def open_stem(self) -> OpenStem: ...


class Presence(Protocol):
    """The bot's own entry in the room's state, by which members of a call see it."""

    async def show(self, room_id: RoomId, call: Call, ours: Device, lost: Callable[[bool], None]) -> None:
        """Write it, and keep it fresh from then on. `lost` is called when members see it no more; True: the homeserver
        refuses it. Raises TryLater, GiveUp, StoreError."""

    async def hide(self, key: Key, *, shown: bool) -> None:
        """Remove it, if it is there, and keep it fresh no longer. Raises TryLater, GiveUp, StoreError."""

    async def rooms(self, db: Connection) -> frozenset[RoomId]:
        """Return the rooms whose stored state shows the bot in a call."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that the engine works with."""

    store: Store
    settings: Settings
    calling: Calling
    apply: Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]
    stems: Stems
    media: Media
    presence: Presence
    post: Callable[[Key, Setup, Send, str], Coroutine[Any, Any, None]]
    read: Callable[[Key, Setup, Signal], Received | None]
    servers: Callable[[], Awaitable[Sequence[IceServer]]]
    device: Callable[[CallProtocol], Device]  # the bot's, as others see it
    in_touch: Callable[[], bool]  # with the homeserver
    clock: Callable[[], datetime]
    ticks: Callable[[], float]  # monotonic, in seconds


class Engine:
    """All calls of the bot, and the handler of KeepCalls orders."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store, self._clock, self._apply = parts.store, parts.clock, parts.apply
        self._calling, self._presence = parts.calling, parts.presence
        self._prefix = parts.settings.commands.prefix
        self._live: dict[Key, LiveCall] = {}
        self._early: dict[Key, list[Signal]] = {}  # messages that came while the bot joins a call
        self._looking: defaultdict[RoomId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._left: dict[tuple[Key, str], frozenset[Device]] = {}  # calls: who was in then, and is in it since
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_recovered = False
        self._is_heard = False
        self._is_stopped = False

    async def __call__(self, job: Job) -> None:
        await self.look(orders.KeepCalls.of(job).room_id)

    # ---- looking at a room

    async def look(self, room_id: RoomId) -> None:
        """Bring the bot's part in a room's calls up to what goes on there. Raises TryLater, StoreError."""
        if not self._is_heard or self._is_stopped:
            raise TryLater("what goes on in calls is not known before the first sync", room=room_id)
        async with self._looking[room_id]:
            standing = await self._stand(room_id)
            if standing is not None:
                for protocol in standings.READERS:
                    await self._look_at(standing, protocol)
            if standing is not None and standing.room.call_wanted:
                await self._forget_wish(room_id)

    async def going_on(self, db: Connection, room_id: RoomId) -> tuple[CallProtocol, ...]:
        """Return the protocols of the calls that go on in a room with somebody who may be recorded, the one first that
        `record call` is about."""
        standing = await standings.look(db, room_id, self._parts.device, self._clock())
        there = set() if standing is None else {call.protocol for call in standing.going_on()}
        return tuple(protocol for protocol in standings.READERS if protocol in there)

    async def _forget_wish(self, room_id: RoomId) -> None:
        """Forget that a moderator wants the call recorded that runs now: it is begun, or can't be, and no later one is
        meant."""
        async with self._store.write() as db:
            room = await rooms.room(db, room_id)
            if room is not None and room.call_wanted:
                await rooms.save_room(db, replace(room, call_wanted=False))

    async def _stand(self, room_id: RoomId) -> Standing | None:
        heard = {user for key, live in self._live.items() if key[0] == room_id for user in live.users}
        async with self._store.read() as db:
            return await standings.look(db, room_id, self._parts.device, self._clock(), heard=heard)

    async def _look_at(self, standing: Standing, protocol: CallProtocol) -> None:
        key = standing.room.room_id, protocol
        live, recording = self._live.get(key), standing.recorded(protocol)
        if live is not None and (recording is None or recording.id != live.recording.id):
            await self._leave(key, ended=None)  # somebody else ended or deleted the recording
            live = None
        if recording is None:
            await self._begin(standing, key)
            return
        call = standing.call_of(recording)
        end = self._end_of(standing, recording, call, live)
        if end is not None:
            await self._leave(key, recording, ended=end)
        elif call is not None and recording.notice is not None:
            await self._go_on(standing, key, recording, call)

    def _end_of(
        self, standing: Standing, recording: Recording, call: Call | None, live: LiveCall | None
    ) -> EndedBy | None:
        """Return why a recording ends now; None: it goes on."""
        assert recording.protocol is not None, "it is of a call"
        if not standing.room.joined or not self._may_show(standing, recording.protocol):
            return EndedBy.REMOVED
        if call is None or (live is None and not standing.has_company(call)):
            return EndedBy.STOPPED
        return None

    def _may_show(self, standing: Standing, protocol: CallProtocol) -> bool:
        return rules.may_show_in_call(self._parts.device(protocol).user_id, protocol, standing.power)

    # ---- beginning, joining

    async def _begin(self, standing: Standing, key: Key) -> None:
        """Begin to record the call that goes on, if that is wanted; the notice to the room is on its way then. What
        still shows the bot in an earlier call is taken away."""
        room_id, protocol = key
        if standing.room.joined:
            await self._hide(key, shown=False)
        call = standing.newest(protocol)
        if call is None or not standing.is_wanted:
            return
        if not standing.has_company(call):
            self._forget_others(key, call)
            self._left[key, call.call_id] = frozenset()
            return
        now, prefix = self._clock(), self._prefix
        is_fit = await self._is_fit()
        async with self._store.write() as db:
            if not is_fit:
                await telling.unfit(db, room_id, now)
                return
            if not self._may_show(standing, protocol):
                await telling.lacks(db, room_id, protocol, now)
                self._left.pop((key, call.call_id), None)
                return
            if standing.room.encrypted and protocol is CallProtocol.MXVC:
                await telling.unencrypted(db, room_id, now)
                return
            if not standing.room.call_wanted and await self._stays_away(db, standing, key, call):
                await _look_at_end_of(db, room_id, call, now)
                return
            recording = await self._calling.begin(
                db,
                room_id,
                protocol,
                call.call_id,
                events=[*_events(call), *await self._own_entries(db, key)],
                broadcaster=standing.first(call),
            )
            if recording is None:
                return
            await telling.begun(db, recording, now, prefix=prefix)
            await telling.present(db, recording.id, _users(call), now, prefix=prefix)
        self._left.pop((key, call.call_id), None)

    async def _is_fit(self) -> bool:
        """Return whether the libraries do by which sound is received, before anybody is told that it is. Raises
        TryLater."""
        try:
            await self._parts.media.ready()
        except GiveUp as unfit:
            log.error("no call can be recorded: %s", unfit.sentence)
            return False
        return True

    def _forget_others(self, key: Key, call: Call) -> None:
        """Forget what is remembered of a room's other calls: anybody can begin one, and the newest counts."""
        for other, call_id in tuple(self._left):
            if other == key and call_id != call.call_id:
                del self._left[other, call_id]

    async def _stays_away(self, db: Connection, standing: Standing, key: Key, call: Call) -> bool:
        """Return whether the bot has left this call, and does not come back yet.

        - For good: until nobody is in it any more who was then. What follows is another conversation.
        - Alone, or where it may not be seen: until somebody comes. A client that has died stays listed for up to an
          hour.
        """
        here, present = (key, call.call_id), standing.company(call)
        was_there = self._left.get(here)
        if await self._was_left(db, key, call):
            stayed = self._left[here] = present if was_there is None else was_there & present
            return bool(stayed)
        if was_there is None:
            return False
        self._left[here] = was_there & present  # a device that left and comes again is there
        return present <= was_there

    async def _own_entries(self, db: Connection, key: Key) -> list[EventId]:
        """Return the events of the bot's own entry: another one after each recording, for a call whose other events
        name recordings already."""
        entries = await rooms.states_in(db, key[0], {SHOWN_IN_CALL[key[1]]})
        us = self._parts.device(key[1]).user_id
        return [entry.event_id for entry in entries if entry.sender == us and entry.event_id is not None]

    async def _was_left(self, db: Connection, key: Key, call: Call) -> bool:
        """Return whether the bot has left this call for good: its recording was too long, or was deleted while it
        ran."""
        last = await calls.last(db, *key, call.call_id)
        if last is None:
            return False
        return last.ended_by is EndedBy.LIMIT or (last.state is RecordingState.DELETED and last.ended_by is None)

    async def _go_on(self, standing: Standing, key: Key, recording: Recording, call: Call) -> None:
        """Join a call, or tell its machine who is in it now; and tell members who came later."""
        live = self._live.get(key) or await self._join(standing, key, recording, call)
        if live is None:
            return
        if recording.aways and recording.aways[-1].ends is None:
            async with self._store.write() as db:
                await self._apply(db, recording.id, CameBack(live.now()))
        if standing.room.encrypted and not live.setup.encrypted:
            live.seal()
        live.take(Seen(call.members, standing.declined, standing.gone))
        live.company = standing.company(call)
        new = _users(call) - live.told
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
            await self._presence.show(standing.room.room_id, call, ours, partial(self._is_unseen, key, recording))
        except GiveUp as refused:
            log.warning("not shown in a call: room=%s reason=%s", standing.room.room_id, refused.reason)
            self._left[key, call.call_id] = standing.company(call)
            await self._leave(key, recording, ended=EndedBy.REMOVED)
            return None
        if self._is_stopped:
            await self._hide(key, shown=True)
            return None
        live = self._make(standing, ours, recording, call, past)  # at once: a stop must find it
        self._live[key] = live
        log.info("in a call: recording=%s room=%s", recording.code, recording.room_id)
        return live

    # ---- leaving

    async def _leave(self, key: Key, recording: Recording | None = None, *, ended: EndedBy | None) -> None:
        """Leave a call, and end its recording once all of its sound is kept. None: it has ended."""
        live = self._live.pop(key, None)
        hiding = asyncio.create_task(self._hide(key, shown=live is not None))
        if live is not None:
            await live.end(LeftBy.ENDED)
        if recording is not None and ended is not None:
            async with self._store.write() as db:
                await self._apply(db, recording.id, Ended(ended))
            log.info("call over: recording=%s room=%s by=%s", recording.code, key[0], ended)
        await hiding

    async def _hide(self, key: Key, *, shown: bool) -> None:
        """Remove the bot's entry. Where it may not, as after it was removed from the room, nobody can see it."""
        try:
            await self._presence.hide(key, shown=shown)
        except GiveUp as refused:
            log.info("entry in a call not removed: room=%s reason=%s", key[0], refused.reason)

    def _leave_by_itself(self, key: Key, recording: Recording, why: Why) -> None:
        """Leave a call in which the bot is alone, or has been for too long."""
        by = EndedBy.LIMIT if why is Why.LIMIT else EndedBy.STOPPED
        self._do(self._leave_now(key, recording, by))

    def _is_unseen(self, key: Key, recording: Recording, refused: bool) -> None:
        """Leave a call whose members see the bot no more: for good where the homeserver refuses its entry, else until
        it can be seen again."""
        leaving = self._leave_now(key, recording, EndedBy.REMOVED) if refused else self._step_out(key, recording)
        self._do(leaving)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _leave_now(self, key: Key, recording: Recording, by: EndedBy) -> None:
        async with self._looking[key[0]]:
            live = self._live.get(key)
            if live is None or live.recording.id != recording.id:
                return
            self._left[key, live.setup.call_id] = live.company
            try:
                await self._leave(key, recording, ended=by)
                return
            except (AircheckError, StoreError) as error:
                log.warning("call not left, trying again: recording=%s (%s)", recording.code, error)
        await self._look_again(key[0])

    async def _step_out(self, key: Key, recording: Recording) -> None:
        """Leave a call, to join it again in the same recording as soon as the bot can be seen in it."""
        async with self._looking[key[0]]:
            live = self._live.get(key)
            if live is None or live.recording.id != recording.id:
                return
            log.warning("out of a call until the homeserver answers: recording=%s", recording.code)
            try:
                await self._pause(key)
            except StoreError as error:
                log.warning("call not left cleanly: recording=%s (%s)", recording.code, error)
        await self._look_again(key[0])

    async def _look_again(self, room_id: RoomId) -> None:
        """Look at a room until it succeeds: no order is written where the store fails."""
        while not self._is_stopped:
            await asyncio.sleep(AGAIN_S)
            try:
                await self.look(room_id)
                return
            except (AircheckError, StoreError) as error:
                log.debug("calls not looked at: room=%s (%s)", room_id, error)

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
            left=partial(self._leave_by_itself, key, recording),
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

    # ---- what the sync brings

    def take(self, signals: Sequence[Signal]) -> None:
        """Hand messages about calls to the calls that they are about."""
        for signal in signals:
            for key, live in self._live.items():
                self._hand(key, live, signal)
            for early in self._early.values():
                if len(early) < MOST_EARLY:
                    early.append(signal)

    async def heeds(self, user_id: UserId) -> bool:
        """Return whether messages of a user may be about a call that the bot is in: they are in its room. Their device
        may not be listed in it yet. Raises StoreError."""
        where = {room_id for room_id, protocol in (*self._live, *self._early) if protocol is CallProtocol.MSC3401}
        async with self._store.read() as db:
            members = [(await rooms.member_states(db, room_id, {user_id})).get(user_id) for room_id in where]
        return any(map(facts.is_joined, members))

    def _hand(self, key: Key, live: LiveCall, signal: Signal) -> None:
        received = self._parts.read(key, live.setup, signal)
        if received is not None:
            live.take(received)

    # ---- the start, and the stop

    async def begin(self) -> None:
        """Put right what the process before left, before anything else runs: keep the sound of calls that it was in.
        Raises StoreError, OSError."""
        async with self._store.write() as db:  # while stems are open, and before recovery counts as a sign of life
            for recording in await calls.running(db):
                if recording.notice is not None:
                    await self._apply(db, recording.id, WentAway(_last_sign(recording)))
        await self._parts.stems.recover()
        self._is_recovered = True

    async def after_first_sync(self) -> None:
        """Look at all rooms whose calls are recorded, and at those that still show the bot in one: their state is that
        of now. Raises StoreError; it can be tried again."""
        if not self._is_recovered:
            await self.begin()
        self._is_heard = True
        async with self._store.write() as db:
            waiting = {orders.KeepCalls.of(job).room_id for job in await jobs.unfinished(db, orders.KeepCalls.kind)}
            for room_id in sorted(waiting | await calls.rooms_of(db) | await self._presence.rooms(db)):
                await order(db, room_id, self._clock())

    async def stop(self) -> None:
        """Leave all calls, to join them again at the next start; within the time that a stop has."""
        self._is_stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        ended = await asyncio.gather(*map(self._pause, tuple(self._live)), return_exceptions=True)
        for error in filter(None, ended):
            log.warning("call not left cleanly (%s)", type(error).__name__)
        await self._parts.media.close()
        self._parts.stems.stop()

    async def _pause(self, key: Key) -> None:
        live = self._live.pop(key)
        hiding = asyncio.create_task(self._hide(key, shown=True))
        asyncio.get_running_loop().call_later(STOP_S, hiding.cancel)
        try:
            async with self._store.write() as db:  # while the stems of who is in the call are open
                await self._apply(db, live.recording.id, WentAway(live.now()))
        finally:
            await live.end(LeftBy.LOST, within_s=STOP_S)
        await asyncio.gather(hiding, return_exceptions=True)


def _last_sign(recording: Recording) -> Samples:
    """Return how far the bot was in a call for certain, when a process died."""
    ends = [stem.left or stem.joined for stem in recording.stems]
    heard = (recording.heard_at - recording.started_at).total_seconds()
    return Samples(max([round(heard * SAMPLE_RATE), *ends]))


def _events(call: Call) -> list[EventId]:
    """Return the events by which the recording of a call may be named, the best first."""
    ids = [call.event_id, *(member.event_id for member in call.members)]
    return list(dict.fromkeys(event_id for event_id in ids if event_id is not None))


async def _look_at_end_of(db: Connection, room_id: RoomId, call: Call, now: datetime) -> None:
    """Have a call looked at when its members' entries have lapsed, of which no event tells."""
    ends = [member.expires_at for member in call.members if member.expires_at is not None]
    if len(ends) == len(call.members):
        await jobs.add(db, orders.KeepCalls(room_id).job(max(ends)), now)


def _users(call: Call) -> set[UserId]:
    return {member.device.user_id for member in call.members}
