"""A device that behaves as matrix-js-sdk does in a group call, and the network between it and the bot.

Read in version 36.2.0: groupCall.ts (who calls, calls made again), callEventHandler.ts (the order of messages, offers
that cross), call.ts (which hang-ups count). Its media are left out: a connection stands when both ends have the
description of the same leg.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count

from bot.calls.model import (
    Answered,
    AnswerMade,
    AnswerSelected,
    CloseLeg,
    Device,
    HungUp,
    LegConnected,
    LegEnded,
    LegId,
    MakeAnswer,
    MakeOffer,
    Message,
    Offered,
    OfferMade,
    Received,
    Send,
    SessionEvent,
    SoundHeard,
    TakeAnswer,
    TimePassed,
    WakeAt,
)
from bot.calls.session import machine
from bot.calls.session.rules import order
from bot.calls.session.state import Phase, Setup
from bot.calls.wire.ordering import Ordering
from tests.calls.session.observer import Observer
from tests.calls.session.stories import NOW, SETUP, listed

RETRIES, RETRY_S, INVITE_S, ICE_S = 3, 5, 60, 40
MEDIA_S, CONNECT_S, CONSENT_S = 0.05, 0.2, 30


class World:
    """Both ends, and what is on its way between them. `delays`: of the messages, in their order; None: it is lost."""

    def __init__(self, device: Device, prefix: str, delays: list[float | None], setup: Setup = SETUP) -> None:
        self.now_s = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._delays = iter(delays)
        self.bot = Bot(self, replace(setup, empty=timedelta(days=1)))
        self.js = JsSdk(self, device, prefix)

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now_s + seconds, next(self._order), then))

    def carry(self, then: Callable[[], None]) -> None:
        """Carry a message to the other end, unless it is lost."""
        delay = next(self._delays, 0.1)
        if delay is not None:
            self.later(delay, then)

    def run(self, until_s: float) -> None:
        while self._agenda and self._agenda[0][0] <= until_s:
            self.now_s, _, then = heapq.heappop(self._agenda)
            then()
        self.now_s = until_s

    @property
    def is_connected(self) -> bool:
        """Whether both ends have a connection, and it is the same."""
        legs = [peer.leg for peer in self.bot.session.peers.values() if peer.leg]
        ours = {leg.id for leg in legs if leg.phase is Phase.CONNECTED}
        return self.js.call is not None and self.js.call.state == "connected" and ours == {self.js.call.id}


class Bot:
    """The session machine with media and a clock."""

    def __init__(self, world: World, setup: Setup) -> None:
        self._world = world
        self._observer = Observer()
        self._ordering = Ordering()
        self._wakes = 0
        self.session = machine.begin(setup, NOW)

    def take(self, event: SessionEvent) -> None:
        world = self._world
        now = NOW + timedelta(seconds=world.now_s)
        self.session, effects = machine.step(self.session, event, now)
        self._observer.watch(self.session, effects, now)
        for effect in effects:
            match effect:
                case MakeOffer(leg=leg):
                    world.later(MEDIA_S, lambda leg=leg: self.take(OfferMade(leg, "v=0")))  # type: ignore[misc]
                case MakeAnswer(leg=leg):
                    world.later(MEDIA_S, lambda leg=leg: self.take(AnswerMade(leg, "v=0")))  # type: ignore[misc]
                case TakeAnswer(leg=leg):
                    world.later(CONNECT_S, world.js.may_connect)
                case Send():
                    world.carry(lambda send=effect: world.js.hear(send))  # type: ignore[misc]
                case CloseLeg(leg=leg):
                    world.later(MEDIA_S, lambda leg=leg: world.js.lose(leg))  # type: ignore[misc]
                case WakeAt(at=at):
                    self._wakes += 1
                    wake = self._wakes
                    world.later((at - now).total_seconds(), lambda wake=wake: self._wake(wake))  # type: ignore[misc]

    def _wake(self, number: int) -> None:
        if number == self._wakes:
            self.take(TimePassed())

    def hear(self, received: Received) -> None:
        now = NOW + timedelta(seconds=self._world.now_s)
        for ready in self._ordering.take(received, now):
            self.take(ready)
        if self._ordering.due is not None:
            self._world.later((self._ordering.due - now).total_seconds(), self._hear_overdue)

    def _hear_overdue(self) -> None:
        for ready in self._ordering.overdue(NOW + timedelta(seconds=self._world.now_s)):
            self.take(ready)

    def has_described(self, leg: LegId) -> bool:
        legs = [peer.leg for peer in self.session.peers.values() if peer.leg and peer.leg.id == leg]
        return any(leg.phase in (Phase.CONNECTING, Phase.CONNECTED) for leg in legs)


@dataclass
class Call:
    id: LegId
    is_ours: bool
    state: str  # invite_sent, connecting, connected, ended
    seq: int = 0


@dataclass
class Inbox:
    """The messages about a call, by their numbers, which begin at 0."""

    next: int = 0
    waiting: dict[int, Message] = field(default_factory=dict)


class JsSdk:
    """A client in the call, of one device."""

    def __init__(self, world: World, device: Device, prefix: str) -> None:
        self._world = world
        self._device = device
        self._prefix = prefix
        self._ids = count()
        self._inboxes: dict[LegId, Inbox] = {}
        self._ended: set[LegId] = set()
        self._retries = 0
        self.call: Call | None = None
        self.sees_bot = False

    def see_bot(self) -> None:
        """Take note that the bot is in the call."""
        self.sees_bot = True
        self._place()
        self._world.later(RETRY_S, self._retry)

    def _retry(self) -> None:
        if self.call is None and self._retries < RETRIES:
            self._retries += 1
            self._place()
        self._world.later(RETRY_S, self._retry)

    def _place(self) -> None:
        bot = self._world.bot.session.setup.ours
        is_lower = (order(self._device.user_id), order(self._device.device_id)) < (
            order(bot.user_id),
            order(bot.device_id),
        )
        if is_lower and self.call is None:
            self.place()

    def place(self) -> None:
        """Call the bot."""
        call = self.call = Call(LegId(f"{self._prefix}{next(self._ids)}"), is_ours=True, state="invite_sent")
        self._send(call, Offered("v=0"))
        self._world.later(INVITE_S, lambda: self._give_up(call, "invite_sent", "invite_timeout"))

    def _give_up(self, call: Call, state: str, reason: str) -> None:
        if call.state == state:
            self._hang_up(call, reason)

    def _send(self, call: Call, message: Message) -> None:
        setup = self._world.bot.session.setup
        received = Received(setup.call_id, self._device, call.id, message, call.seq)
        call.seq += 1
        self._world.carry(lambda: self._world.bot.hear(received))

    def hear(self, send: Send) -> None:
        inbox = self._inboxes.setdefault(send.leg, Inbox())
        inbox.waiting[send.seq] = send.message
        while inbox.next in inbox.waiting:
            inbox.next += 1
            self._take(send.leg, inbox.waiting.pop(inbox.next - 1))

    def _take(self, leg: LegId, message: Message) -> None:
        call = self.call if self.call is not None and self.call.id == leg else None
        match message:
            case Offered() if leg not in self._ended:
                self._incoming(leg)
            case Answered() if call is not None and call.state == "invite_sent":
                self._connect(call)
                self._send(call, AnswerSelected(self._world.bot.session.setup.ours.device_id))
            case HungUp(rejects=rejects, reason=reason):
                if call is None:
                    self._ended.add(leg)
                elif (call.state == "invite_sent") == rejects:
                    self._end(call, reason)

    def _incoming(self, leg: LegId) -> None:
        new, old = Call(leg, is_ours=False, state="connecting"), self.call
        if old is not None and old.state == "invite_sent" and not old.id > leg:
            self._hang_up(new, "replaced")
            return
        if old is not None:
            self._hang_up(old, "replaced")
        self.call = new
        self._send(new, Answered("v=0"))
        self._connect(new)

    def _connect(self, call: Call) -> None:
        call.state = "connecting"
        self._world.later(CONNECT_S, self.may_connect)
        self._world.later(ICE_S, lambda: self._give_up(call, "connecting", "ice_failed"))

    def may_connect(self) -> None:
        """Connect, if both ends have described the same leg."""
        call = self.call
        if call is None or call.state != "connecting":
            return
        if self._world.bot.has_described(call.id):
            call.state = "connected"
            self._world.bot.take(LegConnected(call.id))
            self._world.bot.take(SoundHeard(call.id))
        else:
            self._world.later(1, self.may_connect)

    def lose(self, leg: LegId) -> None:
        """Take note that the bot closed a connection."""
        call = self.call
        if call is not None and call.id == leg and call.state == "connected":
            self._world.later(CONSENT_S, lambda: self._give_up(call, "connected", "ice_failed"))

    def _hang_up(self, call: Call, reason: str) -> None:
        was_connected = call.state == "connected"
        self._send(call, HungUp(reason))
        self._end(call, reason)
        if was_connected:
            self._world.later(0.04, lambda: self._world.bot.take(LegEnded(call.id)))

    def _end(self, call: Call, reason: str) -> None:
        call.state = "ended"
        self._ended.add(call.id)
        if self.call is call:
            self.call = None


def meet(world: World, device: Device, *, bot_first_s: float = 0.0) -> None:
    """Let both ends take note of each other: the device `bot_first_s` after the bot did, or before."""
    world.later(max(0, -bot_first_s), lambda: world.bot.take(listed(device)))
    world.later(max(0, bot_first_s), world.js.see_bot)
