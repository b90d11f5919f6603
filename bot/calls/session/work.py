"""The work on one event: a session in the making, and the effects so far. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.calls.model import (
    Beep,
    CloseLeg,
    Device,
    Happened,
    HeardAgain,
    HungUp,
    LeaveCall,
    LegId,
    MakeOffer,
    Message,
    OpenStem,
    Send,
    SessionEffect,
    Why,
)
from bot.calls.session import rules
from bot.calls.session.state import Key, Leg, Peer, Phase, Session, key_of
from storage.records import CallEventKind, CallProtocol, LeftBy


class Work:
    """A session while an event is applied to it."""

    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.setup = session.setup
        self.now = now
        self.peers: dict[Key, Peer] = dict(session.peers)
        self.effects: list[SessionEffect] = []

    def note(self, **changes: Any) -> None:
        self.session = replace(self.session, **changes)

    def change(self, key: Key, **changes: Any) -> Peer:
        self.peers[key] = replace(self.peers[key], **changes)
        return self.peers[key]

    def change_leg(self, key: Key, **changes: Any) -> Leg:
        leg = replace(self.leg(key), **changes)
        self.change(key, leg=leg)
        return leg

    def enter(self, key: Key, phase: Phase) -> None:
        """Let a leg enter a phase."""
        until = rules.end_of(phase, self.setup, self.leg(key).device, self.now)
        self.change_leg(key, phase=phase, until=until)

    def leg(self, key: Key) -> Leg:
        leg = self.peers[key].leg
        assert leg is not None, "asked only of a device that has one"
        return leg

    def with_leg(self, leg: LegId) -> Key | None:
        """Return the device that has this leg now."""
        return next((key for key, peer in self.peers.items() if peer.leg and peer.leg.id == leg), None)

    def counts(self, key: Key, what: str) -> bool:
        """Count a message of a device's user, and return whether it is heeded."""
        rates, is_within = rules.counted(self.session.rates.get(key[0], {}), what, self.now)
        self.note(rates={**self.session.rates, key[0]: rates})
        return is_within

    def is_own(self, device: Device) -> bool:
        return key_of(device) == key_of(self.setup.ours)

    # ---- legs

    def new_id(self) -> LegId:
        self.note(legs=self.session.legs + 1)
        return LegId(f"{self._prefix}{self.session.legs}")

    def is_taken(self, leg: LegId) -> bool:
        """Return whether an id that somebody gives a new leg is that of another: by any device, or one that the bot
        gives. The bot's session id, of which its ids are made, stands in the room's state for everybody."""
        peers = self.peers.values()
        return leg.startswith(self._prefix) or any((p.leg and p.leg.id == leg) or leg in p.ended for p in peers)

    @property
    def _prefix(self) -> str:
        return f"{self.setup.ours.session_id or 'leg'}."

    def has_place(self, key: Key) -> bool:
        return rules.has_stem_left(self.session.stems, key[0]) and rules.has_place(
            self.peers, key, rules.most_legs(self.setup)
        )

    def begin(self, key: Key, leg: Leg) -> None:
        """Give a device a leg. Whatever waited for a call of its own is settled."""
        self.change(key, leg=leg, call_at=None)

    def call(self, key: Key) -> None:
        """Call a device."""
        device = self.peers[key].member.device
        until = rules.end_of(Phase.OFFERING, self.setup, device, self.now)
        encrypted = True if self.setup.encrypted else None
        self.begin(key, Leg(self.new_id(), device, Phase.OFFERING, until, is_ours=True, encrypted=encrypted))
        self.change(key, calls=self.peers[key].calls + 1)
        self.effects.append(MakeOffer(self.leg(key).id, device))

    def connect(self, key: Key) -> None:
        """Open the stem of a leg that is connected."""
        leg = self.leg(key)
        self.enter(key, Phase.CONNECTED)
        self.change_leg(key, connected_at=self.now)
        self.hear_again(key)
        self.note(hopes={user: until for user, until in self.session.hopes.items() if user != key[0]})
        what = CallEventKind.REJOINED if key in self.session.came else CallEventKind.JOINED
        stems = {**self.session.stems, key[0]: self.session.stems.get(key[0], 0) + 1}
        self.note(came=self.session.came | {key}, stems=stems)
        self.effects.append(OpenStem(leg.id, leg.device))
        if not leg.has_moved:
            self.effects.append(Happened(leg.device, what))
        if leg.muted:
            self.effects.append(Happened(leg.device, CallEventKind.MUTED))
        if self.setup.beep:
            self.effects.append(Beep())

    def send(self, key: Key, message: Message) -> None:
        leg = self.leg(key)
        encrypted = self.setup.encrypted or leg.encrypted
        self.effects.append(Send(leg.device, leg.id, leg.seq, message, encrypted))
        self.change_leg(key, seq=leg.seq + 1)

    def close(self, key: Key, by: LeftBy, what: CallEventKind | None = None, *, hang_up: str | None = None) -> None:
        """Close the leg that a device has, if any. `what`: noted if it had a stem, or follows one of which nothing was
        noted. `hang_up`: the reason that the device is told; None: it knows."""
        peer = self.peers[key]
        leg = peer.leg
        if leg is None:
            return
        if hang_up is not None and leg.phase is not Phase.OFFERING and self.hangs_up:
            self.send(key, HungUp(hang_up, rejects=leg.phase is Phase.ANSWERING))
        self.effects.append(CloseLeg(leg.id, by))
        if leg.connected_at is not None:
            self.hear_again(key)
        if what is not None and (leg.connected_at is not None or leg.has_moved):
            self.effects.append(Happened(leg.device, what))
        lasted = leg.connected_at is not None and self.now - leg.connected_at >= rules.LASTING
        early = tuple(one for one in peer.early if one[0] != leg.id)
        is_called = self.setup.protocol is not CallProtocol.MATRIXRTC
        calls = 0 if lasted or (leg.connected_at is not None and not is_called) else peer.calls
        hoped_until = peer.hoped_until if leg.connected_at is None else self.now
        peer = self.change(key, leg=None, early=early, calls=calls, hoped_until=hoped_until)
        self.remember(key, leg.id)
        call_at = rules.next_call(self.setup, peer, self.now, self.session.entered)
        if is_called:
            call_at = call_at and max(call_at, self.now + rules.AFTER_END)
        self.change(key, call_at=call_at)

    def turn_down(self, key: Key, device: Device, leg: LegId, encrypted: bool, reason: str = "") -> None:
        """Turn down an offer of which no leg is made."""
        self.remember(key, leg)
        if self.hangs_up:
            self.effects.append(Send(device, leg, 0, HungUp(reason, rejects=True), encrypted))
            self.effects.append(CloseLeg(leg, LeftBy.ENDED))

    @property
    def hangs_up(self) -> bool:
        """Whether the protocol has a message for the end of a leg."""
        return self.setup.protocol is CallProtocol.MSC3401

    def remember(self, key: Key, leg: LegId) -> None:
        """Remember that a leg has ended: an offer of it that comes late is not answered."""
        ended = (*self.peers[key].ended, leg)[-rules.MOST_ENDED :]
        self.change(key, ended=ended)

    # ---- notes

    def decline(self, key: Key) -> None:
        """Note once that a user's sound is not received."""
        if key[0] not in self.session.told_declined:
            self.note(told_declined=self.session.told_declined | {key[0]})
            self.effects.append(Happened(self.peers[key].member.device, CallEventKind.DECLINED))

    def refuse(self, key: Key) -> None:
        """Note once that a device was refused."""
        self.refuse_device(self.peers[key].member.device)

    def refuse_device(self, device: Device) -> None:
        """Note once that a device was refused, which may be none that is looked after."""
        told, key = self.session.told_refused, key_of(device)
        if key not in told and len(told) < rules.MOST_TOLD:
            self.note(told_refused=told | {key})
            self.effects.append(Happened(device, CallEventKind.REFUSED))

    def hear_again(self, key: Key) -> None:
        """Take note that a device is heard, or gone."""
        if key in self.session.unheard:
            self.note(unheard={each: absence for each, absence in self.session.unheard.items() if each != key})
            self.effects.append(HeardAgain(self.peers[key].member.device))

    # ---- the end

    def leave(self, why: Why | None) -> None:
        """Close everything. `why`: the bot leaves by itself."""
        for key in self.peers:
            self.close(key, LeftBy.ENDED, hang_up="user_hangup")
        self.note(is_over=True)
        self.effects += () if why is None else (LeaveCall(why),)

    def done(self) -> tuple[Session, tuple[SessionEffect, ...]]:
        peers: Mapping[Key, Peer] = {} if self.session.is_over else self.peers
        return replace(self.session, peers=peers), tuple(self.effects)
