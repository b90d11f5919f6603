"""An observer of what the session machine does: the promises that hold whatever happens."""

from collections import Counter
from datetime import datetime

from bot.calls.model import (
    AnswerAgain,
    Beep,
    CloseLeg,
    Happened,
    HeardAgain,
    HungUp,
    LeaveCall,
    LegId,
    MakeAnswer,
    MakeOffer,
    Missed,
    OpenStem,
    Receive,
    Send,
    SessionEffect,
    TakeAnswer,
    TakeCandidates,
    TellMissed,
    TellSilent,
    WakeAt,
)
from bot.calls.session import rules
from bot.calls.session.state import Key, Session, key_of
from storage.records import CallEventKind

OUT = {CallEventKind.LEFT, CallEventKind.LOST, CallEventKind.DECLINED, CallEventKind.REFUSED}


class Observer:
    """The legs and stems, as the effects make and end them."""

    def __init__(self) -> None:
        self.open: dict[LegId, Key] = {}
        self.closed: set[LegId] = set()
        self.stems: set[LegId] = set()
        self.sent: Counter[LegId] = Counter()
        self.muted: dict[Key, bool] = {}
        self.came: set[Key] = set()
        self.missed: set[Key] = set()
        self.is_over = False

    def watch(self, session: Session, effects: tuple[SessionEffect, ...], now: datetime) -> None:
        """Check the effects of one event, and the state after it."""
        assert not (self.is_over and effects)
        for effect in effects:
            self._take(effect)
        wakes = [effect for effect in effects if isinstance(effect, WakeAt)]
        if session.is_over:
            self.is_over = True
            assert wakes == []
            assert self.open == {}
        else:
            assert effects[-1:] == tuple(wakes)
            assert wakes[0].at > now
        assert not {key[0] for key in self.open.values()} & session.declined
        assert len(set(self.open.values())) == len(self.open) <= rules.most_legs(session.setup)
        assert session.unheard.keys() <= session.peers.keys() or session.is_over
        assert session.is_over or self.missed == set(session.unheard)
        assert len(session.waiting) <= rules.MOST_WAITING
        assert len(session.peers) <= rules.MOST_DEVICES
        assert all(len(peer.early) <= rules.MOST_CANDIDATES for peer in session.peers.values())

    def _take(self, effect: SessionEffect) -> None:
        match effect:
            case (
                MakeOffer(leg=leg, device=device) | MakeAnswer(leg=leg, device=device) | Receive(leg=leg, device=device)
            ):
                assert leg not in self.open
                self.open[leg] = key_of(device)
                self.closed.discard(leg)
                self.sent.pop(leg, None)
            case Send(leg=leg, seq=seq, message=message):
                assert leg not in self.closed
                assert seq == self.sent[leg]
                self.sent[leg] += 1
                assert leg in self.open or (isinstance(message, HungUp) and message.rejects)
            case CloseLeg(leg=leg):
                assert leg in self.open or self.sent[leg] == 1
                self.open.pop(leg, None)
                self.closed.add(leg)
            case OpenStem(leg=leg):
                assert leg in self.open
                assert leg not in self.stems
                self.stems.add(leg)
            case TakeAnswer(leg=leg) | TakeCandidates(leg=leg) | AnswerAgain(leg=leg):
                assert leg in self.open
            case Happened(device=device, what=what):
                self._note(key_of(device), what)
            case Missed() | HeardAgain() | TellMissed():
                self._miss(effect)
            case Beep() | LeaveCall() | TellSilent() | WakeAt():
                pass

    def _miss(self, effect: Missed | HeardAgain | TellMissed) -> None:
        """Follow who is not heard: once at a time, and nobody else is told of."""
        key = key_of(effect.device)
        assert (key in self.missed) != isinstance(effect, Missed)
        if isinstance(effect, Missed):
            self.missed.add(key)
        elif isinstance(effect, HeardAgain):
            self.missed.remove(key)

    def _note(self, key: Key, what: CallEventKind) -> None:
        """Follow a device: it joins once and then rejoins, and changes of its microphone are changes."""
        if what in OUT:
            self.muted.pop(key, None)
        elif what in (CallEventKind.JOINED, CallEventKind.REJOINED):
            assert (what is CallEventKind.REJOINED) == (key in self.came)
            self.came.add(key)
            self.muted[key] = False
        else:
            assert self.muted[key] != (what is CallEventKind.MUTED)
            self.muted[key] = what is CallEventKind.MUTED
