"""A device that behaves as MXVC's page does, and a room's timeline between it and the bot.

Read in VoiceChannel.vue: a page knows the devices whose entry it saw while it was open; it offers to them when it
joins; it drops messages of devices that it does not know. Of two offers that cross it takes its own back (WebRTC,
implicit rollback). Its media are left out: a connection stands when both ends have the same two descriptions.
"""

import heapq
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count

from bot.calls.model import (
    Answered,
    AnswerMade,
    CloseLeg,
    Device,
    LegConnected,
    LegId,
    MakeAnswer,
    MakeOffer,
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
from bot.calls.session.state import Phase, Session
from storage.records import UserId
from tests.calls.session.observer import Observer
from tests.calls.session.stories import MXVC, NOW, listed

MEDIA_S, CONNECT_S, REFRESH_S = 0.05, 0.2, 10
PAGE = Device(UserId("@ann:hs"), "Chrome")


class Channel:
    """A room with the bot and a page. `to_bot_s`, `to_page_s`: how long its sync takes to bring an event."""

    def __init__(self, to_bot_s: float, to_page_s: float) -> None:
        self.now_s = 0.0
        self.to_bot_s, self.to_page_s = to_bot_s, to_page_s
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.bot = Bot(self)
        self.page = Page(self)

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now_s + seconds, next(self._order), then))

    def run(self, until_s: float) -> None:
        while self._agenda and self._agenda[0][0] <= until_s:
            self.now_s, _, then = heapq.heappop(self._agenda)
            then()
        self.now_s = until_s


class Bot:
    """The session machine with media and a clock. `legs`: our description and theirs."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._observer = Observer()
        self._wakes = 0
        self._sdps = count()
        self.legs: dict[LegId, tuple[str, str | None]] = {}
        self.session: Session | None = None
        self.page_is_in = False

    def enter(self) -> None:
        """Join the channel."""
        setup = replace(MXVC, empty=timedelta(days=1))
        self.session = machine.begin(setup, NOW + timedelta(seconds=self._channel.now_s))
        self._channel.later(self._channel.to_page_s, self._show)
        self.look()

    def _show(self) -> None:
        self._channel.page.knows_bot |= self._channel.page.is_open
        self._channel.later(REFRESH_S, self._show)

    def look(self) -> None:
        """Read the room's state."""
        self.take(listed(PAGE) if self.page_is_in else listed())

    def take(self, event: SessionEvent) -> None:
        channel = self._channel
        if self.session is None:
            return
        now = NOW + timedelta(seconds=channel.now_s)
        self.session, effects = machine.step(self.session, event, now)
        self._observer.watch(self.session, effects, now)
        for effect in effects:
            match effect:
                case MakeOffer(leg=leg):
                    sdp = f"bot {next(self._sdps)}"
                    self.legs[leg] = sdp, None
                    channel.later(MEDIA_S, lambda leg=leg, sdp=sdp: self.take(OfferMade(leg, sdp)))  # type: ignore[misc]
                case MakeAnswer(leg=leg, offer=offer):
                    sdp = f"bot {next(self._sdps)}"
                    self.legs[leg] = sdp, offer
                    channel.later(MEDIA_S, lambda leg=leg, sdp=sdp: self.take(AnswerMade(leg, sdp)))  # type: ignore[misc]
                case TakeAnswer(leg=leg, answer=answer):
                    self.legs[leg] = self.legs[leg][0], answer
                case Send(message=message):
                    channel.later(channel.to_page_s, lambda m=message: channel.page.hear(m))  # type: ignore[misc]
                case CloseLeg(leg=leg):
                    del self.legs[leg]
                case WakeAt(at=at):
                    self._wakes += 1
                    channel.later((at - now).total_seconds(), lambda n=self._wakes: self._wake(n))  # type: ignore[misc]

    def _wake(self, number: int) -> None:
        if number == self._wakes:
            self.take(TimePassed())

    def is_connected(self) -> bool:
        legs = [peer.leg for peer in self.session.peers.values()] if self.session else []
        return any(leg is not None and leg.phase is Phase.CONNECTED for leg in legs)


class Page:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._sdps = count()
        self.is_open = self.is_in = self.knows_bot = False
        self.local: str | None = None
        self.remote: str | None = None

    def open(self) -> None:
        self.is_open = True

    def join(self) -> None:
        """Join the channel, and offer to the bot if it is known."""
        self.is_in = True
        self._channel.later(self._channel.to_bot_s, self._seen)
        if self.knows_bot:
            self.local, self.remote = f"page {next(self._sdps)}", None
            self._send(Offered(self.local))

    def _seen(self) -> None:
        self._channel.bot.page_is_in = True
        self._channel.bot.look()

    def _send(self, message: Offered | Answered) -> None:
        received = Received("", PAGE, LegId(""), message)
        self._channel.later(self._channel.to_bot_s, lambda: self._channel.bot.take(received))

    def hear(self, message: object) -> None:
        if not (self.is_in and self.knows_bot):
            return
        match message:
            case Offered(sdp=sdp):
                self.local, self.remote = f"page {next(self._sdps)}", sdp
                self._send(Answered(self.local))
            case Answered(sdp=sdp) if self.local is not None and self.remote is None:
                self.remote = sdp
        self._channel.later(self._channel.to_bot_s + CONNECT_S, self._may_connect)

    def _may_connect(self) -> None:
        for leg, sdps in tuple(self._channel.bot.legs.items()):
            if self.local is not None and sdps == (self.remote, self.local):
                self._channel.bot.take(LegConnected(leg))
                self._channel.bot.take(SoundHeard(leg))
