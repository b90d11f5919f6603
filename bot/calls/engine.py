"""The engine of calls: it looks at rooms, and has calls begun, joined and left.

One function decides (`look`): whatever changes in a room orders a look, and a look reads everything anew. So a look
that fails, or is killed, is made again, and one too many does no harm.

What runs in memory ends with the process. At the next start the stems are put right before anything else is done, and
the call is joined again, if it goes on, once the first sync has told how it stands.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any

from bot import orders
from bot.calls import standing as standings
from bot.calls.attendance import Attendance
from bot.calls.beginning import Beginning
from bot.calls.live import LiveCall
from bot.calls.model import Call, Why
from bot.calls.parts import Key, Parts
from bot.calls.standing import Standing
from bot.errors import AircheckError, TryLater
from bot.intake.calls import order
from bot.matrix.batch import Signal
from bot.recording.model import WentAway
from storage import calls, jobs
from storage.database import Connection
from storage.errors import StoreError
from storage.records import (
    SAMPLE_RATE,
    CallProtocol,
    EndedBy,
    Job,
    Recording,
    RoomId,
    Samples,
    UserId,
)

log = logging.getLogger(__name__)

AGAIN_S = 1.0
"""The pause before a call that could not be left is looked at again."""


class Engine:
    """All calls of the bot, and the handler of KeepCalls orders."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store, self._clock, self._apply = parts.store, parts.clock, parts.apply
        self._beginning = Beginning(parts)
        self._attendance = Attendance(
            parts,
            self._beginning,
            alone=self._leave_by_itself,
            unseen=self._is_unseen,
            look=lambda room_id: self._do(self._order(room_id)),
        )
        self._looking: defaultdict[RoomId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_recovered = False
        self._is_heard = False

    @property
    def running(self) -> tuple[int, int]:
        """The number of calls that the bot is in, and of the users in them."""
        live = self._attendance.live.values()
        return len(live), sum(len(call.users) for call in live)

    @property
    def unwritten_since(self) -> datetime | None:
        """Since when sound of a call that the bot is in waits to be written; None: it is in none."""
        longest = max((call.unwritten for call in self._attendance.live.values()), default=None)
        return None if longest is None else self._clock() - longest

    async def __call__(self, job: Job) -> None:
        await self.look(orders.KeepCalls.of(job).room_id)

    # ---- looking at a room

    async def look(self, room_id: RoomId) -> None:
        """Bring the bot's part in a room's calls up to what goes on there. Raises TryLater, StoreError."""
        if not self._is_heard or self._attendance.is_stopped:
            raise TryLater("what goes on in calls is not known before the first sync", room=room_id)
        async with self._looking[room_id]:
            standing = await self._stand(room_id)
            if standing is not None:
                await self._look_at_all(standing)
                await self._look_when_entries_expire(standing)
            if standing is not None and standing.room.call_wanted:
                await self._beginning.forget_wish(room_id)

    async def _look_when_entries_expire(self, standing: Standing) -> None:
        """Have a room looked at again when the next entry of a member of its MatrixRTC call expires, of which no event
        tells: where others send to may depend on it."""
        its = (call for call in standing.calls if call.protocol is CallProtocol.MATRIXRTC)
        ends = [member.expires_at for call in its for member in call.members if member.expires_at is not None]
        if ends and (standing.is_wanted or standing.running):
            async with self._store.write() as db:
                await jobs.add(db, orders.KeepCalls(standing.room.room_id).job(min(ends)), self._clock())

    async def going_on(self, db: Connection, room_id: RoomId) -> dict[CallProtocol, bool | None]:
        """Return the protocols of the calls that go on in a room with somebody who may be recorded, the one first that
        `record call` is about; of each whether the bot's entry is a sticky event, None: not known yet. Makes no
        request."""
        standing = await standings.look(db, room_id, self._parts.device, self._clock())
        if standing is None:
            return {}
        there = {call.protocol for call in standing.going_on()}
        return {each: self._known_sticky(standing, each) for each in standings.READERS if each in there}

    def _known_sticky(self, standing: Standing, protocol: CallProtocol) -> bool | None:
        live = self._attendance.live.get((standing.room.room_id, protocol))
        return self._beginning.known_sticky(standing.newest(protocol)) if live is None else live.is_sticky

    async def _stand(self, room_id: RoomId) -> Standing | None:
        heard = {user for key, live in self._attendance.live.items() if key[0] == room_id for user in live.users}
        async with self._store.read() as db:
            return await standings.look(db, room_id, self._parts.device, self._clock(), heard=heard)

    async def _look_at_all(self, standing: Standing) -> None:
        """Look at the calls of each protocol; the trouble of one keeps no other waiting. Raises the first."""
        troubles: list[AircheckError | StoreError] = []
        for protocol in standings.READERS:
            try:
                await self._look_at(standing, protocol)
            except (AircheckError, StoreError) as error:
                troubles.append(error)
        if troubles:
            raise troubles[0]

    async def _look_at(self, standing: Standing, protocol: CallProtocol) -> None:
        key = standing.room.room_id, protocol
        live, recording = self._attendance.live.get(key), standing.recorded(protocol)
        if live is not None and (recording is None or recording.id != live.recording.id):
            await self._attendance.leave(key, ended=None)  # somebody else ended or deleted the recording
            live = None
        if recording is None:
            if standing.room.joined:
                await self._attendance.hide(key, shown=False)  # what still shows the bot in an earlier call
            await self._beginning.begin(standing, key)
            return
        call = standing.call_of(recording)
        end = await self._end_of(standing, recording, call, live)
        if end is not None:
            await self._attendance.leave(key, recording, ended=end)
        elif call is not None and recording.notice is not None:
            await self._attendance.go_on(standing, key, recording, call)

    async def _end_of(
        self, standing: Standing, recording: Recording, call: Call | None, live: LiveCall | None
    ) -> EndedBy | None:
        """Return why a recording ends now; None: it goes on. While the bot is in the call its own entry counts,
        whatever members use by now. Raises TryLater."""
        assert recording.protocol is not None, "it is of a call"
        sticky = await self._beginning.is_sticky(call) if live is None else live.is_sticky
        if not standing.room.joined or not self._beginning.may_show(standing, recording.protocol, sticky=sticky):
            return EndedBy.REMOVED
        if call is None or (live is None and not standing.has_company(call)):
            return EndedBy.STOPPED
        return None

    # ---- leaving by itself

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
            live = self._attendance.live.get(key)
            if live is None or live.recording.id != recording.id:
                return
            self._beginning.note_left(key, live.setup.call_id, live.company)
            try:
                await self._attendance.leave(key, recording, ended=by)
                return
            except (AircheckError, StoreError) as error:
                log.warning("call not left, trying again: recording=%s (%s)", recording.code, error)
        await self._look_again(key[0])

    async def _step_out(self, key: Key, recording: Recording) -> None:
        """Leave a call, to join it again in the same recording as soon as the bot can be seen in it."""
        async with self._looking[key[0]]:
            live = self._attendance.live.get(key)
            if live is None or live.recording.id != recording.id:
                return
            log.warning("out of a call until the homeserver answers: recording=%s", recording.code)
            try:
                await self._attendance.pause(key)
            except StoreError as error:
                log.warning("call not left cleanly: recording=%s (%s)", recording.code, error)
        await self._look_again(key[0])

    async def _order(self, room_id: RoomId) -> None:
        """Have a room looked at."""
        try:
            async with self._store.write() as db:
                await order(db, room_id, self._clock())
        except StoreError as error:
            log.warning("calls not looked at: room=%s (%s)", room_id, error)

    async def _look_again(self, room_id: RoomId) -> None:
        """Look at a room until it succeeds: no order is written where the store fails."""
        while not self._attendance.is_stopped:
            await asyncio.sleep(AGAIN_S)
            try:
                await self.look(room_id)
                return
            except (AircheckError, StoreError) as error:
                log.debug("calls not looked at: room=%s (%s)", room_id, error)

    # ---- what the sync brings

    def take(self, signals: Sequence[Signal]) -> None:
        """Hand messages about calls to the calls that they are about."""
        self._attendance.take(signals)

    async def heeds(self, user_id: UserId) -> bool:
        """Return whether messages of a user may be about a call that the bot is in. Raises StoreError."""
        return await self._attendance.heeds(user_id)

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
            for room_id in sorted(waiting | await calls.rooms_of(db) | await self._parts.presence.rooms(db)):
                await order(db, room_id, self._clock())

    async def stop(self) -> None:
        """Leave all calls, to join them again at the next start; within the time that a stop has."""
        self._attendance.is_stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        ended = await asyncio.gather(*map(self._attendance.pause, tuple(self._attendance.live)), return_exceptions=True)
        for error in filter(None, ended):
            log.warning("call not left cleanly (%s)", type(error).__name__)
        await self._parts.media.close()
        self._parts.stems.stop()


def _last_sign(recording: Recording) -> Samples:
    """Return how far the bot was in a call for certain, when a process died."""
    ends = [stem.left or stem.joined for stem in recording.stems]
    heard = (recording.heard_at - recording.started_at).total_seconds()
    return Samples(max([round(heard * SAMPLE_RATE), *ends]))
