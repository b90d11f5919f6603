"""Devices at SFUs (MatrixRTC): the bot awaits them there, and hears what the SFU tells of them. Pure.

- A device that is listed is awaited without end. While its SFU refuses the bot, or can't be reached, it is not heard.
  That is noted once, and ends when the SFU is reached, or with the device's going, which is noted then. The room is
  told of an SFU that refuses the bot at once, and of one that can't be reached after some seconds: it may be started
  anew.
- A device that moves to another SFU has not left: nothing is noted, unless it goes, or can't be heard, before it is
  heard there. Its stem ends (`left`), and another one begins.
"""

from dataclasses import replace
from datetime import timedelta

from bot.calls.model import (
    Happened,
    LegConnected,
    LegFailed,
    LegMuted,
    LegReached,
    LegUnreadable,
    Member,
    Missed,
    Receive,
    TellMissed,
)
from bot.calls.session import messages, rules
from bot.calls.session.state import Absence, Key, Leg, Phase
from bot.calls.session.work import Work
from storage.records import CallEventKind, LeftBy

DEFINITE = frozenset({"refused", "too_many"})
"""Reasons of a failure that do not pass by themselves within seconds."""


def await_it(work: Work, key: Key) -> None:
    """Begin a leg: await a device at its SFU. One without an SFU that the bot can use is not heard."""
    member, sealed = work.peers[key].member, work.setup.encrypted
    if member.transport is None:
        work.change(key, call_at=None, has_moved=False)
        _miss(work, key, CallEventKind.UNREACHABLE)
        _tell(work, key)
        return
    leg = Leg(work.new_id(), member.device, Phase.AWAITED, None, is_ours=True, encrypted=sealed)
    work.begin(key, replace(leg, has_moved=work.peers[key].has_moved))
    work.change(key, has_moved=False)
    work.effects.append(Receive(work.leg(key).id, member.device, member.transport, member.identity))


def is_moved(work: Work, key: Key, member: Member) -> bool:
    """Return whether a device sends its sound to another SFU now, or under another name."""
    before = work.peers[key].member
    return (before.transport, before.identity) != (member.transport, member.identity)


def moves(work: Work, key: Key) -> None:
    """End the leg of a device that has moved; its next one begins at once."""
    leg = work.peers[key].leg
    was_heard = leg is not None and (leg.connected_at is not None or leg.has_moved)
    work.close(key, LeftBy.LEFT)
    work.change(key, calls=0, call_at=work.now, hoped_until=work.now + rules.HOPE, has_moved=was_heard)


def happened(work: Work, key: Key, event: LegConnected | LegReached | LegMuted | LegUnreadable) -> None:
    """Handle what an SFU tells of a device."""
    phase = work.leg(key).phase
    match event:
        case LegConnected() if phase is Phase.AWAITED:
            work.connect(key)
        case LegConnected() if phase is Phase.CLOSING:
            work.close(key, LeftBy.LOST, CallEventKind.LOST)  # it came again: its new leg begins at once
        case LegReached() if phase is Phase.AWAITED:
            work.hear_again(key)
        case LegMuted(muted=muted) if phase is not Phase.CLOSING:
            messages.mute(work, key, muted)
        case LegUnreadable(unencrypted=unencrypted) if phase is Phase.CONNECTED:
            if unencrypted:
                work.refuse(key)
            _miss(work, key, CallEventKind.UNREADABLE, timedelta() if unencrypted else rules.WITHOUT_KEY)
            _tell(work, key)


def failed(work: Work, key: Key, event: LegFailed) -> None:
    """Handle an SFU that refuses the bot, or can't be reached. Its devices are somebody for a time: nobody knows
    whether they speak there."""
    work.change(key, calls=work.peers[key].calls + 1)
    work.close(key, LeftBy.LOST, CallEventKind.LOST)
    until = work.session.hopes.get(key[0], work.now + rules.UNREACHABLE)
    work.note(hopes={**work.session.hopes, key[0]: until})
    work.change(key, hoped_until=until)
    _miss(work, key, CallEventKind.UNREACHABLE)
    if event.reason in DEFINITE:
        _tell(work, key)


def _miss(work: Work, key: Key, why: CallEventKind, since: timedelta = timedelta()) -> None:
    """Note once that a device is not heard."""
    if key not in work.session.unheard:
        work.note(unheard={**work.session.unheard, key: Absence(why, work.now)})
        work.effects.append(Missed(work.peers[key].member.device, why, since))


def _tell(work: Work, key: Key) -> None:
    """Tell the room once that a device is not heard."""
    absence = work.session.unheard[key]
    if not absence.is_told:
        work.note(unheard={**work.session.unheard, key: replace(absence, is_told=True)})
        work.effects.append(TellMissed(work.peers[key].member.device, absence.why))


def tell_of_lasting(work: Work) -> None:
    """Tell the room of devices that have not been heard for so long that it is no short outage."""
    for key, absence in tuple(work.session.unheard.items()):
        if work.now >= absence.since + rules.UNTOLD:
            _tell(work, key)


def goes(work: Work, key: Key, what: CallEventKind) -> None:
    """Note the going of a device that was not heard: it has no stem whose end would tell."""
    if key in work.session.unheard:
        work.hear_again(key)
        work.effects.append(Happened(work.peers[key].member.device, what))
