"""The floors of walkie-talkies, kept by the homeserver: a room's power levels, its floor event and the permits that the
bot gives are brought up to their rows.

Each write is in the row before it is made, and made again from its beginning after a crash:

- A grant: the release is scheduled as delayed events where the homeserver has them; then the holder is raised; then the
  floor event is written, so that whoever sees it may speak.
- A release: all that the bot raised are lowered; then the floor event is written; then the delayed events are
  cancelled; then the floor is free for the next (`Locked`).
- A room that is switched off is unlocked before its delayed events are cancelled. What is to be put back is remembered
  until they are, since one of them may lock the room again.
- Permits are written last, a few at a time: what they permit is in the rows, and others only read them.
- Power levels are written whole. They are made of those that the homeserver has, and what somebody else wrote between
  the reading and the writing is written again.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from bot import orders, topics, words
from bot.errors import AircheckError, GiveUp, TryLater
from bot.event_types import FLOOR, PERMIT, POWER_LEVELS
from bot.intake import walkie as floors
from bot.language import speaking
from bot.matrix.delayed import DelayedEvents
from bot.matrix.sending import Sending
from bot.settings import WalkieSettings
from bot.walkie import levels, machine, permits
from storage import jobs, rooms, walkies
from storage.records import DelayedRelease, EventId, FloorPhase, Job, Json, RoomId, RoomPower, UserId, Walkie
from storage.store import Store

log = logging.getLogger(__name__)

WRITES = 5
"""Writes of one attempt, while others change the power levels at the same time."""
BACKSTOP = timedelta(seconds=1)
"""The time after the end of a floor at which the homeserver releases it, if the bot did not."""
AGAIN_S = 2.0
"""The longest pause before another try: a floor does not wait for minutes once the homeserver is back."""
SAME_AGAIN_AFTER = timedelta(seconds=10)
"""The pause before the same floor event is written again over that of somebody else, who may be another program."""
HINDERED_AGAIN_AFTER = timedelta(minutes=1)
"""The pause before another try of what the homeserver refuses for a reason that may pass without our being told."""
PERMITS_AT_ONCE = 5
"""The permits that are written before the floor is looked at again."""
AT_START_S = 30.0
"""The longest time for which a start waits for floors; their jobs go on."""


class Hindered(Exception):
    """A refusal: the bot can't keep the floor. `needed`: the power level that it lacks; None: not known."""

    def __init__(self, needed: int | None = None) -> None:
        super().__init__()
        self.needed = needed


class KeepingFloor:
    """The handler of KeepFloor orders."""

    def __init__(
        self,
        store: Store,
        sending: Sending,
        delayed: DelayedEvents,
        *,
        us: UserId,
        terms: WalkieSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._sending = sending
        self._delayed = delayed
        self._us = us
        self._terms = terms
        self._clock = clock
        self._keeping: defaultdict[RoomId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._first: tuple[RoomId, ...] = ()
        self._written: dict[RoomId, tuple[Json, datetime]] = {}  # floor events, last written by this process

    async def __call__(self, job: Job) -> None:
        await self.put_right(orders.KeepFloor.of(job).room_id)

    # ---- the start

    async def begin(self) -> None:
        """End the floors whose time is over, before anything else runs. Raises StoreError."""
        async with self._store.write() as db:
            terms = self._terms
            self._first = await floors.begin(db, self._clock(), floor_s=terms.floor_s, guard_s=terms.guard_s)

    async def put_first_right(self) -> None:
        """Put all floors right before the first sync. What fails is tried again by its job."""
        try:
            async with asyncio.timeout(AT_START_S):
                ended = await asyncio.gather(*map(self.put_right, self._first), return_exceptions=True)
        except TimeoutError:
            log.warning("floors not put right within %.0f s, going on beside the sync", AT_START_S)
            return
        for room_id, error in zip(self._first, ended, strict=True):
            if isinstance(error, AircheckError):
                log.warning("floor not put right yet: room=%s (%s)", room_id, error.sentence)
            elif isinstance(error, Exception):
                log.error("floor not put right: room=%s", room_id, exc_info=error)

    # ---- one room

    async def put_right(self, room_id: RoomId) -> None:
        """Bring the homeserver up to a room's walkie-talkie. Raises TryLater, StoreError."""
        async with self._keeping[room_id]:
            async with self._store.write() as db:
                room = await rooms.room(db, room_id)
                if room is None or not room.joined:
                    return
                walkie = await floors.ticked(db, room_id, self._clock())
                power = await rooms.power(db, room_id)
            if walkie is None or power.create is None:
                return
            walkie = replace(walkie, raised=levels.recent(walkie.raised, self._clock()))
            try:
                walkie = await self._keep(walkie, power)
            except Hindered as error:
                await self._tell(walkie, error, room.language)
                return
            except GiveUp as refused:
                log.info("floor not kept: room=%s reason=%s", room_id, refused.reason)
                await self._tell(walkie, Hindered(), room.language)
                return
            except TryLater as error:
                raise TryLater(error.sentence, after_s=error.after_s, at_most_s=AGAIN_S, room=room_id) from None
            async with self._store.write() as db:
                await floors.kept(db, walkie, self._clock())
                if walkie.shown is None:
                    again = orders.KeepFloor(room_id).job(self._clock() + SAME_AGAIN_AFTER)
                    await jobs.add(db, again, self._clock())
            await self._cancel(walkie)
            await self._write_permits(room_id)

    async def _keep(self, walkie: Walkie, power: RoomPower) -> Walkie:
        """Make the homeserver agree with a walkie-talkie, and return it with what it was brought to."""
        if not _is_settled(walkie, power):
            present = await self._present(walkie, power)
            walkie, present = await self._settle_levels(walkie, present)
            walkie = await self._grant(walkie, levels.with_power(power, present))
            walkie = await self._show(walkie)
            if walkie.floor.holder is None and walkie.delayed is not None:
                walkie = await self._change(walkie, delayed=await self._given_up(walkie))
        return await self._change(walkie, hindered=False)

    async def _present(self, walkie: Walkie, power: RoomPower) -> Json:
        """Read the room's power levels from the homeserver. Raises Hindered where the bot may not write them."""
        present = await self._sending.state(walkie.room_id, POWER_LEVELS)
        needed = levels.ADMIN if present is None else levels.missing(self._us, levels.with_power(power, present))
        if present is None or needed is not None:
            raise Hindered(needed)
        return present

    # ---- power levels

    async def _settle_levels(self, walkie: Walkie, present: Json) -> tuple[Walkie, Json]:
        """Lower everybody but the holder, and lock or unlock the room."""
        holder, saved = walkie.floor.holder, walkie.saved

        async def settled(content: Json) -> Json:
            nonlocal saved
            content = levels.lowered(content, walkie.raised, holder)
            if walkie.on and not walkie.locked:
                content, saved = levels.locked(content, saved)
                await self._change(walkie, saved=saved)
            return content if walkie.on else levels.unlocked(content, saved)

        present = await self._write_levels(walkie.room_id, present, settled)
        remembered = levels.remembered(walkie.raised, holder, self._clock())
        saved = saved if walkie.on or walkie.delayed is not None else ()
        return await self._change(walkie, locked=walkie.on, saved=saved, raised=remembered), present

    async def _grant(self, walkie: Walkie, power: RoomPower) -> Walkie:
        """Raise the holder, after the release was scheduled."""
        holder, present = walkie.floor.holder, power.power.content if power.power else {}
        if holder is None:
            return walkie
        is_raised = any(one.user == holder and one.lowered_at is None for one in walkie.raised)
        needs_raise = levels.needs_raise(holder, power)
        raised = levels.raising(present, holder, walkie.raised) if needs_raise or is_raised else walkie.raised
        walkie = await self._change(walkie, raised=raised)
        walkie = await self._schedule(
            walkie, levels.lowered(present, raised, None) if needs_raise or is_raised else None
        )
        if needs_raise:

            async def with_holder(content: Json) -> Json:
                return levels.raised(content, holder)

            async def show() -> None:
                nonlocal walkie
                walkie = await self._show(walkie)

            await self._write_levels(walkie.room_id, present, with_holder, then=show)
        return walkie

    async def _write_levels(
        self,
        room_id: RoomId,
        present: Json,
        change: Callable[[Json], Awaitable[Json]],
        *,
        then: Callable[[], Awaitable[None]] | None = None,
    ) -> Json:
        """Write changed power levels, and again whatever somebody else wrote between our reading and our writing.
        Return the levels that the room has then. `then` is done after the first write, before that is looked at."""
        theirs = present
        for _ in range(WRITES):
            content = await change(theirs)
            if content == present:
                return present
            event_id = await self._set_state(room_id, POWER_LEVELS, content)
            if then is not None:
                await then()
                then = None
            replaced = await self._sending.replaced(room_id, event_id)
            if replaced is None or replaced == present:
                return content
            theirs, present = replaced, content
        raise TryLater("others change the power levels at the same time", room=room_id)

    # ---- the floor event

    async def _show(self, walkie: Walkie) -> Walkie:
        """Write the floor event, unless the room has it as it is to be."""
        content = machine.content(walkie.floor)
        if walkie.shown == content:
            return walkie
        if walkie.shown is not None or await self._sending.state(walkie.room_id, FLOOR) != content:
            now = self._clock()
            last, at = self._written.get(walkie.room_id, (None, now))
            if last == content and now - at < SAME_AGAIN_AFTER:
                return walkie  # replaced just now; looked at again below
            await self._set_state(walkie.room_id, FLOOR, content)
            self._written[walkie.room_id] = content, now
        return await self._change(walkie, shown=content)

    async def _write_permits(self, room_id: RoomId) -> None:
        """Write some of the permits that the bot has given, and order the next. One that the homeserver refuses (a
        state key has 255 bytes at most) counts all the same."""
        async with self._store.read() as db:
            unwritten = await walkies.unwritten_permits(db, room_id, PERMITS_AT_ONCE)
        for permit in unwritten:
            key = permits.OF_BOT + permit.user_id
            try:
                await self._sending.set_state(room_id, PERMIT, permits.content(permit), key=key)
            except GiveUp as refused:
                log.info("permit not written: room=%s reason=%s", room_id, refused.reason)
            async with self._store.write() as db:
                await walkies.note_written(db, permit)
        if len(unwritten) == PERMITS_AT_ONCE:
            await self._look_again(room_id)

    # ---- the release by the homeserver itself

    async def _schedule(self, walkie: Walkie, lowered: Json | None) -> Walkie:
        """Schedule the release for when the holder's time is over. `lowered`: the power levels without the holder."""
        floor = walkie.floor
        known = walkie.delayed
        if known is not None and (known.serial, known.levels) == (floor.serial, lowered) and known.ids:
            return walkie
        given_up = await self._given_up(walkie)
        walkie = await self._change(walkie, delayed=given_up if given_up.stale else None)
        assert floor.until is not None
        delay_ms = round((floor.until + BACKSTOP - self._clock()).total_seconds() * 1000)
        if not 0 < delay_ms <= await self._delayed.longest_ms():
            return walkie
        # Noted before it is asked for: whatever is scheduled and was not written down is found and cancelled.
        wanted = DelayedRelease(floor.serial, levels=lowered, stale=given_up.stale)
        walkie = await self._change(walkie, delayed=replace(wanted, asked=True))
        released = machine.content(replace(floor, holder=None, since=floor.until, until=floor.until))
        contents = {FLOOR: released} if lowered is None else {POWER_LEVELS: lowered, FLOOR: released}
        schedule = self._delayed.schedule
        ids = await asyncio.gather(
            *(schedule(walkie.room_id, kind, content, delay_ms) for kind, content in contents.items())
        )
        return await self._change(walkie, delayed=replace(wanted, ids=tuple(delay_id for delay_id in ids if delay_id)))

    async def _given_up(self, walkie: Walkie) -> DelayedRelease:
        """Return what is scheduled as stale, and whatever was asked for before a crash."""
        known = walkie.delayed or DelayedRelease(walkie.floor.serial)
        lost = await self._delayed.scheduled(walkie.room_id, {FLOOR, POWER_LEVELS}) if known.asked else []
        return DelayedRelease(known.serial, stale=tuple(dict.fromkeys([*known.stale, *known.ids, *lost])))

    async def _cancel(self, walkie: Walkie) -> None:
        """Cancel stale events. Homeservers limit how fast that can be done, so it holds up no floor."""
        known = walkie.delayed
        if known is None or not known.stale:
            if known is not None and not (known.ids or known.asked):
                await self._change(walkie, delayed=None)
            return
        for delay_id in known.stale:
            await self._delayed.cancel(delay_id)
        kept = replace(known, stale=())
        await self._change(walkie, delayed=kept if kept.ids or kept.asked else None)
        if walkie.saved and not walkie.on:
            await self._look_again(walkie.room_id)

    # ---- rows and requests

    async def _set_state(self, room_id: RoomId, kind: str, content: Json) -> EventId:
        """Write a state event. Raises TryLater, or Hindered where the homeserver refuses."""
        try:
            return await self._sending.set_state(room_id, kind, content)
        except GiveUp as refused:
            log.info("state event refused: room=%s type=%s reason=%s", room_id, kind, refused.reason)
            raise Hindered from None

    async def _change(self, walkie: Walkie, **changes: object) -> Walkie:
        """Write down what the homeserver is brought to; floor and panel of the row may have changed meanwhile."""
        if all(getattr(walkie, name) == value for name, value in changes.items()):
            return walkie
        async with self._store.write() as db:
            await walkies.note(db, walkie.room_id, **changes)
        return replace(walkie, **changes)  # type: ignore[arg-type]

    async def _look_again(self, room_id: RoomId) -> None:
        async with self._store.write() as db:
            await jobs.add(db, orders.KeepFloor(room_id).job(), self._clock())

    async def _tell(self, walkie: Walkie, error: Hindered, language: str | None) -> None:
        """End the floor, and tell the room why. Whom the bot has raised is lowered at once, if it may do that; new
        power levels have the floor looked at anyway."""
        with speaking(language):
            body = words.floor_hindered(error.needed)
        now = self._clock()
        notice = orders.Notice(topics.floor_hindered(walkie.room_id, now), walkie.room_id, body)
        again = now + HINDERED_AGAIN_AFTER if walkie.hindered else now
        async with self._store.write() as db:
            await floors.hindered(db, walkie.room_id, notice, now, again=again if error.needed is None else None)


def _is_settled(walkie: Walkie, power: RoomPower) -> bool:
    """Return whether nothing is to be done, as far as the rows and the sync say."""
    floor, content = walkie.floor, power.power.content if power.power else {}
    if walkie.saved and not walkie.on:
        return False
    if walkie.shown != machine.content(floor) or walkie.locked != walkie.on or floor.phase is FloorPhase.RELEASING:
        return False
    if levels.lowered(content, walkie.raised, floor.holder) != content:
        return False
    known = walkie.delayed
    if floor.holder is None:
        none_scheduled = known is None or not (known.ids or known.asked)
        return none_scheduled and all(one.lowered_at is not None for one in walkie.raised)
    without = levels.lowered(content, walkie.raised, None)
    scheduled = known is None or not (known.ids or known.asked) or known.levels in (None, without)
    return scheduled and not levels.needs_raise(floor.holder, power)
