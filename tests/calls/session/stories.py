"""A call as a story: events at their times, and what the bot does, in short words."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.calls.model import (
    AnswerAgain,
    AnswerMade,
    AnswerSelected,
    Beep,
    CloseLeg,
    Device,
    Happened,
    HeardAgain,
    HungUp,
    LeaveCall,
    LegConnected,
    LegId,
    MakeAnswer,
    MakeOffer,
    Member,
    Message,
    Missed,
    Offered,
    OpenStem,
    Receive,
    Received,
    Seen,
    Send,
    SessionEffect,
    SessionEvent,
    TakeAnswer,
    TakeCandidates,
    TellMissed,
    TellSilent,
    Transport,
    WakeAt,
)
from bot.calls.session import machine
from bot.calls.session.state import Setup
from storage.records import CallProtocol, EventId, UserId

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
BOT = Device(UserId("@m:hs"), "M", "S")
ANN, ZOE = Device(UserId("@ann:hs"), "A", "a1"), Device(UserId("@zoe:hs"), "Z", "z1")
"""A user who calls the bot, and one whom the bot calls."""
SETUP = Setup(
    CallProtocol.MSC3401,
    "conf",
    BOT,
    began=NOW,
    encrypted=False,
    push_to_talk=False,
    empty=timedelta(seconds=30),
    silent=timedelta(seconds=60),
    longest=timedelta(hours=6),
    beep=False,
)
MXVC = replace(SETUP, protocol=CallProtocol.MXVC, call_id="", ours=Device(BOT.user_id, "M [REC]"))
SFU, OTHER_SFU = Transport("https://sfu.example/jwt"), Transport("https://other.example/jwt")
MATRIXRTC = replace(SETUP, protocol=CallProtocol.MATRIXRTC, call_id="")


def member(device: Device, **changes: Any) -> Member:
    return replace(Member(device, EventId(f"${device.device_id}{device.session_id}")), **changes)


def listed(*devices: Device, declined: Iterable[Device] = ()) -> Seen:
    return Seen(tuple(map(member, devices)), frozenset(device.user_id for device in declined))


def at_sfu(*devices: Device, at: Transport | None = SFU, declined: Iterable[Device] = ()) -> Seen:
    """List devices that send their sound to an SFU."""
    members = (member(d, transport=at, identity=f"{d.user_id}:{d.device_id}") for d in devices)
    return Seen(tuple(members), frozenset(device.user_id for device in declined))


def says(device: Device, leg: str, message: Message, *, setup: Setup = SETUP, **changes: Any) -> Received:
    return replace(Received(setup.call_id, device, LegId(leg), message), **changes)


def calls(device: Device, leg: str, *, muted: bool | None = None, **changes: Any) -> Received:
    return says(device, leg, Offered("v=0", muted), **changes)


def brief(effect: SessionEffect) -> str:  # noqa: C901  a table
    """Say an effect in few words."""
    match effect:
        case MakeOffer(leg=leg, device=device):
            return f"offer {leg} to {device.device_id}"
        case MakeAnswer(leg=leg):
            return f"answer {leg}"
        case Receive(leg=leg, device=device, transport=transport):
            return f"receive {leg} of {device.device_id}{' elsewhere' * (transport == OTHER_SFU)}"
        case TakeAnswer(leg=leg):
            return f"take answer {leg}"
        case TakeCandidates(leg=leg, candidates=candidates):
            return f"take {len(candidates)} candidates {leg}"
        case AnswerAgain(leg=leg):
            return f"answer {leg} again"
        case Send(message=HungUp(reason=reason, rejects=rejects), leg=leg, seq=seq):
            return f"{'reject' if rejects else 'hang up'} {leg} {seq} {reason}".rstrip()
        case Send(message=AnswerSelected(party_id=party), leg=leg, seq=seq):
            return f"select {party} {leg} {seq}"
        case Send(message=message, leg=leg, seq=seq):
            return f"send {type(message).__name__.lower()} {leg} {seq}"
        case OpenStem(leg=leg):
            return f"open {leg}"
        case CloseLeg(leg=leg, by=by):
            return f"close {leg} {by}"
        case Happened(device=device, what=what):
            return f"{device.device_id} {what}"
        case Missed(device=device, why=why):
            return f"{device.device_id} {why}"
        case HeardAgain(device=device):
            return f"{device.device_id} not missed"
        case TellMissed(device=device, why=why):
            return f"tell {device.device_id} {why}"
        case LeaveCall(why=why):
            return f"leave {why}"
        case Beep():
            return "beep"
        case TellSilent():
            return "tell silent"
    raise AssertionError(effect)


class Story:
    """A session, told event after event. `said`: the effects of the last one, in short words."""

    def __init__(self, setup: Setup = SETUP, **begin: Any) -> None:
        self.session = machine.begin(setup, NOW, **begin)
        self.effects: list[SessionEffect] = []
        self.wake: datetime | None = None

    def at(self, seconds: float, event: SessionEvent) -> list[str]:
        """Apply an event, and return what the bot does."""
        self.session, effects = machine.step(self.session, event, NOW + timedelta(seconds=seconds))
        self.effects += effects
        wakes = [effect.at for effect in effects if isinstance(effect, WakeAt)]
        self.wake = wakes[0] if wakes else None
        return [brief(effect) for effect in effects if not isinstance(effect, WakeAt)]

    @property
    def wake_s(self) -> float:
        """The time at which the machine wants to be woken."""
        assert self.wake is not None
        return (self.wake - NOW).total_seconds()

    def connect(self, seconds: float, device: Device, leg: str, **offer: Any) -> list[str]:
        """Have a device call the bot, up to the connection; returns what the bot did last."""
        self.at(seconds, calls(device, leg, **offer))
        self.at(seconds, AnswerMade(LegId(leg), "v=0"))
        return self.at(seconds, LegConnected(LegId(leg)))
