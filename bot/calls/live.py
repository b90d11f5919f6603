"""A call that the bot is in: events go to its session machine in their order, and its effects are carried out.

- The machine decides at once, and waits for nothing. All that takes time runs beside it, in its order: what the media
  do for one leg, the messages of one leg, and the rows and stems of the call. So no leg delays another.
- An error of one leg ends that leg alone (`LegFailed`).
- Messages of others wait in a bounded queue.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from bot.calls.media import door
from bot.calls.model import (
    AnswerAgain,
    AnswerMade,
    Beep,
    CloseLeg,
    Device,
    Happened,
    LeaveCall,
    LegConnected,
    LegEnded,
    LegFailed,
    LegId,
    MakeAnswer,
    MakeOffer,
    OfferMade,
    OpenStem,
    Over,
    Received,
    Send,
    SessionEffect,
    SessionEvent,
    SoundHeard,
    TakeAnswer,
    TakeCandidates,
    TellSilent,
    TimePassed,
    WakeAt,
    Why,
)
from bot.calls.serial import Serial
from bot.calls.session import machine
from bot.calls.session.state import Session, Setup
from bot.calls.stem_rows import StemRows
from bot.calls.wire.ordering import Ordering
from bot.errors import GiveUp, TryLater
from storage.records import SAMPLE_RATE, CallEvent, LeftBy, Recording, Samples, UserId

log = logging.getLogger(__name__)

MOST_RECEIVED = 1000
"""Messages of others that wait for the machine; more are left out."""
MOST_OF_A_LEG = 200
"""Messages, and pieces of work for the media, that wait for one leg."""
TELL_EVERY_S = 2.0
"""The pause between two reports of sound to the machine."""
SILENT_BYTES = 8
"""The largest payload that holds digital silence, as a muted microphone sends it; speech has 40 and more."""
SEND_AGAIN_S = (1.0, 2.0, 4.0)
"""The pauses before a message is sent again."""
CLOSING_S = 2.0
"""The longest time for which the end of a call waits for its connections."""
ADVANCE_S = 1.0
"""The pause between two looks at the windows that are complete."""
LONGEST_SLEEP_S = 5.0
"""The longest sleep: what is due is so by a clock that can be set."""


@dataclass(slots=True)
class _Work:
    """The work on one leg."""

    device: Device
    media: Serial
    messages: Serial
    leg: door.Leg | None = None
    is_closed: bool = False


class _Listener:
    """The receiver of a leg's sound, which goes to its stem. The machine is told of it now and then."""

    def __init__(self, leg: LegId, call: "LiveCall") -> None:
        self._leg = leg
        self._call = call
        self._told_at: float | None = None

    def connected(self) -> None:
        self._call.take(LegConnected(self._leg))

    def heard(self, sound: door.Sound) -> None:
        self._call.rows.write(self._leg, sound)
        now = asyncio.get_running_loop().time()
        if not _is_silent(sound) and (self._told_at is None or now - self._told_at > TELL_EVERY_S):
            self._told_at = now
            self._call.take(SoundHeard(self._leg))

    def ended(self) -> None:
        self._call.take(LegEnded(self._leg))


@dataclass(slots=True)
class Means:
    """The means of a call: what it reaches the world by. `left` is called when the bot is to leave by itself, `told`
    when the room is to be told that nobody was heard."""

    media: door.Media
    servers: Callable[[], Awaitable[Sequence[door.IceServer]]]
    post: Callable[[Send, str], Awaitable[None]]  # of a message and its id; raises TryLater, GiveUp
    left: Callable[[Why], None]
    silent: Callable[[], Awaitable[None]]
    in_touch: Callable[[], bool]  # with the homeserver
    clock: Callable[[], datetime]
    ticks: Callable[[], float]  # monotonic, in seconds


class LiveCall:
    """A call that the bot is in. `take` hands it what happened; `end` leaves it."""

    def __init__(self, recording: Recording, session: Session, rows: StemRows, means: Means) -> None:
        self.recording = recording
        self.rows = rows
        self.told: set[UserId] = set()
        self.company: frozenset[Device] = frozenset()  # devices that are listed, and whose sound may be received
        self._session = session
        self._means = means
        self._legs: dict[LegId, _Work] = {}
        self._making = asyncio.Lock()
        self._events: deque[SessionEvent] = deque()
        self._received = 0
        self._ordering = Ordering()
        self._news = asyncio.Event()
        self._wake: datetime | None = None
        self._is_over = False
        self._ends_as: LeftBy | None = None
        self._endings: set[asyncio.Task[None]] = set()
        began = (means.clock() - recording.started_at).total_seconds()
        self._zero = means.ticks() - began
        self._tasks = [
            asyncio.create_task(self._run(), name=f"call {recording.code}"),
            asyncio.create_task(self._advance(), name=f"windows of call {recording.code}"),
        ]

    @property
    def setup(self) -> Setup:
        return self._session.setup

    @property
    def users(self) -> frozenset[UserId]:
        """The users who have a device in the call, as the machine knows it."""
        return frozenset(user for user, _ in self._session.peers)

    def now(self) -> Samples:
        """Return the present place on the clock of the call."""
        return Samples(max(0, round((self._means.ticks() - self._zero) * SAMPLE_RATE)))

    def seal(self) -> None:
        """Heed encrypted messages alone from now on: the room is encrypted."""
        self._session = replace(self._session, setup=replace(self.setup, encrypted=True))

    def take(self, event: SessionEvent) -> None:
        """Hand the call what happened."""
        if self._is_over:
            return
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
            case MakeOffer() | MakeAnswer() | TakeAnswer() | TakeCandidates() | AnswerAgain() | Send() | CloseLeg():
                self._on_leg(effect)
            case OpenStem(leg=leg, device=device):
                self.rows.open(leg, device, self.now())
            case Happened(device=device, what=what):
                self.rows.note(CallEvent(self.now(), device.user_id, what, device.device_id))
            case Beep():
                for work in self._legs.values():
                    if work.leg is not None:
                        work.leg.beep()
            case LeaveCall(why=why):
                self._means.left(why)
            case TellSilent():
                self.rows.add(self._means.silent)
            case WakeAt(at=at):
                self._wake = at

    def _on_leg(
        self, effect: MakeOffer | MakeAnswer | TakeAnswer | TakeCandidates | AnswerAgain | Send | CloseLeg
    ) -> None:
        """Carry out what concerns one leg, beside everything else."""
        leg = effect.leg
        match effect:
            case MakeOffer(device=device):
                self._work(leg, device).media.add(partial(self._offer, leg))
            case MakeAnswer(device=device, offer=offer):
                self._work(leg, device).media.add(partial(self._answer, leg, offer))
            case Send(device=device):
                self._work(leg, device).messages.add(partial(self._send, effect))
            case CloseLeg(by=by):
                self._close(leg, by)
            case _ if (work := self._legs.get(leg)) is not None:
                work.media.add(partial(self._change, leg, effect))

    # ---- legs

    def _work(self, leg: LegId, device: Device) -> _Work:
        work = self._legs.get(leg)
        if work is None:
            name = f"call {self.recording.code}, {{}} of a leg"
            work = _Work(
                device,
                Serial(name.format("media"), MOST_OF_A_LEG),
                Serial(name.format("messages"), MOST_OF_A_LEG),
            )
            self._legs[leg] = work
        return work

    async def _make(self, leg: LegId) -> door.Leg | None:
        """Make the media of a leg, unless it was closed meanwhile. One at a time: that takes some 2 ms of the loop."""
        work = self._legs[leg]
        servers = await self._means.servers()
        async with self._making:
            if work.is_closed:
                return None
            work.leg = self._means.media.leg(_Listener(leg, self), self.now, servers)
            await asyncio.sleep(0)
        return work.leg

    async def _offer(self, leg: LegId) -> None:
        async with self._guarded(leg):
            made = await self._make(leg)
            if made is not None:
                offer = await made.offer()
                self.take(OfferMade(leg, offer.sdp))

    async def _answer(self, leg: LegId, sdp: str) -> None:
        async with self._guarded(leg):
            made = await self._make(leg)
            if made is not None:
                answer = await made.answer(sdp)
                self.take(AnswerMade(leg, answer.sdp))

    async def _change(self, leg: LegId, effect: TakeAnswer | TakeCandidates | AnswerAgain) -> None:
        made = self._legs[leg].leg
        if made is None:
            return
        async with self._guarded(leg):
            match effect:
                case TakeAnswer(answer=answer):
                    await made.accept(answer)
                case TakeCandidates(candidates=candidates):
                    await made.add_candidates(candidates)
                case AnswerAgain(offer=offer):
                    answer_again = await made.renegotiate(offer)
                    self.take(AnswerMade(leg, answer_again.sdp, again=True))

    @asynccontextmanager
    async def _guarded(self, leg: LegId) -> AsyncIterator[None]:
        """Turn an error of the media into the end of this leg."""
        try:
            yield
        except door.Refused as refused:
            log.info("leg refused: call=%s reason=%s", self.recording.code, refused.reason)
            self.take(LegFailed(leg, refused.reason))
        except Exception as error:
            # Without the error's text, which may hold what somebody sent.
            log.error("leg failed: call=%s (%s)", self.recording.code, type(error).__name__)
            self.take(LegFailed(leg, "broken"))

    async def _send(self, send: Send) -> None:
        """Send a message. The other side waits for each number, so one that can't be sent ends the leg."""
        message_id = secrets.token_urlsafe(16)
        for pause_s in (*SEND_AGAIN_S, None):
            try:
                await self._means.post(send, message_id)
                return
            except TryLater as error:
                if pause_s is None or self._is_over:
                    log.warning("message not sent: call=%s (%s)", self.recording.code, error.sentence)
                    break
                await asyncio.sleep(pause_s)
            except GiveUp as error:
                log.info("message refused: call=%s reason=%s", self.recording.code, error.reason)
                break
        self.take(LegFailed(send.leg, "unreachable"))

    def _close(self, leg: LegId, by: LeftBy) -> None:
        """End a leg: its connection at once, whatever waits for it, and its stem once the last sound is handed on."""
        work = self._legs.get(leg)
        if work is None or work.is_closed:
            return
        work.is_closed = True
        closing = asyncio.create_task(self._shut(work), name=f"end of a leg of {self.recording.code}")
        self.rows.close(leg, self._ends_as or by, self.now(), closing)
        self._ending(self._forget(leg, work, closing))

    async def _shut(self, work: _Work) -> None:
        """End a leg's connection. What the media do for it just then is not cancelled: they would lose the sockets that
        they have opened so far. They end it themselves."""
        work.media.drop()
        if work.leg is None:
            return
        try:
            async with asyncio.timeout(CLOSING_S):
                await work.leg.close()
        except Exception as error:
            log.warning("leg not closed cleanly: call=%s (%s)", self.recording.code, type(error).__name__)

    async def _forget(self, leg: LegId, work: _Work, closing: "asyncio.Task[None]") -> None:
        await asyncio.wait({closing})
        await work.messages.done()
        del self._legs[leg]

    def _ending(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

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
        self._is_over, self._ends_as = True, by
        await _cancel(self._tasks)
        self._apply(Over())
        for leg in tuple(self._legs):
            self._close(leg, by)
        endings = set(self._endings)
        if endings:
            await asyncio.wait(endings, timeout=within_s)
        self.rows.finish(by, self.now())
        await self.rows.done()


def _is_silent(sound: door.Sound) -> bool:
    return isinstance(sound, door.OpusPacket) and len(sound.payload) <= SILENT_BYTES


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
