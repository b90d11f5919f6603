"""A call that the bot is in: events go to its session machine in their order, and its effects are carried out.

- The machine decides at once, and waits for nothing. All that takes time runs beside it, in its order: the work of each
  leg (`bot.calls.legs`), and the rows and stems of the call.
- Messages of others wait in a bounded queue.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from bot.calls.legs import CLOSING_S, Legs
from bot.calls.model import (
    Beep,
    Call,
    Device,
    Happened,
    HeardAgain,
    KeyTold,
    LeaveCall,
    Member,
    Missed,
    OpenStem,
    Over,
    Received,
    Seen,
    SessionEffect,
    SessionEvent,
    TellMissed,
    TellSilent,
    TimePassed,
    WakeAt,
)
from bot.calls.parts import Carrier, Means
from bot.calls.reception import Reception
from bot.calls.session import machine
from bot.calls.session.state import Session, Setup
from bot.calls.stem_rows import StemRows
from bot.calls.wire import matrixrtc_own
from bot.calls.wire.ordering import Ordering
from bot.recording.model import Heard, NotHeard
from storage import claims
from storage.records import SAMPLE_RATE, CallEvent, LeftBy, Recording, Samples, UserId

log = logging.getLogger(__name__)

MOST_RECEIVED = 1000
"""Messages of others that wait for the machine; more are left out."""
ADVANCE_S = 1.0
"""The pause between two looks at the windows that are complete."""
LONGEST_SLEEP_S = 5.0
"""The longest sleep: what is due is so by a clock that can be set."""


class LiveCall:
    """A call that the bot is in. `take` hands it what happened; `end` leaves it."""

    def __init__(self, recording: Recording, session: Session, rows: StemRows, means: Means) -> None:
        self.recording = recording
        self.rows = rows
        self.told: set[UserId] = set()
        self.company: frozenset[Device] = frozenset()  # devices that are listed, and whose sound may be received
        self.unseeing: frozenset[UserId] = frozenset()  # users with a client that may not see the bot
        self._session = session
        self._means = means
        self._legs, self._reception = self._carriers()
        self._events: deque[SessionEvent] = deque()
        self._received = 0
        self._ordering = Ordering()
        self._news = asyncio.Event()
        self._wake: datetime | None = None
        self._is_over = False
        began = (means.clock() - recording.started_at).total_seconds()
        self._zero = means.ticks() - began
        self._tasks = [
            asyncio.create_task(work, name=name.format(recording.code), context=claims.of_no_job())
            for work, name in ((self._run(), "call {}"), (self._advance(), "windows of call {}"))
        ]

    @property
    def setup(self) -> Setup:
        return self._session.setup

    @property
    def is_sticky(self) -> bool:
        """Whether the bot is in the call by a sticky event."""
        return self._means.sfus is not None and matrixrtc_own.is_sticky(self._means.sfus.own)

    @property
    def users(self) -> frozenset[UserId]:
        """The users who have a device in the call, as the machine knows it."""
        return frozenset(user for user, _ in self._session.peers)

    @property
    def unwritten(self) -> timedelta:
        """The time for which sound of the call has waited to be written: a moment, unless something is wrong."""
        since = self.rows.unwritten_since
        return timedelta(seconds=0 if since is None else (self.now() - since) / SAMPLE_RATE)

    def now(self) -> Samples:
        """Return the present place on the clock of the call."""
        return Samples(max(0, round((self._means.ticks() - self._zero) * SAMPLE_RATE)))

    def seal(self) -> None:
        """Heed encrypted messages alone from now on: the room is encrypted."""
        self._session = replace(self._session, setup=replace(self.setup, encrypted=True))
        self._legs.seal()

    def follow(self, call: Call) -> Member | None:
        """Send the bot's own sound where members are; see `Reception.follow`."""
        return None if self._reception is None else self._reception.follow(call)

    def take_key(self, told: KeyTold) -> None:
        """Hand the call the key of a device's sound."""
        if self._reception is not None and not self._is_over:
            self._reception.take_key(told)

    def take(self, event: SessionEvent) -> None:
        """Hand the call what happened."""
        if self._is_over:
            return
        if self._reception is not None and isinstance(event, Seen):
            self._reception.see(event.members)
        if isinstance(event, Received):
            if self._received >= MOST_RECEIVED:
                log.warning("message left out, since too many wait: call=%s", self.recording.code)
                return
            for ready in self._ordering.take(event, self._means.clock()):
                self._received += 1
                self._events.append(ready)
        else:
            self._events.append(event)
        self._news.set()

    def _carriers(self) -> tuple[Carrier, Reception | None]:
        """Make what carries out effects for legs: connections to devices, or to SFUs."""
        code, rows, means, sfus = self.recording.code, self.rows, self._means, self._means.sfus
        if sfus is None:
            return Legs(code, rows, means, take=self.take, now=self.now), None
        sealed = self.setup.encrypted
        made = Reception(code, rows, means, sfus, encrypted=sealed, take=self.take, now=self.now)
        return made, made

    # ---- the machine

    async def _run(self) -> None:
        while not self._is_over:
            self._apply(await self._next())
            await asyncio.sleep(0)  # a flood of messages must not hold up other calls

    def _apply(self, event: SessionEvent) -> None:
        """Have the machine decide, and carry out its effects."""
        try:
            self._session, effects = machine.step(self._session, event, self._means.clock())
            for effect in effects:
                self._carry_out(effect)
        except Exception as error:
            # Without the error's text, which may hold what somebody sent.
            what = type(event).__name__
            log.error("event left out: call=%s event=%s (%s)", self.recording.code, what, type(error).__name__)

    async def _next(self) -> SessionEvent:
        """Wait for the next event, or for the time at which the machine wants to be woken."""
        while not self._events:
            self._news.clear()
            due = min(filter(None, (self._wake, self._ordering.due)), default=None)
            wait_s = LONGEST_SLEEP_S
            if due is not None:
                wait_s = min(wait_s, max(0.0, (due - self._means.clock()).total_seconds()))
            try:
                await asyncio.wait_for(self._news.wait(), wait_s)
            except TimeoutError:
                self._wake = None
                overdue = self._ordering.overdue(self._means.clock())
                self._received += len(overdue)
                self._events += overdue
                return TimePassed(is_cut=not self._means.in_touch())
        event = self._events.popleft()
        self._received -= isinstance(event, Received)
        return event

    def _carry_out(self, effect: SessionEffect) -> None:
        match effect:
            case OpenStem(leg=leg, device=device):
                self.rows.open(leg, device, self.now())
            case Happened(device=device, what=what):
                self.rows.note(CallEvent(self.now(), device.user_id, what, device.device_id))
            case Missed(device=device, why=why, since=since):
                now = self.now()
                self.rows.note(CallEvent(now, device.user_id, why, device.device_id))
                at = Samples(max(0, now - round(since.total_seconds() * SAMPLE_RATE)))
                self.rows.note(NotHeard(device.user_id, device.device_id, why, at))
            case HeardAgain(device=device):
                self.rows.note(Heard(device.user_id, device.device_id, self.now()))
            case TellMissed(device=device, why=why):
                self.rows.add(partial(self._means.unheard, device.user_id, why))
            case Beep():
                self._legs.beep()
            case LeaveCall(why=why):
                self._means.left(why)
            case TellSilent():
                self.rows.add(self._means.silent)
            case WakeAt(at=at):
                self._wake = at
            case _:
                self._legs.carry_out(effect)

    # ---- the clock, and the end

    async def _advance(self) -> None:
        """Keep the windows that are complete, each second."""
        while True:
            await asyncio.sleep(ADVANCE_S)
            self.rows.advance(self.now())

    async def end(self, by: LeftBy, *, within_s: float = CLOSING_S) -> None:
        """Leave: end all connections and stems (`by`), and wait until everything is written. Nothing is done after
        that. `within_s`: the longest time that the connections have."""
        if self._is_over:
            return
        self._is_over, self._legs.ends_as = True, by
        await _cancel(self._tasks)
        self._apply(Over())
        await self._legs.end(by, within_s)
        self.rows.finish(by, self.now())
        await self.rows.done()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
